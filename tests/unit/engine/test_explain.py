"""What the pages of Learn claim, against closed forms and limits."""

import numpy as np
import pytest

from meshtune.engine.config import WORLD_TASKS
from meshtune.engine.explain.experiments import budget, collisions, growth, interference, subspaces
from meshtune.engine.explain.routing import routing
from meshtune.engine.topology.collision import collision_rate

NAMES = WORLD_TASKS["embedded"]


def test_orthogonal_adapters_disturb_each_other_as_much_as_random_ones() -> None:
    apart = interference(160, 8, 1.0, orthogonal=True, seed=0)
    assert apart.principal_cosine == pytest.approx(0.0, abs=1e-9)
    assert apart.update_cosine == pytest.approx(0.0, abs=1e-9)
    assert apart.error[0] == 0.0
    assert apart.error[-1] == pytest.approx(1.0, abs=0.1)  # two updates of one size
    chance = interference(160, 8, 1.0, orthogonal=False, seed=0)
    assert 0.2 < chance.principal_cosine < 0.7


def test_subspaces_share_a_direction_once_twice_the_rank_passes_the_width() -> None:
    found = subspaces(40, 0)
    for rank, low, mean, high in zip(found.rank, found.low, found.mean, found.high, strict=True):
        assert 0.0 <= low <= mean <= high <= 1.0
        assert (low == pytest.approx(1.0)) == (2 * rank > 40)


@pytest.mark.parametrize(("devices", "density"), [(2, 0.5), (6, 0.2), (1, 1.0), (24, 1.0)])
def test_a_real_draw_collides_as_the_formula_says(devices: int, density: float) -> None:
    found = collisions(devices, density, 3)
    assert found.analytic[devices - 1] == float(collision_rate(np.full(devices, density)))
    assert found.drawn == pytest.approx(found.analytic[devices - 1], abs=0.06)
    assert found.drawn_felt == pytest.approx(found.felt[devices - 1], abs=0.06)
    share = sum(n >= 2 for row in found.holders for n in row) / sum(map(len, found.holders))
    assert share == pytest.approx(found.drawn)


def test_a_budget_adds_up_in_decibels_and_seconds() -> None:
    found = budget(80.0, 2e6, 10.0, 1e6)
    assert found.power_dbm + found.gain_db - found.noise_dbm == pytest.approx(found.snr_db)
    assert found.seconds == pytest.approx(1e6 / found.rate_bit_s)
    assert list(found.curve_s) == sorted(found.curve_s)
    farther = budget(160.0, 2e6, 10.0, 1e6)
    assert found.snr_db - farther.snr_db == pytest.approx(6.02, abs=0.01)  # gain falls as d^-2


def test_clusters_grow_only_as_far_as_collisions_allow() -> None:
    found = growth(12, 0.2, 0.3, 0)
    assert found.collision
    assert max(found.collision) <= 0.3
    assert growth(12, 0.2, 0.0, 0).left == ()


def test_prompts_find_their_task_without_training() -> None:
    found = routing(1)
    assert len(found.task) == len(found.prompt) == 8 * len(NAMES)
    assert found.right_fraction > 0.8
    best = [max(range(8), key=row.__getitem__) for row in found.similarity]
    assert tuple(NAMES[k] for k in best) == found.chosen
