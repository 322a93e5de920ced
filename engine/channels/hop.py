"""One hop, as the radio sees it: signals at the receivers, and sums over links and senders."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from meshtune.engine.channels.access import PerLink, PerSend, Transmissions
from meshtune.engine.channels.air import Air
from meshtune.engine.channels.base import Pairs

ROUNDING = 1e-9  # a message that takes the deadline to the last digit is in time


@dataclass(frozen=True)
class Power:
    """What transmissions are sent with.

    Attributes:
        watts: Of a transmission; 0 if it stays silent.
        density: Its power per hertz over that of the full power spread over the whole band.
        served: Transmissions that go on air.
        link_served: Links that they are meant to reach.
    """

    watts: PerSend
    density: PerSend
    served: Bool[np.ndarray, " k"]
    link_served: Bool[np.ndarray, " m"]


@dataclass(frozen=True)
class Hop:
    """What goes on air together, and how it is received. Nothing here knows how long it takes."""

    air: Air
    sends: Transmissions
    interferes: bool  # several senders may be on air in one band

    @cached_property
    def mean(self) -> PerLink:
        """SNR of every link at the mean gain and full power over the whole band."""
        if self.interferes:  # which needs all pairs anyway
            return self._of_links(self.air.pair_snr)
        return self.air.link_snr(self.sends.receiver, self.sends.link_sender)

    def alone(self, attempt: int) -> PerLink:
        """The same with the fading of an attempt."""
        return np.asarray(self.mean * self._of_links(self.air.fade(attempt)))

    def sinr(self, power: Power, attempt: int | None) -> PerLink:
        """Signal over noise and interference of every link; at the mean gain if `attempt` is None.

            sinr_ij = g_ij rho_ij p_ij / (N0 F b_ij + sum_k g_ik rho_ik p_k b_ij / B)

        over the other senders k in the band of this slot; each spreads its power over the band B.
        They count as on air for the whole message (our choice).
        """
        signal = self.mean * power.density[self.sends.link]
        if attempt is not None:
            signal = signal * self._of_links(self.air.fade(attempt))
        if not self.interferes:
            return np.asarray(signal)
        return np.asarray(signal / (1.0 + self._interference(power, attempt)))

    def packet_luck(self, attempt: int) -> PerLink:
        """A uniform number per link; the packet breaks if it is below the error probability."""
        return self._of_links(self.air.packet_luck(attempt))

    def _of_links(self, pairs: Pairs) -> PerLink:
        return np.asarray(pairs[self.sends.receiver, self.sends.link_sender])

    def _interference(self, power: Power, attempt: int | None) -> PerLink:
        """Power of the others over noise, at every receiver in the slot of its message."""
        sends, n = self.sends, len(self.air.positions)
        pairs = self.air.pair_snr
        if attempt is not None:
            pairs = pairs * self.air.fade(attempt)
        pairs = np.where(np.eye(n, dtype=bool), 0.0, pairs)  # nobody disturbs itself
        load = np.zeros((n, sends.slots))
        np.add.at(load, (sends.sender, sends.slot), power.watts / self.air.tx_power_w)
        slot = sends.slot[sends.link]
        own = self._of_links(pairs) * load[sends.link_sender, slot]
        others = (pairs @ load)[sends.receiver, slot] - own
        # A difference of sums may fall below zero by rounding.
        return np.asarray(np.maximum(others, 0.0))


def ratio(
    above: Float64[np.ndarray, "*#s"] | Int64[np.ndarray, "*#s"], below: Float64[np.ndarray, "*#s"]
) -> Float64[np.ndarray, "*#s"]:
    """The quotient, infinite where `below` is zero or `above` infinite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        value = above / below
    return np.asarray(np.where(np.isnan(value), np.inf, value))


def matrix(sends: Transmissions, n: int, values: Any, empty: Any) -> Any:
    """Values of the links in an n x n table, row = receiver; `empty` elsewhere."""
    table = np.full((n, n), empty, dtype=np.asarray(values).dtype)
    table[sends.receiver, sends.link_sender] = values
    return table


def sender_sums(
    sends: Transmissions, n: int, values: Int64[np.ndarray, " k"]
) -> Int64[np.ndarray, " n"]:
    """Sum over the transmissions of every device."""
    total = np.zeros(n, dtype=np.int64)
    np.add.at(total, sends.sender, values)
    return total


def longest(sends: Transmissions, n: int, seconds: PerSend) -> Float64[np.ndarray, "n slots"]:
    """Longest transmission of every device in every slot."""
    most = np.zeros((n, sends.slots))
    np.maximum.at(most, (sends.sender, sends.slot), seconds)
    return most


def slot_starts(sends: Transmissions, seconds: PerSend) -> PerSend:
    """When the slot of every transmission begins; a slot is as long as its longest one."""
    length = np.zeros(sends.slots)
    np.maximum.at(length, sends.slot, seconds)
    begins = np.cumsum(length) - length
    return np.asarray(begins[sends.slot])


def running_sums(
    values: Float64[np.ndarray, " s"], group: Int64[np.ndarray, " s"]
) -> Float64[np.ndarray, " s"]:
    """Sum so far within each group; members of a group are neighbours."""
    total = np.cumsum(values)
    first = np.flatnonzero(np.diff(group, prepend=-1))
    before = np.repeat(total[first] - values[first], np.diff(first, append=len(group)))
    return np.asarray(total - before)
