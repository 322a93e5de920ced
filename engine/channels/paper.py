"""The paper's radio (arXiv 2602.20492, section II, equation 8), with two repairs that are ours.

The paper's gain rho d^-2 has no reference loss, which gives absurd 70-110 dB of SNR; we put the
free-space gain at one metre in front. And no link is faster than a spectral-efficiency cap.
Equation 8 divides parameters by bit/s; we count bits.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from engine import config as c
from engine.channels.base import Delivery
from engine.geometry import distances_m
from engine.rng import stream
from engine.units import dbm_to_w

LIGHT_SPEED_M_S = 299_792_458.0
THERMAL_NOISE_DBM_HZ = -174.0
# The far-field law has no meaning closer than this, and would amplify at zero distance.
NEAREST_M = 1.0
FADE_END = 40.0
NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(64)


@dataclass(frozen=True)
class PaperRadio:
    """Rayleigh block fading over d^-2 path loss; a sender splits band and power equally (OFDMA)."""

    bandwidth_hz: float
    carrier_hz: float
    tx_power_w: float
    noise_w_hz: float
    spectral_efficiency_max: float
    deadline_s: float
    faded: bool
    seed: int

    @classmethod
    def of(cls, chosen: c.PaperChannel, seed: int) -> "PaperRadio":
        """The radio with the numbers of the config, decibels turned linear."""
        return cls(
            bandwidth_hz=chosen.bandwidth_hz,
            carrier_hz=chosen.carrier_hz,
            tx_power_w=dbm_to_w(chosen.tx_power_dbm),
            noise_w_hz=dbm_to_w(THERMAL_NOISE_DBM_HZ + chosen.noise_figure_db),
            spectral_efficiency_max=chosen.spectral_efficiency_max,
            deadline_s=chosen.deadline_s,
            faded=chosen.fading == "rayleigh",
            seed=seed,
        )

    def mean_snr(self, positions: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n n"]:
        """Linear signal-to-noise ratio of every pair, averaged over fading (docs/model.md M3).

            snr = P g / (N0 F B),   g = (lambda / (4 pi))^2 d^-2

        Power and noise both shrink with the share of the band, so the share cancels. Distances
        below one metre count as one metre, and nobody receives more than was sent.
        Source: the paper's h_ij = rho_ij d_ij^-2 below equation 8; the reference gain is ours.
        """
        wavelength_m = LIGHT_SPEED_M_S / self.carrier_hz
        reference_gain = (wavelength_m / (4.0 * math.pi)) ** 2
        gain = np.minimum(reference_gain / np.maximum(distances_m(positions), NEAREST_M) ** 2, 1.0)
        snr: Float64[np.ndarray, "n n"] = (
            self.tx_power_w * gain / (self.noise_w_hz * self.bandwidth_hz)
        )
        return snr

    def fading(self, devices: int, round_index: int) -> Float64[np.ndarray, "n n"]:
        """Power gain rho of every pair in this round, mean one: Exp(1), or one without fading.

        Reciprocal: both directions of a pair fade alike (our choice). Drawn for all pairs whoever
        sends, so every method meets the same fading at the same seed.
        """
        if not self.faded:
            return np.ones((devices, devices))
        rng = stream(self.seed, "channel", "fading", round_index)
        upper = np.triu(rng.standard_exponential((devices, devices)), k=1)
        return upper + upper.T

    def deliver(
        self,
        positions: Float64[np.ndarray, "n 2"],
        sent_bits: Int64[np.ndarray, "n n"],
        round_index: int,
    ) -> Delivery:
        """Fate of every message of the round (docs/model.md M4, M5).

            rate_ij = (B / u_j) min(log2(1 + snr_ij), cap),   airtime_ij = bits_ij / rate_ij

        u_j is the number of receivers of sender j. A message longer than the deadline is lost; its
        sender stops there, so airtime and energy (P / u_j per second on air) end at the deadline.
        Source: the paper's equations 8 and 11a.
        """
        attempted = sent_bits > 0
        receivers = np.maximum(attempted.sum(axis=0), 1)[None, :]
        snr = self.mean_snr(positions) * self.fading(len(positions), round_index)
        efficiency = np.minimum(spectral_efficiency(snr), self.spectral_efficiency_max)
        rate_bit_s = self.bandwidth_hz / receivers * efficiency
        with np.errstate(
            divide="ignore", invalid="ignore"
        ):  # an infinite airtime is a lost message
            needed_s = np.where(attempted, sent_bits / rate_bit_s, 0.0)
        airtime_s = np.minimum(needed_s, self.deadline_s)
        return Delivery(
            attempted=attempted,
            heard=attempted & (needed_s <= self.deadline_s),
            snr=np.where(attempted, snr, np.nan),
            rate_bit_s=np.where(attempted, rate_bit_s, np.nan),
            airtime_s=airtime_s,
            energy_j=self.tx_power_w / receivers * airtime_s,
        )

    def outage(self, mean_snr: float, payload_bits: int, band_hz: float) -> float:
        """Probability that a message of `payload_bits` over `band_hz` misses the deadline."""
        needed_bit_s = payload_bits / self.deadline_s
        if needed_bit_s > self.spectral_efficiency_max * band_hz:
            return 1.0
        if self.faded:
            return rayleigh_outage(mean_snr, needed_bit_s, band_hz)
        fixed_bit_s = band_hz * math.log1p(mean_snr) / math.log(2.0)
        return float(needed_bit_s > fixed_bit_s)


def spectral_efficiency(snr: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
    """Shannon's bit/s per Hz at a linear signal-to-noise ratio: log2(1 + snr)."""
    # log1p keeps the weakest links alive: 1 + snr would round to one.
    efficiency: Float64[np.ndarray, "*s"] = np.log1p(snr) / math.log(2.0)
    return efficiency


def mean_spectral_efficiency(
    mean_snr: Float64[np.ndarray, "*s"], cap: float
) -> Float64[np.ndarray, "*s"]:
    """Bit/s per Hz averaged over Rayleigh fading, under a cap.

        E[min(log2(1 + snr rho), cap)] = integral from 0 to cap of exp(-(2^x - 1) / snr) dx

    The integrand is the probability that the link carries x. `mean_snr` is linear; `cap` is in
    bit/s/Hz. Source: Tse & Viswanath, Fundamentals of Wireless Communication (2005), section 5.4.
    """
    # Beyond forty times the mean gain the integrand is below 1e-17.
    end = np.minimum(spectral_efficiency(FADE_END * mean_snr), cap)
    half = 0.5 * end[..., None]
    carried = np.exp(-np.expm1(half * (NODES + 1.0) * math.log(2.0)) / mean_snr[..., None])
    mean: Float64[np.ndarray, "*s"] = (half * carried) @ NODE_WEIGHTS
    return mean


def rayleigh_outage(mean_snr: float, rate_bit_s: float, bandwidth_hz: float) -> float:
    """Probability that a Rayleigh block-fading link cannot carry `rate_bit_s` (M5a).

        P_out = 1 - exp(-(2^(R/B) - 1) / snr)

    `mean_snr` is a linear power ratio, not dB; the gain is constant within a message. The cap on
    the rate is not part of it: above the cap no gain helps.
    Source: Tse & Viswanath, Fundamentals of Wireless Communication (2005), section 5.4.1.
    """
    exponent = rate_bit_s / bandwidth_hz * math.log(2.0)
    if exponent > 700.0:  # beyond float range: no fading is that kind
        return 1.0
    return -math.expm1(-math.expm1(exponent) / mean_snr)
