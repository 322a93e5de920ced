"""Laws of the mixing weights, for any pattern of links that worked."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.rng import stream
from engine.topology import metropolis_weights


@st.composite
def heards(draw: st.DrawFn) -> np.ndarray:
    devices = draw(st.integers(1, 24))
    rng = stream(draw(st.integers(0, 2**31)), "heard")
    return rng.random((devices, devices)) < draw(st.floats(0.0, 1.0))


@given(heards())
def test_weights_are_symmetric_and_doubly_stochastic(heard: np.ndarray) -> None:
    """T10 of the reference algorithm."""
    weights = metropolis_weights(heard)
    assert (weights == weights.T).all()
    assert (weights >= 0.0).all()
    np.testing.assert_allclose(weights.sum(axis=0), 1.0, rtol=0, atol=1e-14)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=0, atol=1e-14)


@given(heards())
def test_only_links_that_worked_both_ways_have_weight(heard: np.ndarray) -> None:
    weights = metropolis_weights(heard)
    off = ~np.eye(len(heard), dtype=bool)
    assert ((weights > 0.0)[off] == (heard & heard.T)[off]).all()


@given(heards(), st.integers(0, 2**31))
def test_mixing_keeps_the_mean_and_never_widens_the_spread(heard: np.ndarray, seed: int) -> None:
    values = stream(seed, "values").standard_normal((len(heard), 5))
    mixed = metropolis_weights(heard) @ values
    np.testing.assert_allclose(mixed.mean(axis=0), values.mean(axis=0), rtol=0, atol=1e-13)
    assert (mixed.var(axis=0) <= values.var(axis=0) + 1e-13).all()
