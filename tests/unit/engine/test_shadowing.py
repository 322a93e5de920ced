"""Pair fields against their definition, and what large-scale propagation must keep."""

import math
from typing import get_args

import numpy as np
import pytest
from scipy.special import ndtr

from meshtune.engine import config as c
from meshtune.engine.channels.path_loss import SidelinkUrban, free_space_gain
from meshtune.engine.channels.propagation import (
    FreeSpace,
    LargeScale,
    Propagation,
    build_propagation,
)
from meshtune.engine.channels.shadowing import WAVES, PairField
from meshtune.engine.geometry import distances_m
from meshtune.engine.rng import stream

CARRIER_HZ = 3.5e9
KINDS = [kind for kind in get_args(get_args(c.PathLoss)[0]) if kind is not c.GainTable]


def places(devices: int, side_m: float = 200.0, seed: int = 0) -> np.ndarray:
    return stream(seed, "places").uniform(0.0, side_m, (devices, 2))


def all_pairs(devices: int) -> tuple[np.ndarray, np.ndarray]:
    receivers, senders = np.nonzero(~np.eye(devices, dtype=bool))
    return receivers, senders


def slow_field(field: PairField, p: np.ndarray, q: np.ndarray, decorrelation_m: float) -> float:
    """The definition, term by term."""

    def one_way(first: np.ndarray, second: np.ndarray) -> float:
        total = 0.0
        for m in range(len(field.waves)):
            after = (m + 1) % len(field.waves)
            total += math.cos(
                field.waves[m] @ first / decorrelation_m
                + field.waves[after] @ second / decorrelation_m
                + field.phases[m]
                + field.phases[after]
            )
        return math.sqrt(2.0 / len(field.waves)) * total

    apart = math.exp(-2.0 * math.dist(p, q) / decorrelation_m)
    return (one_way(p, q) + one_way(q, p)) / math.sqrt(2.0 + 2.0 * apart)


def test_the_field_is_the_sum_of_its_waves() -> None:
    field = PairField.drawn(3, "shadowing")
    where = places(5)
    fast = field.matrix(where, 13.0)
    for i, j in np.ndindex(5, 5):
        slow = slow_field(field, where[i], where[j], 13.0)
        assert fast[i, j] == pytest.approx(slow, abs=1e-10)


@pytest.mark.parametrize("links", [0, 1, 700])
def test_links_have_the_numbers_of_the_matrix(links: int) -> None:
    field = PairField.drawn(4, "los")
    where = places(40)
    ends = stream(1, "ends").integers(0, 40, (2, links))
    one = field.links(where, (ends[0], ends[1]), 10.0)
    np.testing.assert_allclose(one, field.matrix(where, 10.0)[ends[0], ends[1]], atol=1e-12)


def test_a_field_scales_with_its_decorrelation_distance() -> None:
    field, where = PairField.drawn(5, "shadowing"), places(8)
    np.testing.assert_allclose(
        field.matrix(where, 10.0), field.matrix(2.5 * where, 25.0), atol=1e-9
    )


def test_fields_of_other_names_and_seeds_are_others() -> None:
    draws = [PairField.drawn(*of).phases for of in ((1, "los"), (1, "shadowing"), (2, "los"))]
    assert len({tuple(phases) for phases in draws}) == 3
    assert np.array_equal(draws[0], PairField.drawn(1, "los").phases)


def test_wave_lengths_follow_the_spectrum_of_the_kernel() -> None:
    """F(k) = 1 - (1 + k^2)^(-1/2): half of all waves below sqrt(3), a tenth below 0.4843."""
    radius = np.concatenate([np.hypot(*PairField.drawn(seed, "los").waves.T) for seed in range(40)])
    for bound, share in ((math.sqrt(3.0), 0.5), (math.sqrt(1.0 / 0.81 - 1.0), 0.1)):
        error = math.sqrt(share * (1.0 - share) / (40 * WAVES))
        assert abs((radius < bound).mean() - share) < 4.0 * error


@pytest.mark.parametrize("shadowing", ["model", "none"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_model_is_a_reciprocal_gain_that_stays(kind: type, shadowing: str) -> None:
    propagation = build_propagation(kind(), CARRIER_HZ, shadowing, 7)  # type: ignore[arg-type]
    assert isinstance(propagation, Propagation)
    where = places(12)
    gain = propagation.gain(where, 0)
    assert np.array_equal(gain, gain.T)
    assert np.isfinite(gain).all()
    assert ((gain > 0.0) & (gain <= 1.0)).all()
    assert np.array_equal(gain, propagation.gain(where, 9))


@pytest.mark.parametrize("kind", KINDS)
def test_gains_of_links_are_those_of_the_matrix_and_reciprocal(kind: type) -> None:
    propagation = build_propagation(kind(), CARRIER_HZ, "model", 7)
    where = places(30)
    receivers, senders = all_pairs(30)
    there = propagation.link_gain(where, receivers, senders, 0)
    back = propagation.link_gain(where, senders, receivers, 0)
    np.testing.assert_allclose(there, propagation.gain(where, 0)[receivers, senders], rtol=1e-11)
    assert np.array_equal(there, back)
    some = stream(0, "some").permutation(len(receivers))[:50]
    few = propagation.link_gain(where, receivers[some], senders[some], 0)
    np.testing.assert_allclose(few, there[some], rtol=1e-11)


def test_a_device_finds_its_gains_again_when_it_comes_back() -> None:
    propagation = build_propagation(c.SidelinkUrban(), CARRIER_HZ, "model", 2)
    where = places(6)
    away = where.copy()
    away[2] += 50.0
    before, moved = propagation.gain(where, 0), propagation.gain(away, 1)
    others = np.delete(np.arange(6), 2)
    np.testing.assert_allclose(
        moved[np.ix_(others, others)], before[np.ix_(others, others)], rtol=1e-11
    )
    assert (moved[2, others] != before[2, others]).all()
    assert np.array_equal(propagation.gain(where, 2), before)


def test_a_small_step_changes_shadowing_less_than_a_large_one() -> None:
    propagation = build_propagation(c.LogDistance(), CARRIER_HZ, "model", 2)
    where, pairs = places(40), all_pairs(40)

    def change_db(step_m: float) -> float:
        # All go the same way, so that distances stay.
        moved = propagation.gain(where + step_m, 0) / propagation.gain(where, 0)
        return float((10.0 * np.log10(moved))[pairs].std())

    small, middle, large = change_db(0.5), change_db(5.0), change_db(500.0)
    assert 0.0 < small < middle < large
    # Far away all is new: sigma sqrt(2) = 8.5 dB. Both ends 0.7 m on, D = 20 m: 2.2 dB.
    assert large == pytest.approx(8.5, rel=0.2)
    assert small == pytest.approx(2.2, rel=0.4)


def test_the_gain_is_loss_plus_shadowing_of_the_state_that_the_field_decides() -> None:
    """The whole law at one pair, in plain arithmetic, for states of different decorrelation."""
    built = build_propagation(c.UmiStreetCanyon(), CARRIER_HZ, "model", 11)
    assert isinstance(built, LargeScale)
    assert built.shadowing is not None
    where = places(12, 150.0)
    gain = built.gain(where, 0)
    states = set()
    for i, j in zip(*np.triu_indices(12, 1), strict=True):
        apart_m = np.array([math.dist(where[i], where[j])])
        sight = slow_field(built.sight, where[i], where[j], 10.0)
        los = bool(ndtr(sight) < built.law.los_prob(apart_m)[0])
        decorrelation_m, sigma_db = (10.0, 4.0) if los else (13.0, 7.82)
        shadow_db = sigma_db * slow_field(built.shadowing, where[i], where[j], decorrelation_m)
        loss_db = built.law.loss_db(apart_m, np.array([los]))[0] + shadow_db
        assert 10.0 * math.log10(gain[i, j]) == pytest.approx(-loss_db, abs=1e-9)
        states.add(los)
    assert states == {True, False}


def test_without_shadowing_the_gain_is_the_loss_of_one_of_the_two_states() -> None:
    law = SidelinkUrban(CARRIER_HZ)
    gain = build_propagation(c.SidelinkUrban(), CARRIER_HZ, "none", 5).gain(places(20), 0)
    apart_m = distances_m(places(20))
    los_db, nlos_db = (law.loss_db(apart_m, np.full((20, 20), los)) for los in (True, False))
    loss_db = -10.0 * np.log10(gain)
    in_sight, out = np.isclose(loss_db, los_db), np.isclose(loss_db, nlos_db)
    assert (in_sight | out).all()
    assert (in_sight & ~out).any()
    assert (out & ~in_sight).any()


@pytest.mark.parametrize("shadowing", ["model", "none"])
def test_sight_and_shadowing_are_drawn_from_streams_of_their_own(shadowing: str) -> None:
    """So that switching shadowing off moves no pair from one state to the other."""
    built = build_propagation(c.InhOffice(), CARRIER_HZ, shadowing, 5)  # type: ignore[arg-type]
    assert isinstance(built, LargeScale)
    assert np.array_equal(built.sight.waves, PairField.drawn(5, "los").waves)
    if shadowing == "none":
        assert built.shadowing is None
    else:
        assert built.shadowing is not None
        assert np.array_equal(built.shadowing.waves, PairField.drawn(5, "shadowing").waves)


def test_free_space_keeps_the_arithmetic_of_the_papers_radio_to_the_bit() -> None:
    where = places(9, 3.0)
    wavelength_m = 299_792_458.0 / CARRIER_HZ
    wanted = np.minimum(
        (wavelength_m / (4.0 * math.pi)) ** 2 / np.maximum(distances_m(where), 1.0) ** 2, 1.0
    )
    propagation = build_propagation(c.FreeSpace(), CARRIER_HZ, "model", 0)
    assert propagation == FreeSpace(CARRIER_HZ)
    assert np.array_equal(propagation.gain(where, 3), wanted)
    receivers, senders = all_pairs(9)
    links = propagation.link_gain(where, receivers, senders, 3)
    assert np.array_equal(links, wanted[receivers, senders])
    assert np.array_equal(free_space_gain(distances_m(where), CARRIER_HZ), wanted)


def test_nobody_receives_more_than_was_sent() -> None:
    """At one metre with the strongest scatter the law would amplify in many seeds."""
    close = np.array([[0.0, 0.0], [0.5, 0.0], [0.0, 0.4]])
    strong = c.LogDistance(shadowing_db=20.0)
    gains = [build_propagation(strong, 1e8, "model", seed).gain(close, 0) for seed in range(40)]
    assert max(gain.max() for gain in gains) == 1.0
