"""Intervals and curves against tables and sums by hand."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, strategies as st

from meshtune.engine.reproduce.statistics import (
    Estimate,
    accuracy_at,
    bits_to_reach,
    central_prob,
    differences,
    estimate,
    reductions,
    t_quantile,
)


@pytest.mark.parametrize(
    ("degrees", "printed"),
    [
        (1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (6, 2.447), (9, 2.262),
        (10, 2.228), (30, 2.042), (120, 1.980), (1001, 1.962),
    ],
)  # fmt: skip
def test_the_quantile_is_that_of_the_printed_tables(degrees: int, printed: float) -> None:
    assert t_quantile(degrees) == pytest.approx(printed, abs=5e-4)


@pytest.mark.parametrize(("degrees", "printed"), [(1, 63.657), (4, 4.604), (10, 3.169)])
def test_the_quantile_at_another_confidence(degrees: int, printed: float) -> None:
    assert t_quantile(degrees, 0.99) == pytest.approx(printed, abs=5e-4)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 8])
@pytest.mark.parametrize("t", [0.3, 1.0, 2.5])
def test_the_probability_is_the_area_under_the_density(degrees: int, t: float) -> None:
    x = np.linspace(-t, t, 20_001)
    norm = math.gamma((degrees + 1) / 2) / (math.sqrt(degrees * math.pi) * math.gamma(degrees / 2))
    area = np.trapezoid(norm * (1 + x**2 / degrees) ** (-(degrees + 1) / 2), x)
    assert central_prob(t, degrees) == pytest.approx(area, abs=1e-8)


def test_an_interval_needs_a_degree_of_freedom() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        t_quantile(0)


def test_mean_and_interval_by_hand() -> None:
    """Values 1, 2, 3: s = 1, t(2) = 4.303, half width 4.303 / sqrt(3)."""
    found = estimate([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.half_width == pytest.approx(4.3027 / math.sqrt(3), abs=1e-4)
    assert (found.low, found.high) == pytest.approx((2 - 2.4842, 2 + 2.4842), abs=1e-4)


def test_one_seed_has_no_interval() -> None:
    found = estimate([0.4])
    assert found == Estimate(0.4, None, 1)
    assert found.low is None
    assert found.high is None


def test_the_interval_covers_the_truth_in_95_of_100_campaigns() -> None:
    rng = np.random.default_rng(0)
    campaigns = 4000
    covered = 0
    for values in rng.normal(0.6, 0.05, size=(campaigns, 5)):
        found = estimate(values.tolist())
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.6 <= found.high
    # 4 binomial standard errors
    assert abs(covered / campaigns - 0.95) < 4 * math.sqrt(0.95 * 0.05 / campaigns)


def test_pairing_takes_out_what_the_seeds_share() -> None:
    hard_or_easy = {0: 0.2, 1: 0.5, 2: 0.8}
    better = {seed: value + 0.05 + 0.001 * seed for seed, value in hard_or_easy.items()}
    gain = differences(better, hard_or_easy)
    assert statistics.fmean(gain.values()) == pytest.approx(0.051)
    paired = estimate(list(gain.values()))
    unpaired = estimate(list(better.values()))
    assert paired.half_width is not None
    assert unpaired.half_width is not None
    assert paired.half_width < 0.01 * unpaired.half_width


def test_a_pair_needs_both_its_seeds() -> None:
    assert differences({0: 1.0, 1: 2.0}, {1: 0.5, 2: 0.5}) == {1: 1.5}
    assert reductions({0: 27.0, 1: 30.0, 2: 1.0}, {0: 100.0, 1: 0.0}) == {0: pytest.approx(0.73)}


CURVE = [(0.0, 0.1), (100.0, 0.3), (200.0, 0.2), (300.0, 0.6)]


@pytest.mark.parametrize(
    ("accuracy", "bits"),
    [(0.05, 0.0), (0.1, 0.0), (0.2, 50.0), (0.3, 100.0), (0.45, 262.5), (0.6, 300.0), (0.61, None)],
)
def test_bits_to_an_accuracy_by_hand(accuracy: float, bits: float | None) -> None:
    found = bits_to_reach(CURVE, accuracy)
    assert found == (None if bits is None else pytest.approx(bits))


@pytest.mark.parametrize(
    ("bits", "accuracy"),
    [
        (-1.0, None),
        (0.0, 0.1),
        (25.0, 0.15),
        (100.0, 0.3),
        (150.0, 0.25),
        (300.0, 0.6),
        (301.0, None),
    ],
)
def test_accuracy_at_bits_by_hand(bits: float, accuracy: float | None) -> None:
    found = accuracy_at(CURVE, bits)
    assert found == (None if accuracy is None else pytest.approx(accuracy))


def test_a_run_that_sends_nothing_has_its_last_accuracy_at_no_bits() -> None:
    silent = [(0.0, 0.1), (0.0, 0.4), (0.0, 0.5)]
    assert accuracy_at(silent, 0.0) == 0.5
    assert accuracy_at(silent, 1.0) is None
    assert bits_to_reach(silent, 0.45) == 0.0


@given(
    steps=st.lists(st.tuples(st.floats(1.0, 1e6), st.floats(0.001, 0.1)), min_size=2, max_size=8),
    share=st.floats(0.0, 1.0),
)
def test_on_a_rising_curve_the_two_readings_are_inverse(
    steps: list[tuple[float, float]], share: float
) -> None:
    curve = list(
        zip(np.cumsum([s[0] for s in steps]), np.cumsum([s[1] for s in steps]), strict=True)
    )
    bits = curve[0][0] + share * (curve[-1][0] - curve[0][0])
    reached = accuracy_at(curve, bits)
    assert reached is not None
    assert bits_to_reach(curve, reached) == pytest.approx(bits, rel=1e-6)
