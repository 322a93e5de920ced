"""The radio: gains become rates, rates become time on air, losses and joules.

Path loss and fading come from their own files; here they meet band, power, schedule and deadline
(docs/model.md M3 to M5 and M31 to M33). The paper's radio (arXiv 2602.20492, section II) is the
one with free space, Rayleigh fading, OFDMA and an equal split.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import numpy as np
from jaxtyping import Bool, Float64, Int64

from meshtune.engine.channels.access import PerLink, PerSend, Sharing, Transmissions
from meshtune.engine.channels.air import Air
from meshtune.engine.channels.base import Delivery, LinkQuality, Pairs, Positions
from meshtune.engine.channels.capacity import RateRule, waterfall_loss
from meshtune.engine.channels.fading import Fading
from meshtune.engine.channels.hop import (
    ROUNDING,
    Hop,
    Power,
    longest,
    matrix,
    ratio,
    running_sums,
    sender_sums,
    slot_starts,
)
from meshtune.engine.channels.propagation import Propagation
from meshtune.engine.channels.quality import FADES, Expectation, Reliability, quantiles

SAMPLES = 500_000  # fades at most, over all links


@dataclass(frozen=True)
class Radio:
    """Devices with one radio each; the fields are those of `RadioChannel` in the config, linear."""

    bandwidth_hz: float
    tx_power_w: float
    noise_w_hz: float
    deadline_s: float
    rule: RateRule
    propagation: Propagation
    fading: Fading
    seed: int
    sharing: Sharing = field(default_factory=Sharing)
    reliability: Reliability = field(default_factory=Reliability)
    deadline_covers_round: bool = False
    rx_power_w: float = 0.0
    header_bits: int = 0

    def mean_snr(self, positions: Positions, round_index: int = 0) -> Pairs:
        """Linear signal-to-noise ratio of every pair, averaged over fading; row = receiver (M3)."""
        return self.air(positions, round_index).pair_snr

    def air(self, positions: Positions, round_index: int) -> Air:
        """What lies between the devices in a round; the hops of a round share it."""
        return self._latest(positions.tobytes(), round_index)

    @cached_property
    def _latest(self) -> Callable[[bytes, int], Air]:
        return lru_cache(maxsize=1)(self._air)

    def _air(self, places: bytes, round_index: int) -> Air:
        return Air(
            propagation=self.propagation,
            fading=self.fading,
            seed=self.seed,
            tx_power_w=self.tx_power_w,
            noise_w=self.noise_w_hz * self.bandwidth_hz,
            positions=np.frombuffer(places).reshape(-1, 2),
            round_index=round_index,
        )

    def deliver(
        self,
        positions: Positions,
        sent_bits: Int64[np.ndarray, "n n"],
        round_index: int,
        *,
        ready_s: Float64[np.ndarray, " n"] | None = None,
        alike: bool = True,
    ) -> Delivery:
        """Fate of every message of the hop (docs/model.md M4, M5, M31 to M33).

        Transmissions get bands and slots, power, a rate, and time; each try may break; what is not
        through when time is up is lost. Fading, shadowing and broken packets depend on seed, round
        and pair only, never on who sends what: runs of two methods meet the same air.
        Source: arXiv 2602.20492, equations 8 and 11a, for OFDMA with an equal split.
        """
        n, attempted = len(sent_bits), sent_bits > 0
        framed = np.where(attempted, sent_bits + self.header_bits, 0)
        sends = self.sharing.transmissions(positions, framed, alike=alike)
        hop = Hop(self.air(positions, round_index), sends, self.sharing.interferes)
        start_s = self._start(sends, ready_s)
        left_s = self._left(start_s)
        power = self._power(sends, self._design(hop), left_s)
        rate = self._rate(sends, hop, power, left_s)
        through, tries = self._tries(sends, hop, power, rate)

        each_s = ratio(sends.bits, rate)  # a rate of zero takes for ever, and is lost
        on_air_s = np.where(power.served, tries * each_s, 0.0)
        if sends.slots > 1:
            # Who could not end in time gives the slot up; a slot is as long as its longest message.
            on_air_s = np.where(each_s <= left_s * (1 + ROUNDING), on_air_s, 0.0)
            start_s = start_s + slot_starts(sends, on_air_s)
            left_s = self._left(start_s)
        on_air_s = np.minimum(on_air_s, left_s)
        # The try that came through must have ended before time was up.
        in_time = np.maximum(through, 1) * each_s[sends.link] <= left_s[sends.link] * (1 + ROUNDING)
        heard = in_time & (through > 0)

        served = np.bincount(sends.link, minlength=len(sends.sender))  # links of a transmission
        joules = power.watts * on_air_s / served
        area_hz_s = on_air_s * (self.bandwidth_hz / sends.parts) / served
        busy_s = longest(sends, n, on_air_s)
        end_s = np.where(on_air_s > 0.0, start_s + on_air_s, 0.0)
        return Delivery(
            sent_bits=framed,
            attempted=attempted,
            heard=matrix(sends, n, heard, False),
            snr=matrix(sends, n, hop.sinr(power, 0), np.nan),
            rate_bit_s=matrix(sends, n, rate[sends.link], np.nan),
            airtime_s=matrix(sends, n, on_air_s[sends.link], 0.0),
            end_s=matrix(sends, n, end_s[sends.link], 0.0),
            energy_j=matrix(sends, n, joules[sends.link], 0.0),
            receive_j=matrix(sends, n, self.rx_power_w * on_air_s[sends.link], 0.0),
            sender_bits=sender_sums(sends, n, sends.bits),
            sender_airtime_s=busy_s.sum(axis=1),
            duration_s=float(busy_s.max(axis=0, initial=0.0).sum()),
            bandwidth_time_hz_s=float(matrix(sends, n, area_hz_s[sends.link], 0.0).sum()),
        )

    def _start(self, sends: Transmissions, ready_s: Float64[np.ndarray, " n"] | None) -> PerSend:
        """When transmissions may begin; slots wait until all senders are ready."""
        if ready_s is None:
            return np.zeros(len(sends.sender))
        ready: PerSend = ready_s[sends.sender]
        return ready if sends.slots == 1 else np.full_like(ready, ready.max(initial=0.0))

    def _left(self, start_s: PerSend) -> PerSend:
        """Time that a transmission may take."""
        if not self.deadline_covers_round:
            return np.full_like(start_s, self.deadline_s)
        return np.maximum(self.deadline_s - start_s, 0.0)

    def _design(self, hop: Hop) -> PerLink:
        """SNR that a link is planned with, at full power over the whole band.

        The SNR of this round where the sender knows the fading; else the mean less the margin.
        """
        if self.reliability.loss == "outage":
            return np.asarray(hop.mean / self.reliability.margin)
        return hop.alone(0)

    def _planned(self, hop: Hop, power: Power) -> PerLink:
        """The same with the power that is really used, and with interference."""
        if self.reliability.loss == "outage":
            return np.asarray(hop.sinr(power, None) / self.reliability.margin)
        return hop.sinr(power, 0)

    def _power(self, sends: Transmissions, design: PerLink, left_s: PerSend) -> Power:
        """Watts of every transmission (M32).

            split       P / u      u: receivers among which the sender splits its band
            per_link    P          for each of them
            deadline    the least with which the message takes exactly the time it has

        `design` is the SNR a link is planned with, at full power over the whole band. Under
        `deadline` a sender serves those that cost least first, as long as its budget P lasts; the
        others stay silent (our choice). Interference is not foreseen. Source of `deadline`: arXiv
        2602.20492, Lemma 1 (Eq. 25) under the budget of Eq. 11b.
        """
        whole = np.ones(len(sends.sender))
        everyone, every_link = whole > 0, np.ones(len(sends.receiver), dtype=bool)
        if self.sharing.power == "split":
            return Power(self.tx_power_w / sends.parts, whole, everyone, every_link)
        if self.sharing.power == "per_link":
            return Power(self.tx_power_w * whole, whole * sends.parts, everyone, every_link)
        band_hz = self.bandwidth_hz / sends.parts
        if self.deadline_covers_round:
            left_s = left_s / sends.slots
        needed_snr = self.rule.needed_snr(ratio(sends.bits, band_hz * left_s))
        # Shares of the budget: of a link, then of a transmission, which reaches its worst link.
        of_link = ratio(needed_snr[sends.link], design * sends.parts[sends.link])
        link_served = of_link <= 1.0 + ROUNDING
        share = np.zeros(len(sends.sender))
        np.maximum.at(share, sends.link[link_served], of_link[link_served])
        served = np.bincount(sends.link[link_served], minlength=len(share)) > 0
        # Within a sender's slot the cheapest first; those that nobody can hear cost nothing.
        order = np.lexsort((share, sends.slot, sends.sender))
        spent = running_sums(share[order], (sends.sender * sends.slots + sends.slot)[order])
        served[order] &= spent <= 1.0 + ROUNDING
        share = np.where(served, share, 0.0)
        link_served &= served[sends.link]
        return Power(self.tx_power_w * share, share * sends.parts, served, link_served)

    def _rate(self, sends: Transmissions, hop: Hop, power: Power, left_s: PerSend) -> PerSend:
        """Bit/s of every transmission (M4, M31).

        That of its worst link, but of a broadcast no less than the deadline asks for: whoever
        cannot follow is left behind rather than holding up the others (our choice).
        """
        band_hz = self.bandwidth_hz / sends.parts
        link_rate = band_hz[sends.link] * self.rule.efficiency(self._planned(hop, power))
        if len(sends.sender) == len(sends.link):
            return np.asarray(link_rate)
        worst = np.full(len(sends.sender), np.inf)
        np.minimum.at(worst, sends.link[power.link_served], link_rate[power.link_served])
        asked = ratio(sends.bits, band_hz * left_s)
        least = self.rule.efficiency(self.rule.needed_snr(asked))  # the next step of a table
        return np.where(np.isinf(worst), 0.0, np.maximum(worst, band_hz * least))

    def _tries(
        self, sends: Transmissions, hop: Hop, power: Power, rate: PerSend
    ) -> tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " k"]]:
        """First try that came through on every link, 0 if none; tries of every transmission (M33).

        A transmission is tried until all it serves have heard it. Each try meets packet errors of
        its own, and a fading of its own where the sender does not know it (our choice).
        """
        reliability = self.reliability
        most = 1 if reliability.loss == "deadline" else reliability.tries
        through = np.zeros(len(sends.receiver), dtype=np.int64)
        needed = rate[sends.link] * (1 - ROUNDING)
        band_hz = (self.bandwidth_hz / sends.parts)[sends.link]
        for attempt in range(most):
            sinr = hop.sinr(power, attempt if reliability.loss == "outage" else 0)
            arrived = power.link_served & (band_hz * self.rule.efficiency(sinr) >= needed)
            if reliability.loss == "waterfall":
                arrived &= hop.packet_luck(attempt) >= waterfall_loss(sinr, reliability.threshold)
            through = np.where((through == 0) & arrived, attempt + 1, through)
            if (through[power.link_served] > 0).all():
                break
        tries = np.ones(len(sends.sender), dtype=np.int64)
        until = np.where(through > 0, through, most)[power.link_served]
        np.maximum.at(tries, sends.link[power.link_served], until)
        return through, tries

    # What the plan asks.

    def quality(
        self,
        positions: Positions,
        linked: Bool[np.ndarray, "n n"],
        bits: Int64[np.ndarray, "n n"],
        round_index: int = 0,
    ) -> LinkQuality:
        """Mean SNR, mean rate and loss of every link, as if all carried `bits` (M22, M33).

        No loss is given where `bits` is 0. Waiting for a slot, and for others to be ready, does
        not count. Closed forms and quadrature; with interference a mean over 16 to 128 drawn
        rounds. Power control by the deadline counts as an equal split (our choice).
        """
        sends = self.sharing.transmissions(positions, linked.astype(np.int64))
        split = replace(self, sharing=replace(self.sharing, power="split"))
        planning = self if self.sharing.power != "deadline" else split
        power = planning._power(sends, np.ones(len(sends.receiver)), np.ones(len(sends.sender)))
        n, band_hz = len(positions), (self.bandwidth_hz / sends.parts)[sends.link]
        payload = bits[sends.receiver, sends.link_sender]
        needed = (payload + self.header_bits) / band_hz / self.deadline_s
        hop = Hop(self.air(positions, round_index), sends, self.sharing.interferes)
        over_fading = Expectation(self.rule, self.fading, self.reliability)
        mean = hop.sinr(power, None)
        if self.sharing.interferes:
            draws = int(np.clip(SAMPLES // max(len(mean), 1), 16, FADES))
            drawn = [
                replace(hop, air=replace(hop.air, round_index=k)).sinr(power, 0)
                for k in range(draws)
            ]
            efficiency, loss = over_fading.sampled(mean, np.stack(drawn, axis=1), needed)
        elif self.reliability.loss == "waterfall":
            fades = mean[:, None] * quantiles(self.fading.law, FADES)
            efficiency, loss = over_fading.sampled(mean, fades, needed)
        else:
            efficiency, loss = over_fading.exact(mean, needed)
        rate = band_hz * efficiency
        if len(sends.sender) < len(sends.link):  # a broadcast goes at the rate of its worst link
            worst = np.full(len(sends.sender), np.inf)
            np.minimum.at(worst, sends.link, rate)
            rate = worst[sends.link]
        return LinkQuality(
            mean_snr=matrix(sends, n, mean, np.nan),
            mean_rate_bit_s=matrix(sends, n, rate, np.nan),
            loss_prob=matrix(sends, n, np.where(payload > 0, loss, np.nan), np.nan),
        )
