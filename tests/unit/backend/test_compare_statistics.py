"""Paired tests against scipy and against sums by hand."""

import numpy as np
import pytest
from scipy import stats

from meshtune.backend.compare.statistics import holm, paired, signed_rank_p


@pytest.mark.parametrize("n", [2, 3, 5, 10, 20])
def test_t_and_effect_are_those_of_scipy(n: int) -> None:
    rng = np.random.default_rng(n)
    here, there = rng.normal(0.7, 0.05, n), rng.normal(0.65, 0.05, n)
    found = paired(dict(enumerate(here)), dict(enumerate(there)))
    wanted = stats.ttest_rel(here, there)
    assert found.p_t == pytest.approx(wanted.pvalue, rel=1e-6)
    delta = here - there
    assert found.effect == pytest.approx(delta.mean() / delta.std(ddof=1))
    assert found.difference is not None
    interval = wanted.confidence_interval(0.95)
    assert found.difference.low == pytest.approx(interval.low)
    assert found.difference.high == pytest.approx(interval.high)


@pytest.mark.parametrize("n", [1, 2, 5, 12, 25])
def test_signed_ranks_are_counted_as_scipy_counts_them(n: int) -> None:
    deltas = np.random.default_rng(n).normal(0.3, 1.0, n)
    wanted = stats.wilcoxon(deltas, method="exact").pvalue
    assert signed_rank_p(list(deltas)) == pytest.approx(wanted)


def test_ties_share_their_rank_and_zeros_are_left_out() -> None:
    # ranks 1.5, 1.5, 3; all positive: 2 of the 8 choices of signs are as extreme
    assert signed_rank_p([0.1, 0.1, 0.2, 0.0]) == pytest.approx(2 / 8)
    # positive ranks 1.5: sums of at most 1.5 are {}, {1.5}, {1.5}
    assert signed_rank_p([0.1, -0.1, -0.2]) == pytest.approx(2 * 3 / 8)
    assert signed_rank_p([0.0, 0.0]) is None


def test_holm_against_a_sum_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, None]) == [pytest.approx(0.03), 0.06, 0.06, None]
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("here", "there", "words"),
    [
        ({1: 0.5}, {2: 0.5}, "no seed"),
        ({1: 0.5, 3: 0.1}, {1: 0.4, 2: 0.5}, "only 1 common seed"),
        ({1: 0.5, 2: 0.6}, {1: 0.5, 2: 0.6}, "both groups are equal"),
        ({1: 0.5, 2: 0.6}, {1: 0.4, 2: 0.5}, "the difference is the same"),
    ],
)
def test_what_cannot_be_tested_says_why(
    here: dict[int, float], there: dict[int, float], words: str
) -> None:
    found = paired(here, there)
    assert found.why_not is not None
    assert words in found.why_not
    assert found.p_t is None
    assert found.p_wilcoxon is None
