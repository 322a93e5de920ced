"""Laws of the mixing weights, for any pattern of links that worked."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, strategies as st

from meshtune.engine.rng import stream
from meshtune.engine.weights import (
    MixingRule,
    data_weights,
    lazy,
    max_degree_weights,
    metropolis_weights,
    push_weights,
    spectral_gap,
    uniform_weights,
)

SYMMETRIC = (metropolis_weights, max_degree_weights)
RULES = ("metropolis", "max_degree", "uniform", "data", "push_sum")
SHARES = st.floats(0.0, 0.99)
symmetric = pytest.mark.parametrize("rule", SYMMETRIC, ids=lambda rule: rule.__name__)


@st.composite
def heards(draw: st.DrawFn) -> np.ndarray:
    """Any pattern of losses, nobody heard and one device alone included."""
    devices = draw(st.integers(1, 24))
    rng = stream(draw(st.integers(0, 2**31)), "heard")
    return rng.random((devices, devices)) < draw(st.floats(0.0, 1.0))


def samples_of(heard: np.ndarray) -> np.ndarray:
    return stream(5, "samples", len(heard)).integers(1, 2000, size=len(heard))


def weights_of(rule: str, share: float, heard: np.ndarray) -> np.ndarray:
    samples = tuple(int(s) for s in samples_of(heard))
    return MixingRule(rule, share, samples).weights(heard)


def require_sums_of_one(weights: np.ndarray, axis: int) -> None:
    np.testing.assert_allclose(weights.sum(axis=axis), 1.0, rtol=0, atol=1e-14)


@symmetric
@given(heard=heards())
def test_weights_are_symmetric_and_doubly_stochastic(rule: object, heard: np.ndarray) -> None:
    """T10 of the reference algorithm."""
    assert callable(rule)
    weights = rule(heard)
    assert (weights == weights.T).all()
    assert (weights >= 0.0).all()
    require_sums_of_one(weights, axis=0)
    require_sums_of_one(weights, axis=1)


@symmetric
@given(heard=heards())
def test_only_links_that_worked_both_ways_have_weight(rule: object, heard: np.ndarray) -> None:
    assert callable(rule)
    off = ~np.eye(len(heard), dtype=bool)
    assert ((rule(heard) > 0.0)[off] == (heard & heard.T)[off]).all()


@symmetric
@given(heard=heards(), seed=st.integers(0, 2**31))
def test_mixing_keeps_the_mean_and_never_widens_the_spread(
    rule: object, heard: np.ndarray, seed: int
) -> None:
    assert callable(rule)
    values = stream(seed, "values").standard_normal((len(heard), 5))
    mixed = rule(heard) @ values
    np.testing.assert_allclose(mixed.mean(axis=0), values.mean(axis=0), rtol=0, atol=1e-13)
    assert (mixed.var(axis=0) <= values.var(axis=0) + 1e-13).all()


@given(heards())
def test_max_degree_gives_no_link_more_than_metropolis_and_all_links_alike(
    heard: np.ndarray,
) -> None:
    off = ~np.eye(len(heard), dtype=bool)
    weights = max_degree_weights(heard)[off]
    assert (weights <= metropolis_weights(heard)[off]).all()
    assert len(set(weights[weights > 0.0])) <= 1


@given(heards())
def test_uniform_and_data_share_what_was_heard(heard: np.ndarray) -> None:
    """Against one row at a time."""
    samples = samples_of(heard)
    uniform, data = uniform_weights(heard), data_weights(heard, samples)
    for i in range(len(heard)):
        among = [j for j in range(len(heard)) if j == i or heard[i, j]]
        total = sum(int(samples[j]) for j in among)
        for j in range(len(heard)):
            inside = j in among
            assert uniform[i, j] == (1 / len(among) if inside else 0.0)
            assert data[i, j] == (int(samples[j]) / total if inside else 0.0)


@given(heards())
def test_push_shares_what_was_sent(heard: np.ndarray) -> None:
    """Against one column at a time."""
    weights = push_weights(heard)
    for j in range(len(heard)):
        among = [i for i in range(len(heard)) if i == j or heard[i, j]]
        for i in range(len(heard)):
            assert weights[i, j] == (1 / len(among) if i in among else 0.0)


@given(heards(), st.integers(1, 1000))
def test_only_the_proportions_of_samples_matter(heard: np.ndarray, times: int) -> None:
    samples = samples_of(heard)
    np.testing.assert_allclose(
        data_weights(heard, samples * times), data_weights(heard, samples), rtol=1e-14
    )
    equal = np.full(len(heard), times, dtype=np.int64)
    np.testing.assert_allclose(data_weights(heard, equal), uniform_weights(heard), rtol=1e-14)


@given(st.sampled_from(RULES), SHARES, heards())
def test_every_rule_has_the_sums_that_it_claims_however_lazy(
    rule: str, share: float, heard: np.ndarray
) -> None:
    weights = weights_of(rule, share, heard)
    assert (weights >= 0.0).all()
    if rule != "push_sum":
        require_sums_of_one(weights, axis=1)
    if rule in ("metropolis", "max_degree", "push_sum"):
        require_sums_of_one(weights, axis=0)
    if rule in ("metropolis", "max_degree"):
        assert (weights == weights.T).all()


@given(st.sampled_from(RULES), SHARES, heards())
def test_no_rule_gives_weight_to_silence_or_forgets_its_own_value(
    rule: str, share: float, heard: np.ndarray
) -> None:
    weights = weights_of(rule, share, heard)
    silent = ~heard & ~np.eye(len(heard), dtype=bool)
    assert (weights[silent] == 0.0).all()
    # A share of the own value stays; metropolis may leave none but rounding on top of it.
    assert (np.diagonal(weights) >= share - 1e-15).all()
    if rule != "metropolis":
        assert (np.diagonal(weights) > 0.0).all()


@given(st.sampled_from(RULES), heards())
def test_laziness_zero_changes_no_bit_and_a_round_of_silence_no_value(
    rule: str, heard: np.ndarray
) -> None:
    assert (lazy(weights_of(rule, 0.0, heard), 0.0) == weights_of(rule, 0.0, heard)).all()
    nobody = np.zeros_like(heard)
    assert (weights_of(rule, 0.3, nobody) == np.eye(len(heard))).all()


@given(SHARES, heards())
def test_laziness_is_the_mean_of_mixing_and_standing_still(share: float, heard: np.ndarray) -> None:
    values = stream(1, "values").standard_normal((len(heard), 3))
    moved = uniform_weights(heard) @ values
    found = lazy(uniform_weights(heard), share) @ values
    np.testing.assert_allclose(found, (1 - share) * moved + share * values, rtol=0, atol=1e-14)


@given(st.integers(1, 24), st.sets(st.integers(1, 23)))
def test_in_a_regular_pattern_all_rules_but_data_agree(devices: int, steps: set[int]) -> None:
    """Everybody hears those some steps away, and is heard by them."""
    index = np.arange(devices)
    away = (index[:, None] - index[None, :]) % devices
    heard = np.isin(away, [s % devices for s in steps] + [-s % devices for s in steps])
    expected = metropolis_weights(heard)
    for rule in ("max_degree", "uniform", "push_sum"):
        np.testing.assert_allclose(weights_of(rule, 0.0, heard), expected, rtol=0, atol=1e-14)


@given(st.sampled_from(RULES), heards(), st.integers(0, 2**31))
def test_the_gap_is_a_share_and_knows_no_names_and_no_direction(
    rule: str, heard: np.ndarray, seed: int
) -> None:
    weights = weights_of(rule, 0.0, heard)
    order = stream(seed, "order").permutation(len(heard))
    gap = spectral_gap(weights)
    assert 0.0 <= gap <= 1.0
    assert spectral_gap(weights[np.ix_(order, order)]) == pytest.approx(gap, abs=1e-6)
    assert spectral_gap(weights.T) == pytest.approx(gap, abs=1e-6)


@given(heards(), SHARES)
def test_the_gap_is_zero_where_and_only_where_two_parts_listen_to_themselves_alone(
    heard: np.ndarray, share: float
) -> None:
    """Those parts never agree. Whoever keeps a share of its own value is not periodic."""
    weights = lazy(uniform_weights(heard), share)
    senders = nx.from_numpy_array(heard, create_using=nx.DiGraph)
    closed = sum(1 for _ in nx.attracting_components(senders))
    assert (spectral_gap(weights) < 1e-9) == (closed > 1)
