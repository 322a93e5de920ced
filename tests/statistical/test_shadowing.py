"""Pair fields and line of sight against their laws, over seeds.

Draws of different seeds are independent, so every bound is four standard errors: a false alarm in
16,000 seeds, and these are a few.
"""

import math
from functools import cache

import numpy as np
import pytest

from meshtune.engine.channels.path_loss import (
    InhOffice,
    PathLossModel,
    SidelinkHighway,
    SidelinkUrban,
)
from meshtune.engine.channels.propagation import LargeScale
from meshtune.engine.channels.shadowing import PairField

SEEDS = 1500
FEWER_SEEDS = 400
DECORRELATION_M = 10.0
# A pair 3 m apart, its ends moved, and a pair far away.
PLACES = np.array([[0.0, 0.0], [3.0, 0.0], [400.0, 0.0], [405.0, 0.0], [0.0, 12.0], [400.0, -5.0]])


@cache
def fields() -> np.ndarray:
    """The field between all places, one matrix per seed."""
    return np.stack(
        [PairField.drawn(seed, "test").matrix(PLACES, DECORRELATION_M) for seed in range(SEEDS)]
    )


def correlation(one: tuple[int, int], other: tuple[int, int]) -> float:
    drawn = fields()
    return float(np.mean(drawn[:, one[0], one[1]] * drawn[:, other[0], other[1]]))


@pytest.mark.parametrize("pair", [(0, 0), (0, 1), (0, 2), (2, 4)])
def test_mean_zero_and_variance_one_at_any_distance(pair: tuple[int, int]) -> None:
    drawn = fields()[:, pair[0], pair[1]]
    assert abs(drawn.mean()) < 4.0 / math.sqrt(SEEDS)
    assert abs((drawn**2).mean() - 1.0) < 4.0 * math.sqrt(2.0 / SEEDS)


@pytest.mark.parametrize("pair", [(0, 1), (0, 2)])
def test_the_field_is_gaussian_in_its_tails(pair: tuple[int, int]) -> None:
    drawn = fields()[:, pair[0], pair[1]]
    for bound, share in ((-1.6449, 0.05), (0.0, 0.5), (1.2816, 0.9)):
        error = math.sqrt(share * (1.0 - share) / SEEDS)
        assert abs((drawn < bound).mean() - share) < 4.0 * error


@pytest.mark.parametrize(
    ("one", "other", "moved_m"),
    [
        ((0, 2), (0, 3), 5.0),  # the far end moves by D / 2
        ((0, 2), (4, 2), 12.0),  # the near end moves by 1.2 D
        ((0, 2), (4, 3), 17.0),  # both move: 12 m and 5 m
        ((0, 2), (0, 5), 5.0),  # in any direction
        ((0, 3), (3, 1), 3.0),  # roles exchanged
    ],
)
def test_correlation_falls_by_e_per_decorrelation_distance_of_either_end(
    one: tuple[int, int], other: tuple[int, int], moved_m: float
) -> None:
    law = math.exp(-moved_m / DECORRELATION_M)
    # The product of two unit Gaussians of correlation r has variance 1 + r^2.
    bound = 4.0 * math.sqrt((1.0 + law**2) / SEEDS)
    assert abs(correlation(one, other) - law) < bound


@pytest.mark.parametrize(("one", "other"), [((0, 1), (4, 1)), ((0, 1), (1, 4)), ((0, 0), (0, 1))])
def test_close_ends_correlate_as_the_symmetric_sum_does(
    one: tuple[int, int], other: tuple[int, int]
) -> None:
    """Ends nearer than D to each other: both ways of pairing them up count."""

    def kernel(i: int, j: int) -> float:
        return math.exp(-math.dist(PLACES[i], PLACES[j]) / DECORRELATION_M)

    (p, q), (r, s) = one, other
    straight, crossed = kernel(p, r) * kernel(q, s), kernel(p, s) * kernel(q, r)
    spread = math.sqrt((1.0 + kernel(p, q) ** 2) * (1.0 + kernel(r, s) ** 2))
    law = (straight + crossed) / spread
    assert abs(correlation(one, other) - law) < 4.0 * math.sqrt((1.0 + law**2) / SEEDS)


def test_pairs_far_from_each_other_are_independent() -> None:
    assert abs(correlation((0, 1), (2, 3))) < 4.0 / math.sqrt(SEEDS)


def test_links_of_one_device_to_far_apart_neighbours_are_independent() -> None:
    assert abs(correlation((1, 4), (1, 2))) < 4.0 / math.sqrt(SEEDS)


@pytest.mark.parametrize(
    ("law", "apart_m"),
    [
        (SidelinkUrban(3.5e9), 30.0),
        (SidelinkUrban(3.5e9), 150.0),
        (SidelinkHighway(5.9e9), 400.0),
        (InhOffice(3.5e9, "mixed"), 4.0),
    ],
)
def test_pairs_see_each_other_as_often_as_the_law_says(law: PathLossModel, apart_m: float) -> None:
    where = np.array([[0.0, 0.0], [apart_m, 0.0]])
    wanted = float(law.los_prob(np.array([apart_m]))[0])
    in_sight = 10.0 ** (-0.1 * law.loss_db(np.array([apart_m]), np.array([True]))[0])
    seen = sum(
        math.isclose(
            LargeScale(law, PairField.drawn(seed, "los"), None).gain(where, 0)[0, 1], in_sight
        )
        for seed in range(FEWER_SEEDS)
    )
    error = math.sqrt(wanted * (1.0 - wanted) / FEWER_SEEDS)
    assert abs(seen / FEWER_SEEDS - wanted) < 4.0 * error


def test_within_one_seed_many_pairs_see_each_other_as_often_as_the_law_says() -> None:
    """Pairs far from each other, all 60 m apart: a fleet meets the average, not one draw."""
    law = SidelinkUrban(3.5e9)
    rng = np.random.default_rng(0)
    pairs, apart_m = 1000, 60.0
    start = rng.uniform(0.0, 50_000.0, (pairs, 2))
    angle = rng.uniform(0.0, 2.0 * math.pi, pairs)
    end = start + apart_m * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    where = np.concatenate([start, end])
    numbers = np.arange(pairs)
    built = LargeScale(law, PairField.drawn(1, "los"), None)
    gain = built.link_gain(where, numbers, numbers + pairs, 0)
    wanted = float(law.los_prob(np.array([apart_m]))[0])
    out_of_sight_db = law.loss_db(np.array([apart_m]), np.array([False]))[0]
    seen = (-10.0 * np.log10(gain) < out_of_sight_db - 1.0).mean()
    assert abs(seen - wanted) < 4.0 * math.sqrt(wanted * (1.0 - wanted) / pairs)


def test_shadowing_has_the_scatter_of_the_state() -> None:
    law = SidelinkUrban(3.5e9)
    where = np.array([[0.0, 0.0], [60.0, 0.0]])
    at_m = np.array([60.0])
    excess_db: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(FEWER_SEEDS):
        sight = PairField.drawn(seed, "los")
        plain = LargeScale(law, sight, None).gain(where, 0)[0, 1]
        shadowed = LargeScale(law, sight, PairField.drawn(seed, "shadowing")).gain(where, 0)[0, 1]
        los = math.isclose(plain, 10.0 ** (-0.1 * law.loss_db(at_m, np.array([True]))[0]))
        excess_db[los].append(10.0 * math.log10(shadowed / plain))
    for los, sigma_db in ((True, 3.0), (False, 4.0)):
        drawn = np.array(excess_db[los])
        assert abs(drawn.mean()) < 4.0 * sigma_db / math.sqrt(len(drawn))
        error = 4.0 * math.sqrt(2.0 / len(drawn))
        assert abs((drawn**2).mean() / sigma_db**2 - 1.0) < error
