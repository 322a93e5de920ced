"""The air between devices in one round."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int64

from meshtune.engine.channels.access import PerLink
from meshtune.engine.channels.base import Pairs, Positions
from meshtune.engine.channels.fading import Fading
from meshtune.engine.channels.propagation import Propagation
from meshtune.engine.rng import stream

DENSE_DEVICES = 128  # up to here the gains of all pairs cost less than picking links


@dataclass(frozen=True)
class Air:
    """How well any device would be heard by any other, if it sent alone, with all it has.

    A function of places, seed, round and pair, whoever sends what: all hops of a round, and all
    methods, meet the same air. In matrices, row = receiver.

    Attributes:
        propagation: Gains, averaged over fading.
        fading: Of the run.
        seed: Of the run.
        tx_power_w: Full power of a sender.
        noise_w: Noise of a receiver over the whole band.
        positions: Of the devices, in metres.
        round_index: The round.
    """

    propagation: Propagation
    fading: Fading
    seed: int
    tx_power_w: float
    noise_w: float
    positions: Positions
    round_index: int

    @cached_property
    def pair_snr(self) -> Pairs:
        """Linear signal-to-noise ratio of every pair, averaged over fading (docs/model.md M3).

            snr = P g / (N0 F B)

        at full power over the whole band. Where power and band are split alike, noise shrinks with
        the share of the band as power does, and the share cancels.
        Source: the paper's equation 8; g by `meshtune.engine.channels.propagation`.
        """
        gain = self.propagation.gain(self.positions, self.round_index)
        snr: Pairs = self.tx_power_w * gain / self.noise_w
        return snr

    def link_snr(
        self, receivers: Int64[np.ndarray, " m"], senders: Int64[np.ndarray, " m"]
    ) -> PerLink:
        """`pair_snr` of some links, without the other pairs where these cost more."""
        n = len(self.positions)
        if n <= DENSE_DEVICES or 4 * len(receivers) > n * n:
            return np.asarray(self.pair_snr[receivers, senders])
        gain = self.propagation.link_gain(self.positions, receivers, senders, self.round_index)
        return np.asarray(self.tx_power_w * gain / self.noise_w)

    def fade(self, attempt: int) -> Pairs:
        """Power gain of every pair over its mean, when something is sent for the nth time."""
        return self.fading.gain(len(self.positions), self.round_index, attempt)

    def packet_luck(self, attempt: int) -> Pairs:
        """A uniform number per pair; a packet breaks if it is below the error probability."""
        rng = stream(self.seed, "channel", "packets", self.round_index, attempt)
        n = len(self.positions)
        return rng.random((n, n))
