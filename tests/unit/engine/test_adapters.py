"""Adapters: stacking, mixing and distances on values that can be worked out by hand."""

import pytest
import torch

from meshtune.engine.adapters.stack import (
    Adapters,
    distance_to_mean,
    flatten,
    initial_adapters,
    mean,
    mix,
    parameter_count,
    select,
    stack,
    unflatten,
)

SHAPES = {"layers.0.q_proj": (6, 4), "layers.0.down_proj": (4, 10)}


@pytest.fixture
def adapters() -> Adapters:
    generator = torch.Generator().manual_seed(3)
    fresh = initial_adapters(SHAPES, 3, 2, generator)
    b = {name: torch.randn(value.shape, generator=generator) for name, value in fresh.b.items()}
    return Adapters(fresh.a, b)


def test_initial_adapters_leave_the_model_unchanged_and_differ_between_devices() -> None:
    fresh = initial_adapters(SHAPES, 3, 2, torch.Generator().manual_seed(0))
    assert list(fresh.a) == list(SHAPES)
    assert fresh.a["layers.0.down_proj"].shape == (3, 2, 10)
    assert fresh.b["layers.0.down_proj"].shape == (3, 4, 2)
    assert all(not value.any() for value in fresh.b.values())
    assert fresh.a["layers.0.q_proj"].abs().max() <= 1 / 4**0.5
    assert not torch.equal(fresh.a["layers.0.q_proj"][0], fresh.a["layers.0.q_proj"][1])


def test_parameter_count_is_that_of_one_device(adapters: Adapters) -> None:
    assert parameter_count(adapters) == 2 * (6 + 4) + 2 * (4 + 10)
    assert parameter_count(Adapters({}, adapters.b)) == 2 * (6 + 4)
    assert parameter_count(Adapters({}, {})) == 0


def test_row_of_the_weights_is_the_receiver(adapters: Adapters) -> None:
    weights = torch.tensor([[1.0, 0.0, 0.0], [0.25, 0.0, 0.75], [0.0, 2.0, 0.0]])
    mixed = mix(adapters, weights)
    for before, after in ((adapters.a, mixed.a), (adapters.b, mixed.b)):
        for name, x in before.items():
            torch.testing.assert_close(after[name][0], x[0])
            torch.testing.assert_close(after[name][1], 0.25 * x[0] + 0.75 * x[2])
            torch.testing.assert_close(after[name][2], 2 * x[1])


def test_mixing_accepts_a_message_without_a(adapters: Adapters) -> None:
    mixed = mix(Adapters({}, adapters.b), torch.eye(3))
    assert mixed.a == {}
    torch.testing.assert_close(flatten(mixed.b), flatten(adapters.b))


def test_select_and_stack_undo_each_other(adapters: Adapters) -> None:
    parts = [select(adapters, [0]), select(adapters, torch.tensor([1, 2]))]
    joined = stack(parts)
    assert torch.equal(flatten(joined.a), flatten(adapters.a))
    assert torch.equal(flatten(joined.b), flatten(adapters.b))
    twice = select(adapters, [2, 2])
    assert torch.equal(twice.b["layers.0.q_proj"][0], twice.b["layers.0.q_proj"][1])


def test_select_copies(adapters: Adapters) -> None:
    select(adapters, [0]).a["layers.0.q_proj"].zero_()
    assert adapters.a["layers.0.q_proj"][0].any()


def test_distance_to_mean_adds_all_factors() -> None:
    a = {"m": torch.tensor([0.0, 2.0]).reshape(2, 1, 1).expand(2, 1, 9)}
    b = {"m": torch.tensor([4.0, 0.0]).reshape(2, 1, 1).expand(2, 4, 1)}
    expected = (9 * 1.0 + 4 * 4.0) ** 0.5
    torch.testing.assert_close(distance_to_mean(Adapters(a, b)), torch.tensor([expected] * 2))


def test_devices_that_agree_have_no_distance_to_their_mean(adapters: Adapters) -> None:
    same = select(adapters, [1, 1, 1])
    assert distance_to_mean(same).max() < 1e-6
    torch.testing.assert_close(flatten(mean(same).a)[0], flatten(same.a)[0])


def test_unflatten_undoes_flatten(adapters: Adapters) -> None:
    flat = flatten(adapters.b)
    assert flat.shape == (3, 2 * (6 + 4))
    for name, value in unflatten(flat, adapters.b).items():
        assert torch.equal(value, adapters.b[name])
