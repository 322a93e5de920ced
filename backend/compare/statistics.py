"""Paired tests over seeds: Student's t, exact signed ranks, effect size, and Holm's correction."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meshtune.engine.reproduce.statistics import Estimate, central_prob, differences, estimate

FEWEST = 2  # seeds; one difference has no spread
SAME = 1e-12  # a spread below this share of the mean is rounding, not spread


@dataclass(frozen=True)
class Paired:
    """What the differences of common seeds say; without a test `why_not` has the reason."""

    seeds: tuple[int, ...]
    difference: Estimate | None = None
    effect: float | None = None
    p_t: float | None = None
    p_wilcoxon: float | None = None
    why_not: str | None = None


def paired(values: Mapping[int, float], reference: Mapping[int, float]) -> Paired:
    """Compare two groups by the seeds that both have.

    d_z = mean / standard deviation of the differences (Cohen, Statistical Power Analysis, 1988,
    section 2.3.5); it overstates the effect for few seeds.
    """
    apart = differences(values, reference)
    seeds = tuple(sorted(apart))
    deltas = [apart[seed] for seed in seeds]
    if not deltas:
        return Paired(seeds, why_not="no seed is completed in both groups; 2 are needed")
    found = estimate(deltas)
    if len(deltas) < FEWEST:
        return Paired(seeds, found, why_not="only 1 common seed is completed; 2 are needed")
    spread = statistics.stdev(deltas)
    if spread <= SAME * max(1.0, abs(found.mean)):
        same = "both groups are equal" if found.mean == 0 else "the difference is the same"
        return Paired(seeds, found, why_not=f"{same} for every seed, so there is no spread to test")
    effect = found.mean / spread
    t = effect * math.sqrt(len(deltas))
    p_t = max(0.0, 1.0 - central_prob(abs(t), len(deltas) - 1))
    return Paired(seeds, found, effect, p_t, signed_rank_p(deltas))


def signed_rank_p(deltas: Sequence[float]) -> float | None:
    """Two-sided p of Wilcoxon's signed-rank test by counting all 2^n signs; None if all are 0.

    Differences of 0 are left out, equal sizes share their mean rank; so it is exact with ties, too.
    Source: Wilcoxon, Individual comparisons by ranking methods, Biometrics Bulletin 1 (1945).
    """
    sizes = [round(delta, 12) for delta in deltas if round(delta, 12) != 0]
    if not sizes:
        return None
    ranks = _double_ranks([abs(size) for size in sizes])
    positive = sum(rank for rank, size in zip(ranks, sizes, strict=True) if size > 0)
    whole = sum(ranks)
    ways = [1] + [0] * whole  # how many choices of signs give this sum of positive ranks
    for rank in ranks:
        for total in range(whole, rank - 1, -1):
            ways[total] += ways[total - rank]
    rare = min(positive, whole - positive)
    return min(1.0, 2.0 * sum(ways[: rare + 1]) / 2.0 ** len(ranks))


def _double_ranks(sizes: Sequence[float]) -> list[int]:
    """Twice the rank of each size, so that the mean rank of equal ones is whole."""
    ordered = sorted(sizes)
    first = {size: ordered.index(size) + 1 for size in set(sizes)}
    return [2 * first[size] + ordered.count(size) - 1 for size in sizes]


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """The p values corrected for being several; missing ones stay and do not count.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6
    (1979).
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    floor = 0.0
    for order, (p, place) in enumerate(known):
        floor = max(floor, min(1.0, (len(known) - order) * p))
        corrected[place] = floor
    return corrected
