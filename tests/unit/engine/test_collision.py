"""Collision rates: Eq. 19 against its table, its printed form, and drawn masks."""

import math
from itertools import product

import numpy as np
import pytest

from meshtune.engine.rng import stream
from meshtune.engine.topology.collision import (
    collision_rate,
    empirical_collision,
    own_collision,
    own_overlap,
    packed_collision,
    packed_masks,
)

DEVICES = (2, 3, 4, 5, 8, 10, 15)
# Rows of uniform density, columns of devices as above; computed apart from this code.
TABLE = {
    0.05: (0.003, 0.007, 0.014, 0.023, 0.057, 0.086, 0.171),
    0.10: (0.010, 0.028, 0.052, 0.081, 0.187, 0.264, 0.451),
    0.25: (0.062, 0.156, 0.262, 0.367, 0.633, 0.756, 0.920),
    0.50: (0.250, 0.500, 0.688, 0.812, 0.965, 0.989, 1.000),
}


def drawn(densities: np.ndarray, entries: int, *names: str | int) -> np.ndarray:
    """Masks of independent entries, each held with its device's density."""
    draws = stream(0, "collision", *names).random((len(densities), entries))
    return draws < densities[:, None]


def by_outcomes(densities: list[float]) -> float:
    """P[at least two hold an entry], as the sum over all 2^m ways to hold it."""
    total = 0.0
    for held in product((0, 1), repeat=len(densities)):
        if sum(held) >= 2:
            total += math.prod(s if h else 1 - s for s, h in zip(densities, held, strict=True))
    return total


@pytest.mark.parametrize("density", TABLE)
def test_the_rate_is_that_of_the_table(density: float) -> None:
    rates = [float(collision_rate(np.full(n, density))) for n in DEVICES]
    # The table is cut to three digits, half of them up.
    np.testing.assert_allclose(rates, TABLE[density], atol=0.0006)


def test_the_rate_is_the_sum_over_all_ways_to_hold_an_entry() -> None:
    densities = stream(0, "densities").random((7, 3))
    densities[2, 1], densities[4, 1], densities[3, 2] = 0.0, 1.0, 1.0
    expected = [by_outcomes(list(layer)) for layer in densities.T]
    np.testing.assert_allclose(collision_rate(densities), expected, rtol=1e-13)


def test_one_device_never_collides() -> None:
    """T1 of the reference algorithm."""
    for density in (0.0, 0.3, 1.0):
        assert collision_rate(np.array([density])) == 0.0
        assert own_collision(np.array([density])).tolist() == [0.0]


def test_devices_that_hold_everything_collide_everywhere() -> None:
    """T1."""
    for devices in (2, 3, 256):
        assert collision_rate(np.ones(devices)) == 1.0
        assert (own_collision(np.ones(devices)) == 1.0).all()


def test_devices_that_hold_nothing_never_collide() -> None:
    assert collision_rate(np.zeros((256, 2))).tolist() == [0.0, 0.0]
    assert not own_collision(np.zeros((256, 2))).any()


def test_two_devices_collide_by_the_square_of_the_density() -> None:
    """T1."""
    for density in (1e-9, 0.2, 0.7):
        assert collision_rate(np.full(2, density)) == pytest.approx(density**2, rel=1e-12)


def test_the_rate_of_many_sparse_devices_keeps_its_digits() -> None:
    # Binomial: C(256, 2) s^2 up to a relative 2 (m - 2) s / 3, where Eq. 19 as printed cancels.
    density = 1e-9
    assert collision_rate(np.full(256, density)) == pytest.approx(
        256 * 255 / 2 * density**2, rel=1e-6
    )


def test_the_rate_is_what_drawn_masks_show() -> None:
    """T1, by Monte Carlo."""
    densities = np.array([0.05, 0.5, 0.25, 0.1, 0.9])
    entries = 40_000
    expected = float(collision_rate(densities))
    bound = 5 * math.sqrt(expected * (1 - expected) / entries)
    assert abs(empirical_collision(drawn(densities, entries, "rate")) - expected) < bound


@pytest.mark.parametrize(("devices", "density"), [(2, 0.5), (4, 0.25), (10, 0.1), (15, 0.05)])
def test_own_overlap_of_drawn_masks_is_one_minus_the_others_free(
    devices: int, density: float
) -> None:
    entries = 40_000
    expected = 1 - (1 - density) ** (devices - 1)
    np.testing.assert_allclose(own_collision(np.full(devices, density)), expected, rtol=1e-13)
    masks = drawn(np.full(devices, density), entries, "own", devices)
    bound = 5 * np.sqrt(expected * (1 - expected) / masks.sum(axis=1))
    assert (np.abs(own_overlap(masks) - expected) < bound).all()


def test_e15_a_device_feels_far_more_than_equation_19_reads() -> None:
    felt = {(2, 0.5): 0.50, (4, 0.25): 0.58, (10, 0.1): 0.61}
    read = {(2, 0.5): 0.25, (4, 0.25): 0.26, (10, 0.1): 0.26}
    for (devices, density), share in felt.items():
        densities = np.full(devices, density)
        assert own_collision(densities)[0] == pytest.approx(share, abs=0.005)
        assert collision_rate(densities) == pytest.approx(read[devices, density], abs=0.005)


def test_devices_of_different_density_feel_what_the_others_hold() -> None:
    felt = own_collision(np.array([0.2, 1.0, 0.5]))
    np.testing.assert_allclose(felt, [1.0, 1 - 0.8 * 0.5, 1.0], rtol=1e-13)


def test_disjoint_masks_never_collide() -> None:
    slot = stream(0, "slots").integers(0, 4, size=1000)
    masks = slot == np.arange(4)[:, None]
    assert empirical_collision(masks) == 0.0
    assert own_overlap(masks).tolist() == [0.0] * 4


def test_counts_by_hand() -> None:
    masks = np.array([[1, 1, 0, 0, 1], [0, 1, 0, 0, 1], [0, 0, 0, 0, 0]], dtype=bool)
    assert empirical_collision(masks) == 2 / 5
    assert own_overlap(masks).tolist() == [2 / 3, 1.0, 0.0]
    assert empirical_collision(masks[:1]) == 0.0


def test_packed_masks_count_like_plain_ones() -> None:
    masks = drawn(stream(0, "packed").random(256) * 0.02, 1003, "packed")
    assert empirical_collision(masks) == (masks.sum(axis=0) >= 2).mean()
    some = [3, 17, 200]
    assert packed_collision(packed_masks(masks)[some], 1003) == empirical_collision(masks[some])
