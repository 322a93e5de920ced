"""Means with 95 % intervals over seeds, paired differences, and curves of accuracy over bits."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
Curve = Sequence[tuple[float, float]]  # (bits, accuracy), bits never falling


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds; `half_width` of its 95 % interval is None for a single seed."""

    mean: float
    half_width: float | None
    count: int

    @property
    def low(self) -> float | None:
        """Lower end of the interval."""
        return None if self.half_width is None else self.mean - self.half_width

    @property
    def high(self) -> float | None:
        """Upper end of the interval."""
        return None if self.half_width is None else self.mean + self.half_width


def central_prob(t: float, degrees: int) -> float:
    """P(|T| <= t) of Student's t with a whole number of degrees of freedom.

    With theta = atan(t / sqrt(degrees)), a finite sum of powers of cos(theta): Abramowitz and
    Stegun, Handbook of Mathematical Functions (1964), equations 26.7.3 and 26.7.4.
    """
    theta = math.atan(t / math.sqrt(degrees))
    odd = degrees % 2 == 1
    term = math.cos(theta) if odd else 1.0
    total = term if degrees > 1 else 0.0
    for k in range(3 if odd else 2, degrees - 1, 2):
        term *= (k - 1) / k * math.cos(theta) ** 2
        total += term
    if odd:
        return 2.0 / math.pi * (theta + math.sin(theta) * total)
    return math.sin(theta) * total


def t_quantile(degrees: int, confidence: float = CONFIDENCE) -> float:
    """The t with P(|T| <= t) = confidence, by bisection.

    Raises:
        ValueError: there are no degrees of freedom.
    """
    if degrees < 1:
        raise ValueError(f"{degrees} degrees of freedom; an interval needs at least 1")
    low, high = 0.0, 1.0
    while central_prob(high, degrees) < confidence:
        high *= 2.0
    while high - low > 1e-12 * high:
        middle = (low + high) / 2.0
        if central_prob(middle, degrees) < confidence:
            low = middle
        else:
            high = middle
    return high


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and 95 % interval: mean +- t(n - 1) s / sqrt(n), s the sample standard deviation.

    Assumes that seeds are independent and their values near normal.
    """
    mean = statistics.fmean(values)
    n = len(values)
    if n == 1:
        return Estimate(mean, None, 1)
    return Estimate(mean, t_quantile(n - 1) * statistics.stdev(values) / math.sqrt(n), n)


def differences(values: Mapping[int, float], reference: Mapping[int, float]) -> dict[int, float]:
    """What each value has above the reference, for every seed that both have."""
    return {seed: values[seed] - reference[seed] for seed in values if seed in reference}


def reductions(values: Mapping[int, float], reference: Mapping[int, float]) -> dict[int, float]:
    """1 - value / reference for every seed that both have; negative where the value is larger.

    A reference of 0 leaves nothing to reduce: its seed is left out.
    """
    return {
        seed: 1.0 - values[seed] / reference[seed] for seed in values if reference.get(seed, 0.0)
    }


def bits_to_reach(curve: Curve, accuracy: float) -> float | None:
    """Bits at which a run first reaches `accuracy`, linear between evaluations; None if never."""
    before: tuple[float, float] | None = None
    for bits, reached in curve:
        if reached >= accuracy:
            if before is None:
                return bits
            share = (accuracy - before[1]) / (reached - before[1])
            return before[0] + share * (bits - before[0])
        before = (bits, reached)
    return None


def accuracy_at(curve: Curve, bits: float) -> float | None:
    """Accuracy when `bits` were on air, linear between evaluations.

    None where the run had not begun to be evaluated, or ended with fewer bits.
    """
    spent = [place for place, point in enumerate(curve) if point[0] <= bits]
    if not spent:
        return None
    place = spent[-1]
    here = curve[place]
    if place + 1 == len(curve):
        return here[1] if here[0] == bits else None
    there = curve[place + 1]
    return here[1] + (bits - here[0]) / (there[0] - here[0]) * (there[1] - here[1])
