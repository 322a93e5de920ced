"""One hop, as the radio sees it: signals at the receivers, and sums over links and senders."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from meshtune.engine.channels.access import Transmissions
from meshtune.engine.rng import stream

if TYPE_CHECKING:
    from meshtune.engine.channels.radio import Radio

Pairs = Float64[np.ndarray, "n n"]
PerLink = Float64[np.ndarray, " m"]
PerSend = Float64[np.ndarray, " k"]


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
    """The air of one round between the devices that talk. Nothing here knows how long it takes."""

    radio: "Radio"
    positions: Float64[np.ndarray, "n 2"]
    sends: Transmissions
    round_index: int

    def design(self) -> PerLink:
        """SNR that a link is planned with, at full power over the whole band.

        The SNR of this round where the sender knows the fading; else the mean less the margin.
        """
        reliability = self.radio.reliability
        if reliability.loss == "outage":
            return np.asarray(self._mean / reliability.margin)
        return np.asarray(self._mean * self._faded(0))

    def planned(self, power: Power) -> PerLink:
        """The same with the power that is really used, and with interference."""
        reliability = self.radio.reliability
        if reliability.loss == "outage":
            return np.asarray(self.sinr(power, None) / reliability.margin)
        return self.sinr(power, 0)

    def sinr(self, power: Power, attempt: int | None) -> PerLink:
        """Signal over noise and interference of every link; at the mean gain if `attempt` is None.

            sinr_ij = g_ij rho_ij p_ij / (N0 F b_ij + sum_k g_ik rho_ik p_k b_ij / B)

        over the other senders k in the band of this slot; each spreads its power over the band B.
        They count as on air for the whole message (our choice).
        """
        signal = self._mean * power.density[self.sends.link]
        if attempt is not None:
            signal = signal * self._faded(attempt)
        if not self.radio.sharing.interferes:
            return np.asarray(signal)
        return np.asarray(signal / (1.0 + self._interference(power, attempt)))

    def packet_luck(self, attempt: int) -> PerLink:
        """A uniform number per link; the packet breaks if it is below the error probability."""
        rng = stream(self.radio.seed, "channel", "packets", self.round_index, attempt)
        n = len(self.positions)
        return self._of_links(rng.random((n, n)))

    @cached_property
    def _mean(self) -> PerLink:
        return self.radio.link_snr(self.positions, self.sends, self.round_index)

    def _faded(self, attempt: int) -> PerLink:
        return self._of_links(self._fading(attempt))

    def _fading(self, attempt: int) -> Pairs:
        return self.radio.fading.gain(len(self.positions), self.round_index, attempt)

    def _of_links(self, pairs: Pairs) -> PerLink:
        return np.asarray(pairs[self.sends.receiver, self.sends.link_sender])

    def _interference(self, power: Power, attempt: int | None) -> PerLink:
        """Power of the others over noise, at every receiver in the slot of its message."""
        sends, n = self.sends, len(self.positions)
        pairs = self.radio.pair_snr(self.positions, self.round_index)
        if attempt is not None:
            pairs = pairs * self._fading(attempt)
        pairs = np.where(np.eye(n, dtype=bool), 0.0, pairs)  # nobody disturbs itself
        load = np.zeros((n, sends.slots))
        np.add.at(load, (sends.sender, sends.slot), power.watts / self.radio.tx_power_w)
        slot = sends.slot[sends.link]
        own = self._of_links(pairs) * load[sends.link_sender, slot]
        others = (pairs @ load)[sends.receiver, slot] - own
        return np.asarray(
            np.maximum(others, 0.0)
        )  # a difference of sums may fall below by rounding


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
