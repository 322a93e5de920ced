"""Static A: who shares it, how long its rows are, and how far from orthogonal it is."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from meshtune.engine.adapters.static_a import Kind, static_a
from meshtune.engine.config import TASK_NAMES, TaskName
from meshtune.engine.errors import ConfigMismatch
from meshtune.engine.rng import stream

TASKS: tuple[TaskName, ...] = ("reading", "addition", "ending")
OWN = np.array([0, 1, 2, 0])
SHAPES = {"q": (40, 64), "down": (64, 96)}
KINDS: list[Kind] = ["orthonormal", "task", "device", "common"]


def drawn(kind: Kind, rank: int = 4, seed: int = 3) -> dict[str, torch.Tensor]:
    return static_a(kind, seed, SHAPES, rank, TASKS, OWN)


def wide(rank: int = 32, k: int = 896) -> torch.Tensor:
    """Projections of six devices for one module of the paper's width, in float64."""
    return static_a("device", 0, {"q": (4, k)}, rank, TASKS, np.zeros(6, dtype=int))["q"].double()


def test_orthonormal_rows_are_those_of_the_stored_runs() -> None:
    """Drawn here a second time, by the recipe under which the published runs were made."""
    gaussian = stream(3, "adapter", "orthonormal", "q", "shared").normal(size=(64, 8 * 4))
    q, r = np.linalg.qr(gaussian)
    rows = torch.from_numpy((q * np.sign(np.diag(r))).T.copy()).float()
    for device, task in enumerate(OWN):
        first = 4 * TASK_NAMES.index(TASKS[task])
        assert torch.equal(drawn("orthonormal")["q"][device], rows[first : first + 4])


def test_orthonormal_projections_of_different_tasks_have_no_product_at_all() -> None:
    """T3 of the reference algorithm."""
    for a in drawn("orthonormal").values():
        for i in range(4):
            for j in range(4):
                expected = torch.eye(4, dtype=torch.float64) * (OWN[i] == OWN[j])
                assert_close(a[i].double() @ a[j].double().T, expected, atol=1e-6, rtol=0)


def test_orthonormal_blocks_that_do_not_fit_the_width_are_orthonormal_within_a_task() -> None:
    a = drawn("orthonormal", rank=32)["q"].double()
    assert_close(a[0] @ a[0].T, torch.eye(32, dtype=torch.float64), atol=1e-6, rtol=0)
    assert (a[0] @ a[1].T).abs().max() > 1e-3


def test_a_rank_above_the_width_is_refused_for_orthonormal_rows_only() -> None:
    with pytest.raises(ConfigMismatch, match=r"adapter\.rank is 65 but q .* use at most 64"):
        drawn("orthonormal", rank=65)
    assert drawn("device", rank=65)["q"].shape == (4, 65, 64)


@pytest.mark.parametrize(
    ("kind", "sharers"),
    [
        ("orthonormal", [[0, 3], [1], [2]]),
        ("task", [[0, 3], [1], [2]]),
        ("device", [[0], [1], [2], [3]]),
        ("common", [[0, 1, 2, 3]]),
    ],
)
def test_devices_share_a_draw_as_the_kind_says(kind: Kind, sharers: list[list[int]]) -> None:
    group = {i: number for number, members in enumerate(sharers) for i in members}
    for a in drawn(kind).values():
        for i in range(4):
            for j in range(4):
                assert torch.equal(a[i], a[j]) == (group[i] == group[j])


@pytest.mark.parametrize("kind", KINDS)
def test_a_device_draws_the_same_whoever_else_takes_part(kind: Kind) -> None:
    """A receiver draws A again from the seed, knowing nothing of the sender's fleet."""
    alone = static_a(kind, 3, {"down": SHAPES["down"]}, 4, TASKS[:1], OWN[:1])
    assert torch.equal(alone["down"][0], drawn(kind)["down"][0])


@pytest.mark.parametrize("kind", KINDS)
def test_modules_and_seeds_have_draws_of_their_own(kind: Kind) -> None:
    two = static_a(kind, 3, {"x": (4, 64), "y": (4, 64)}, 4, TASKS, OWN)
    assert not torch.equal(two["x"], two["y"])
    assert not torch.equal(drawn(kind)["q"], drawn(kind, seed=4)["q"])


@pytest.mark.parametrize("kind", KINDS)
def test_rows_have_length_one_on_average(kind: Kind) -> None:
    a = static_a(kind, 0, {"q": (4, 896)}, 32, TASKS, OWN)["q"]
    # A squared length of 896 normal values has a standard deviation of sqrt(2/896) = 0.047.
    assert (a.square().sum(dim=2).mean() - 1).abs() < 4 * 0.047 / 32**0.5


def test_t3_gaussian_rows_of_two_devices_have_rms_cosine_one_over_root_width() -> None:
    rows = torch.nn.functional.normalize(wide(), dim=2)
    cosines = [rows[i] @ rows[j].T for i in range(6) for j in range(i)]
    rms = torch.stack(cosines).square().mean().sqrt()
    assert rms == pytest.approx(896**-0.5, rel=0.05)


def test_e1_products_of_unnormalised_gaussian_projections_are_not_near_zero() -> None:
    """The paper's Eq. 16 with N(0, 1): the entries it calls zero have deviation sqrt(k) = 30."""
    k = 896
    unnormalised = wide() * k**0.5
    products = [unnormalised[i] @ unnormalised[j].T for i in range(6) for j in range(i)]
    assert torch.stack(products).std() == pytest.approx(k**0.5, rel=0.05)
    # Ours, scaled, are as small as the rows allow.
    assert torch.stack(products).std() / k == pytest.approx(k**-0.5, rel=0.05)


def test_e1_even_scaled_two_gaussian_subspaces_share_a_direction_by_a_third() -> None:
    """Rows look orthogonal one by one, yet the closest pair of directions has cosine 0.35."""
    bases = [torch.linalg.qr(a.T).Q for a in wide()]
    largest = [
        float(torch.linalg.svdvals(bases[i].T @ bases[j])[0]) for i in range(6) for j in range(i)
    ]
    assert np.mean(largest) == pytest.approx(0.35, abs=0.02)
