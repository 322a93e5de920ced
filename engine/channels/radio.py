"""The radio: gains become rates, rates become time on air, losses and joules.

Path loss and fading come from their own files; here they meet band, power, schedule and deadline
(docs/model.md M3 to M5 and M31 to M33). The paper's radio (arXiv 2602.20492, section II) is the
one with free space, Rayleigh fading, OFDMA and an equal split.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64

from meshtune.engine.channels.access import (
    Transmissions,
    broadcast,
    places_in_group,
    spatial_slots,
    taking_turns,
    unicast,
)
from meshtune.engine.channels.base import Delivery, LinkQuality
from meshtune.engine.channels.capacity import RateRule, mean_efficiency, outage_prob, waterfall_loss
from meshtune.engine.channels.fading import Fading, FadingLaw
from meshtune.engine.channels.hop import (
    Hop,
    PerLink,
    PerSend,
    Power,
    longest,
    matrix,
    ratio,
    running_sums,
    sender_sums,
    slot_starts,
)
from meshtune.engine.channels.propagation import Propagation
from meshtune.engine.geometry import distances_m

ROUNDING = 1e-9  # a message that takes the deadline to the last digit is in time
GRID = 4096
FADES = 128  # over which losses without a closed form are averaged
SAMPLES = 500_000  # of them at most, over all links
DENSE_DEVICES = 128  # up to here the gains of all pairs cost less than picking links

Positions = Float64[np.ndarray, "n 2"]
Pairs = Float64[np.ndarray, "n n"]


@dataclass(frozen=True)
class Sharing:
    """Who sends when, in which part of the band, at which share of the power."""

    access: Literal["ofdma", "broadcast", "tdma"] = "ofdma"
    shared_band: bool = False  # all senders in one band: every other one interferes
    slot_casts: bool = False  # a slot of TDMA carries one message to all neighbours
    reuse_range_m: float | None = None  # of TDMA; None: one sender at a time
    half_duplex: bool = False
    power: Literal["split", "per_link", "deadline"] = "split"

    @property
    def sends_to_all(self) -> bool:
        """One message serves all neighbours."""
        return self.access == "broadcast" or (self.access == "tdma" and self.slot_casts)

    @property
    def interferes(self) -> bool:
        """Several senders may be on air in one band."""
        return self.shared_band or self.reuse_range_m is not None


@dataclass(frozen=True)
class Reliability:
    """What breaks a message besides the deadline, and how often it is tried."""

    loss: Literal["deadline", "waterfall", "outage"] = "deadline"
    threshold: float = 1.0  # of the waterfall, linear
    margin: float = 1.0  # of the outage, linear
    tries: int = 1


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
    sharing: Sharing = Sharing()
    reliability: Reliability = Reliability()
    deadline_covers_round: bool = False
    rx_power_w: float = 0.0
    header_bits: int = 0
    # The pairs of the last places: a round has several hops, and most meshes stand still.
    _last: dict[str, tuple[Positions, int, Pairs]] = field(
        init=False, default_factory=dict, compare=False, repr=False
    )

    # What a pair gets.

    def mean_snr(self, positions: Positions, round_index: int = 0) -> Pairs:
        """Linear signal-to-noise ratio of every pair, averaged over fading (docs/model.md M3).

            snr = P g / (N0 F B)

        at full power over the whole band. Where power and band are split alike, noise shrinks with
        the share of the band as power does, and the share cancels. Row = receiver.
        Source: the paper's equation 8; g by `meshtune.engine.channels.propagation`.
        """
        gain = self.propagation.gain(positions, round_index)
        snr: Pairs = self.tx_power_w * gain / (self.noise_w_hz * self.bandwidth_hz)
        return snr

    def pair_snr(self, positions: Positions, round_index: int) -> Pairs:
        """`mean_snr`, remembered as long as nobody moves."""
        known = self._last.get("pairs")
        if known is None or known[0] is not positions or known[1] != round_index:
            known = (positions, round_index, self.mean_snr(positions, round_index))
            self._last["pairs"] = known
        return known[2]

    def link_snr(self, positions: Positions, sends: Transmissions, round_index: int) -> PerLink:
        """`mean_snr` of the links that are used."""
        n, links = len(positions), len(sends.receiver)
        if n <= DENSE_DEVICES or 4 * links > n * n or self.sharing.interferes:
            known = self.pair_snr(positions, round_index)
            return np.asarray(known[sends.receiver, sends.link_sender])
        gain = self.propagation.link_gain(positions, sends.receiver, sends.link_sender, round_index)
        return np.asarray(self.tx_power_w * gain / (self.noise_w_hz * self.bandwidth_hz))

    # One hop.

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
        sends = self.transmissions(positions, framed, alike=alike)
        hop = Hop(self, positions, sends, round_index)
        start_s = self._start(sends, ready_s)
        left_s = self._left(start_s)
        power = self._power(sends, hop.design(), left_s)
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

    def transmissions(
        self, positions: Positions, sent_bits: Int64[np.ndarray, "n n"], *, alike: bool = True
    ) -> Transmissions:
        """What goes on air for these messages, in which part of the band and in which slot (M31).

        Messages made to order (not `alike`) cannot be broadcast: a sender sends them one by one.
        """
        sharing = self.sharing
        to_all = sharing.sends_to_all and alike
        sender, bits, link, receiver = (broadcast if to_all else unicast)(sent_bits)
        parts, slot = np.ones_like(sender), np.zeros_like(sender)
        if sharing.access == "tdma":
            slot = np.arange(len(sender))
            if sharing.reuse_range_m is not None:
                near = distances_m(positions) <= sharing.reuse_range_m
                slot = spatial_slots(near, sender, link, receiver)
            return Transmissions(sender, bits, parts, slot, link, receiver)
        if sharing.access == "ofdma":
            parts = np.bincount(sender, minlength=len(sent_bits))[sender]
        elif not alike:
            slot = places_in_group(sender)
        if sharing.half_duplex:
            turn = taking_turns(sent_bits > 0)[sender]
            slot = slot + (slot.max(initial=0) + 1) * turn
        # Turns and places may leave slots that nobody uses.
        slot = np.unique(slot, return_inverse=True)[1]
        return Transmissions(sender, bits, parts, slot, link, receiver)

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
        link_rate = band_hz[sends.link] * self.rule.efficiency(hop.planned(power))
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
        sends = self.transmissions(positions, linked.astype(np.int64))
        split = replace(self, sharing=replace(self.sharing, power="split"))
        planning = self if self.sharing.power != "deadline" else split
        power = planning._power(sends, np.ones(len(sends.receiver)), np.ones(len(sends.sender)))
        n, band_hz = len(positions), (self.bandwidth_hz / sends.parts)[sends.link]
        payload = bits[sends.receiver, sends.link_sender]
        needed = (payload + self.header_bits) / band_hz / self.deadline_s
        hop = Hop(self, positions, sends, round_index)
        mean = hop.sinr(power, None)
        if self.sharing.interferes:
            draws = int(np.clip(SAMPLES // max(len(mean), 1), 16, FADES))
            drawn = [replace(hop, round_index=k).sinr(power, 0) for k in range(draws)]
            efficiency, loss = self._sampled(mean, np.stack(drawn, axis=1), needed)
        elif self.reliability.loss == "waterfall":
            fades = mean[:, None] * quantiles(self.fading.law, FADES)
            efficiency, loss = self._sampled(mean, fades, needed)
        else:
            efficiency, loss = self._expected(mean, needed)
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

    def _expected(self, mean: PerLink, needed: PerLink) -> tuple[PerLink, PerLink]:
        """Mean efficiency and loss in closed form, of links without interference.

        `mean` is the mean SNR, `needed` the efficiency at which one try just meets the deadline.
        """
        law, rule = self.fading.law, self.rule
        if self.reliability.loss == "deadline":
            return mean_efficiency(law, rule, mean), outage_prob(law, rule, mean, needed)
        aimed = rule.efficiency(mean / self.reliability.margin)
        return aimed, self._after_tries(outage_prob(law, rule, mean, aimed), aimed, needed)

    def _sampled(
        self, mean: PerLink, sinr: Float64[np.ndarray, "m s"], needed: PerLink
    ) -> tuple[PerLink, PerLink]:
        """The same averaged over equally likely fades `sinr` of every link."""
        efficiency = self.rule.efficiency(sinr)
        if self.reliability.loss == "outage":
            aimed = self.rule.efficiency(mean / self.reliability.margin)
            faded = (efficiency < aimed[:, None]).mean(axis=1)
            return aimed, self._after_tries(faded, aimed, needed)
        fit = np.floor(ratio(efficiency, needed[:, None]) + ROUNDING)
        lost = (fit < 1).astype(np.float64)
        if self.reliability.loss == "waterfall":  # the tries of one message share their fade
            broken = waterfall_loss(sinr, self.reliability.threshold)
            lost = broken ** np.minimum(fit, self.reliability.tries)
        return np.asarray(efficiency.mean(axis=1)), np.asarray(lost.mean(axis=1))

    def _after_tries(self, loss: PerLink, aimed: PerLink, needed: PerLink) -> PerLink:
        """Loss after all tries that fit into the deadline, each under a fading of its own."""
        most = 1 if self.fading.correlation is not None else self.reliability.tries
        fit = np.minimum(np.floor(ratio(aimed, needed) + ROUNDING), most)
        return np.asarray(np.where(fit < 1, 1.0, loss**fit))


def quantiles(law: FadingLaw, count: int) -> Float64[np.ndarray, " count"]:
    """`count` equally likely gains of a law: the middles of as many equal slices."""
    low, high = law.ends()
    if low == high:
        return np.full(count, low)
    gain = np.linspace(np.sqrt(low), np.sqrt(high), GRID) ** 2
    return np.interp((np.arange(count) + 0.5) / count, law.below_prob(gain), gain)
