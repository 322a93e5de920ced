"""What a fading link carries: rate at an SNR, its mean over fading, and how often it fails."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float64

from meshtune.engine.channels.fading import FadingLaw, RayleighLaw, Steady

# Efficiencies in bit/s/Hz of CQI 1 to 15: 3GPP TS 38.214, table 5.2.2.1-2 (QPSK to 64QAM).
CQI_EFFICIENCY = np.array(
    [
        *(0.1523, 0.2344, 0.3770, 0.6016, 0.8770, 1.1758),
        *(1.4766, 1.9141, 2.4063),
        *(2.7305, 3.3223, 3.9023, 4.5234, 5.1152, 5.5547),
    ]
)
STEPS = np.concatenate([[0.0], CQI_EFFICIENCY])
NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(64)
GRID = 16_384


def spectral_efficiency(snr: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
    """Shannon's bit/s per Hz at a linear signal-to-noise ratio: log2(1 + snr)."""
    # log1p keeps the weakest links alive: 1 + snr would round to one.
    efficiency: Float64[np.ndarray, "*s"] = np.log1p(snr) / math.log(2.0)
    return efficiency


@dataclass(frozen=True)
class RateRule:
    """Which efficiency a sender picks for an SNR that it knows (docs/model.md M22).

        min(log2(1 + snr / gap), cap),   with the table: the largest step not above that, or zero

    Steps count as what the SNR carries at the gap, without the error rate of 10 % that a CQI
    report allows (our choice). Source: for the gap Forney & Ungerboeck, Modulation and coding for
    linear Gaussian channels, IEEE Trans. Inf. Theory 44(6) (1998); for the steps 3GPP TS 38.214,
    table 5.2.2.1-2.

    Attributes:
        cap: No link is faster, in bit/s/Hz.
        gap: How much more SNR a code needs than Shannon's, linear, at least one.
        table: Only the fifteen steps of the CQI table that are not above the cap.
    """

    cap: float
    gap: float
    table: bool

    def efficiency(self, snr: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
        """Bit/s per Hz at a linear SNR."""
        if self.table:
            # By SNR, not by rate: a step must be reached at exactly the SNR that it needs.
            place = np.searchsorted(self.shannon_snr(self._steps()), snr, side="right") - 1
            stepped: Float64[np.ndarray, "*s"] = STEPS[place]
            return stepped
        smooth: Float64[np.ndarray, "*s"] = np.minimum(
            spectral_efficiency(snr / self.gap), self.cap
        )
        return smooth

    def needed_snr(self, efficiency: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
        """Least linear SNR that carries `efficiency` bit/s per Hz; infinite above the top."""
        if self.table:
            steps = self._steps()
            step_snr = np.append(self.shannon_snr(steps), np.inf)
            stepped: Float64[np.ndarray, "*s"] = step_snr[np.searchsorted(steps, efficiency)]
            return stepped
        within = self.shannon_snr(np.minimum(efficiency, self.cap))
        needed: Float64[np.ndarray, "*s"] = np.where(efficiency > self.cap, np.inf, within)
        return needed

    def shannon_snr(self, efficiency: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
        """Gap times 2^x - 1: what `efficiency` needs without cap and table."""
        with np.errstate(over="ignore"):  # beyond float range: no SNR carries that
            snr: Float64[np.ndarray, "*s"] = self.gap * np.expm1(efficiency * math.log(2.0))
        return snr

    def _steps(self) -> Float64[np.ndarray, " steps"]:
        """Efficiencies of the table within the cap, after zero, which is carried at any SNR."""
        within: Float64[np.ndarray, " steps"] = STEPS[self.cap >= STEPS]
        return within


def mean_efficiency(
    law: FadingLaw, rule: RateRule, mean_snr: Float64[np.ndarray, "*s"]
) -> Float64[np.ndarray, "*s"]:
    """Bit/s per Hz averaged over fading, by a sender that knows each fade (M22).

        E[efficiency(snr rho)] = integral from 0 to cap of P(rho > needed_snr(x) / snr) dx

    The integrand is the probability that the link carries x; with the table the integral is a
    sum over steps. Else Gauss-Legendre with 64 nodes over what the fades leave open: exact to
    1e-6 bit/s/Hz (measured against adaptive quadrature), 1e-5 for Nakagami m below one.
    `mean_snr` is linear. Source: Tse & Viswanath, Fundamentals of Wireless Communication (2005),
    section 5.4.
    """
    if isinstance(law, Steady):
        return rule.efficiency(mean_snr)
    if rule.table:
        reached = _exceed_prob(law, _fade(rule.needed_snr(CQI_EFFICIENCY), mean_snr[..., None]))
        stepped: Float64[np.ndarray, "*s"] = reached @ np.diff(STEPS)
        return stepped
    low, high = law.ends()
    start = rule.efficiency(low * mean_snr)[..., None]
    half = 0.5 * (rule.efficiency(high * mean_snr)[..., None] - start)
    needed = rule.shannon_snr(start + half * (NODES + 1.0))
    reached = _exceed_prob(law, _fade(needed, mean_snr[..., None]))
    mean: Float64[np.ndarray, "*s"] = start[..., 0] + (half * reached) @ NODE_WEIGHTS
    return mean


def outage_prob(
    law: FadingLaw,
    rule: RateRule,
    mean_snr: Float64[np.ndarray, "*s"],
    efficiency: Float64[np.ndarray, "*s"],
) -> Float64[np.ndarray, "*s"]:
    """Probability that a block-fading link cannot carry `efficiency` bit/s per Hz (M22).

        P_out = P(rho < needed_snr(efficiency) / snr)      Rayleigh: 1 - exp(-gap (2^x - 1) / snr)

    `mean_snr` is a linear power ratio, not dB; the gain is constant within a message. One above
    the cap or the last step: no gain helps there.
    Source: Tse & Viswanath, Fundamentals of Wireless Communication (2005), section 5.4.1.
    """
    return law.below_prob(_fade(rule.needed_snr(efficiency), mean_snr))


def waterfall_loss(snr: Float64[np.ndarray, "*s"], threshold: float) -> Float64[np.ndarray, "*s"]:
    """Probability that a packet breaks at a linear SNR: 1 - exp(-threshold / snr) (M22).

    One without a signal. In its source this is an upper bound of the loss *averaged* over Rayleigh
    fading, snr being the mean. Federated learning uses it at the SNR of the moment (Chen et al.,
    arXiv 1909.07972), and so do we; with fading it then counts a fade twice.
    Source: Xi, Burr, Wei & Grace, A general upper bound to evaluate packet error rate over
    quasi-static fading channels, IEEE Trans. Wireless Commun. 10(5) (2011).
    """
    with np.errstate(divide="ignore"):
        loss: Float64[np.ndarray, "*s"] = -np.expm1(-threshold / snr)
    return loss


def _fade(
    snr: Float64[np.ndarray, "*a"], mean_snr: Float64[np.ndarray, "*b"]
) -> Float64[np.ndarray, "*c"]:
    """Gain at which a link of this mean has `snr`; infinite for a link without a signal."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(snr > 0.0, snr / mean_snr, 0.0)


def _exceed_prob(law: FadingLaw, gain: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
    """`law.exceed_prob`, by table where the law is slow."""
    if isinstance(law, RayleighLaw):
        return law.exceed_prob(gain)
    reached: Float64[np.ndarray, "*s"] = 1.0 - _below_prob(law, gain)
    return reached


def _below_prob(law: FadingLaw, gain: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
    """`law.below_prob`, by table where the law is slow: wrong by at most 2e-6."""
    if isinstance(law, RayleighLaw):
        return law.below_prob(gain)
    first, step, below, rise = _table(law)
    place = np.clip((np.sqrt(gain) - first) / step, 0.0, GRID - 1.0)
    left = place.astype(np.intp)
    missed: Float64[np.ndarray, "*s"] = below[left] + (place - left) * rise[left]
    return missed


@lru_cache(maxsize=32)
def _table(
    law: FadingLaw,
) -> tuple[float, float, Float64[np.ndarray, " grid"], Float64[np.ndarray, " grid"]]:
    """P(rho < g) on a grid over sqrt(g), where all laws are smooth: start, step, values, rises."""
    low, high = law.ends()
    amplitude = np.linspace(math.sqrt(low), math.sqrt(high), GRID)
    below = law.below_prob(amplitude**2)
    return amplitude[0], amplitude[1] - amplitude[0], below, np.append(np.diff(below), 0.0)
