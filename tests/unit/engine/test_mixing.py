"""How fast weights mix, on meshes whose eigenvalues are known."""

import math

import numpy as np
import pytest

from engine.rng import stream
from engine.topology import metropolis_weights
from engine.topology.mixing import spectral_gap


def ring(n: int) -> np.ndarray:
    links = np.zeros((n, n), dtype=bool)
    for i in range(n):
        links[i, (i + 1) % n] = links[(i + 1) % n, i] = True
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
