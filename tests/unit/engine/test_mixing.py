"""How fast weights mix, where they lead to, and how many samples stand behind a device."""

import math
from typing import Any

import numpy as np
import pytest

from meshtune.engine import config as c
from meshtune.engine.config import with_values
from meshtune.engine.costs import mixing_rule
from meshtune.engine.methods.lora_gossip.config import LoraGossip
from meshtune.engine.rng import stream
from meshtune.engine.shares import samples_per_device
from meshtune.engine.weights import (
    PUSH_BITS,
    MixingRule,
    data_weights,
    max_degree_weights,
    metropolis_weights,
    push_weights,
    spectral_gap,
    uniform_weights,
)
from tests.support.methods import full_mesh, one_way_ring


def ring(n: int) -> np.ndarray:
    links = np.zeros((n, n), dtype=bool)
    for i in range(n):
        links[i, (i + 1) % n] = links[(i + 1) % n, i] = True
    return links


def star(n: int) -> np.ndarray:
    links = np.zeros((n, n), dtype=bool)
    links[0, 1:] = links[1:, 0] = True
    return links


@pytest.mark.parametrize(("n", "gap"), [(5, 0.461), (10, 0.127), (15, 0.058)])
def test_spectral_gap_of_a_ring_is_the_closed_form(n: int, gap: float) -> None:
    found = spectral_gap(metropolis_weights(ring(n)))
    # Eigenvalues of a ring with weights 1/3 are (1 + 2 cos(2 pi k / n)) / 3.
    others = [abs(1 + 2 * math.cos(2 * math.pi * k / n)) / 3 for k in range(1, n)]
    assert found == pytest.approx(1 - max(others))
    assert found == pytest.approx(gap, abs=5e-4)


def test_spectral_gap_is_one_where_one_mixing_suffices_and_zero_where_the_mesh_falls_apart() -> (
    None
):
    everyone = ~np.eye(6, dtype=bool)
    halves = np.kron(np.eye(2, dtype=bool), np.ones((3, 3), dtype=bool))
    assert spectral_gap(metropolis_weights(everyone)) == pytest.approx(1.0)
    assert spectral_gap(np.ones((1, 1))) == 1.0
    assert spectral_gap(metropolis_weights(halves)) == pytest.approx(0.0, abs=1e-12)
    assert spectral_gap(np.array([[0.0, 1.0], [1.0, 0.0]])) == 0.0  # swaps for ever: lambda_n = -1


def test_one_mixing_shrinks_the_distance_to_the_mean_by_the_gap_at_least() -> None:
    weights = metropolis_weights(ring(9))
    values = stream(0, "values").standard_normal((9, 20))
    away = values - values.mean(axis=0)
    norms = np.linalg.norm(weights @ away, axis=0) / np.linalg.norm(away, axis=0)
    assert (norms <= 1 - spectral_gap(weights) + 1e-12).all()


@pytest.mark.parametrize("n", [2, 3, 8, 41])
def test_spectral_gap_of_a_one_way_ring_is_the_closed_form(n: int) -> None:
    # Eigenvalues are (1 + w) / 2 for the n-th roots of unity w, of modulus cos(pi k / n).
    expected = 1 - math.cos(math.pi / n)
    assert spectral_gap(uniform_weights(one_way_ring(n))) == pytest.approx(expected)
    assert spectral_gap(push_weights(one_way_ring(n))) == pytest.approx(expected)


def test_spectral_gap_of_weights_by_data_is_one_on_a_full_mesh() -> None:
    weights = data_weights(full_mesh(4), np.array([1, 5, 7, 3]))
    assert not np.array_equal(weights, weights.T)
    assert spectral_gap(weights) == pytest.approx(1.0)


def test_spectral_gap_of_a_star_that_shares_alike_is_a_half() -> None:
    # By hand: 1, then 1/2 for leaves that differ, then trace - 1 - (n - 2) / 2 = 1/n - 1/2.
    assert spectral_gap(uniform_weights(star(5))) == pytest.approx(0.5)
    assert spectral_gap(push_weights(star(5))) == pytest.approx(0.5)


def test_spectral_gap_of_values_that_go_round_for_ever_is_zero() -> None:
    """All eigenvalues of a cycle have modulus 1, and but one are not near 1."""
    cycle = np.roll(np.eye(7), 1, axis=0)
    assert spectral_gap(cycle) == pytest.approx(0.0, abs=1e-12)


def test_spectral_gap_of_a_one_way_chain_of_pairs_is_a_sixth() -> None:
    """Pairs that hear each other, and one of each a device of the pair before.

    A later pair mixes by [[1/3, 1/3], [1/2, 1/2]], of eigenvalues 5/6 and 0: 5/6 comes 31 times
    and has one eigenvector, so eigenvalues of the whole matrix may come out as large as 0.88.
    """
    heard = np.kron(np.eye(32, dtype=bool), ~np.eye(2, dtype=bool))
    heard[range(2, 64, 2), range(0, 62, 2)] = True
    order = stream(1, "order").permutation(64)
    weights = uniform_weights(heard)[np.ix_(order, order)]
    assert spectral_gap(weights) == pytest.approx(1 / 6, abs=1e-12)


def test_spectral_gap_is_one_where_two_mixings_suffice() -> None:
    """De Bruijn graph of four: W W is the plain mean, W itself has no second eigenvector."""
    weights = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1]]) / 2
    assert np.allclose(weights @ weights, 0.25)
    assert spectral_gap(weights) == pytest.approx(1.0, abs=1e-6)


def test_spectral_gap_is_zero_where_two_devices_listen_to_nobody() -> None:
    """A third hears both: W is in one piece, and still there are two eigenvalues 1."""
    heard = np.zeros((3, 3), dtype=bool)
    heard[2, :2] = True
    assert spectral_gap(uniform_weights(heard)) == pytest.approx(0.0, abs=1e-12)


def test_in_the_long_run_the_distance_to_the_limit_shrinks_by_the_gap_per_round() -> None:
    heard = one_way_ring(6) | one_way_ring(6).T | np.eye(6, k=3, dtype=bool)
    weights = uniform_weights(heard)
    values = stream(0, "values").standard_normal(6)
    spread = [np.ptp(np.linalg.matrix_power(weights, k) @ values) for k in (20, 40)]
    assert (spread[1] / spread[0]) ** (1 / 20) == pytest.approx(1 - spectral_gap(weights), abs=1e-3)


def limit(weights: np.ndarray) -> np.ndarray:
    """How much each device counts in what all agree on in the end."""
    return np.asarray(np.linalg.matrix_power(weights, 4096)[0])


def test_uniform_leads_over_symmetric_links_towards_those_with_many_neighbours() -> None:
    np.testing.assert_allclose(limit(uniform_weights(star(3))), [3 / 7, 2 / 7, 2 / 7])


def test_data_leads_towards_samples_times_the_samples_around() -> None:
    samples = np.array([4, 1, 2])
    np.testing.assert_allclose(limit(data_weights(full_mesh(3), samples)), samples / 7)
    # Star: s_i (s_i + around) = 4 * 7, 1 * 5, 2 * 6.
    np.testing.assert_allclose(limit(data_weights(star(3), samples)), np.array([28, 5, 12]) / 45)


def test_max_degree_weights_by_hand() -> None:
    expected = np.array([[1, 1, 1], [1, 2, 0], [1, 0, 2]]) / 3
    np.testing.assert_allclose(max_degree_weights(star(3)), expected)


def test_weights_by_data_refuse_to_guess_the_samples() -> None:
    with pytest.raises(ValueError, match="number of samples of every device"):
        MixingRule("data")


def test_only_push_sum_adds_bits_to_a_message() -> None:
    rules = ("metropolis", "max_degree", "uniform", "push_sum")
    assert [MixingRule(rule).message_bits for rule in rules] == [0, 0, 0, PUSH_BITS]
    assert MixingRule("data", samples=(1,)).message_bits == 0


def config_with(**changes: Any) -> c.RunConfig:
    named = {name.replace("__", "."): value for name, value in changes.items()}
    return with_values(c.RunConfig(method=LoraGossip()), named)


@pytest.mark.parametrize("rule", ["metropolis", "max_degree", "uniform", "data", "push_sum"])
def test_the_rule_is_that_of_the_config(rule: str) -> None:
    config = config_with(
        mixing__rule=rule, mixing__lazy=0.25, fleet__samples_spread=10, fleet__devices=5
    )
    found = mixing_rule(config)
    assert (found.rule, found.lazy) == (rule, 0.25)
    assert found.samples == samples_per_device(config.fleet, config.seed)
    assert np.diagonal(found.weights(full_mesh(5))).min() >= 0.25


def test_a_config_that_says_nothing_mixes_by_metropolis() -> None:
    heard = ring(8)
    found = mixing_rule(c.RunConfig()).weights(heard)
    assert np.array_equal(found, metropolis_weights(heard))
    assert np.array_equal(MixingRule().weights(heard), found)


def test_without_spread_all_devices_hold_as_many_samples() -> None:
    fleet = c.Fleet(devices=5, train_samples=300)
    assert samples_per_device(fleet, 3) == (300,) * 5


def test_samples_are_a_ladder_of_equal_steps_from_rich_to_poor() -> None:
    fleet = c.Fleet(devices=5, train_samples=1600, samples_spread=16)
    assert sorted(samples_per_device(fleet, 3)) == [100, 200, 400, 800, 1600]


def test_the_lot_deals_the_same_ladder_to_others_under_another_seed() -> None:
    fleet = c.Fleet(devices=12, train_samples=5000, samples_spread=100)
    dealt = {samples_per_device(fleet, seed) for seed in range(20)}
    assert len(dealt) == 20
    assert len({tuple(sorted(samples)) for samples in dealt}) == 1
    assert samples_per_device(fleet, 7) == samples_per_device(fleet, 7)


def test_nobody_is_left_without_a_sample_and_a_device_alone_is_rich() -> None:
    poor = samples_per_device(c.Fleet(devices=6, train_samples=3, samples_spread=1000), 0)
    assert (min(poor), max(poor)) == (1, 3)
    assert samples_per_device(c.Fleet(devices=1, samples_spread=9), 0) == (2000,)
