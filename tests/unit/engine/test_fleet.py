"""Local training of the fleet against stock PEFT and torch optimizers, one device at a time."""

from dataclasses import replace
from threading import get_ident
from typing import Any

import pytest
import torch
from torch import Tensor

from meshtune.engine.adapters.stack import (
    Adapters,
    Masks,
    flatten,
    initial_adapters,
    module_shapes,
    select,
)
from meshtune.engine.backbone.llama import Llama, backbone_from_llama
from meshtune.engine.fleet import (
    OptimizerState,
    TrainingRule,
    train_steps,
)
from meshtune.engine.groups import default_group_size, device_groups
from tests.support.oracles import peft_model, peft_train, random_llama

DEVICES, STEPS, VOCAB = 5, 6, 50
ADAMW = TrainingRule(
    learning_rate=1e-2, weight_decay=0.1, clip_norm=0.5, warmup_steps=3, scaling=2.0, group_size=2
)
SGD = replace(ADAMW, optimizer="sgd", learning_rate=0.5, weight_decay=0.0)
Batches = tuple[Tensor, Tensor]


@pytest.fixture(scope="module")
def backbone() -> Llama:
    return backbone_from_llama(random_llama(kv_heads=2))


@pytest.fixture(scope="module")
def adapters(backbone: Llama) -> Adapters:
    generator = torch.Generator().manual_seed(1)
    fresh = initial_adapters(module_shapes(backbone), DEVICES, 4, generator)
    b = {k: 0.05 * torch.randn(v.shape, generator=generator) for k, v in fresh.b.items()}
    return Adapters(fresh.a, b)


@pytest.fixture(scope="module")
def batches() -> Batches:
    """Prompts are not scored, and by a different length in every sequence."""
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(VOCAB, (STEPS, DEVICES, 3, 10), generator=generator)
    prompt = torch.randint(1, 8, (STEPS, DEVICES, 3, 1), generator=generator)
    targets = tokens.roll(-1, dims=-1)
    targets[..., -1] = -100
    return tokens, torch.where(torch.arange(10) < prompt, -100, targets)


@pytest.fixture(scope="module")
def masks(adapters: Adapters) -> Masks:
    generator = torch.Generator().manual_seed(3)
    return {k: torch.rand(v.shape, generator=generator) < 0.5 for k, v in adapters.b.items()}


def device_batches(batches: Batches, devices: Any) -> Batches:
    return batches[0][:, devices], batches[1][:, devices]


def masked(adapters: Adapters, masks: Masks | None) -> Adapters:
    if masks is None:
        return adapters
    return Adapters(adapters.a, {name: b * masks[name] for name, b in adapters.b.items()})


def assert_same(x: Adapters, y: Adapters) -> None:
    """Bit by bit."""
    for one, other in ((x.a, y.a), (x.b, y.b)):
        assert list(one) == list(other)
        for name, value in one.items():
            assert torch.equal(value, other[name])


def assert_near(x: Adapters, y: Adapters, atol: float = 1e-5) -> None:
    torch.testing.assert_close(flatten(x.a), flatten(y.a), rtol=0.0, atol=atol)
    torch.testing.assert_close(flatten(x.b), flatten(y.b), rtol=0.0, atol=atol)


# Agreement with PEFT.


@pytest.mark.parametrize(
    ("rule", "trained", "with_masks"),
    [
        (ADAMW, "ab", False),
        (ADAMW, "b", False),
        (ADAMW, "a", False),
        (ADAMW, "b", True),
        (SGD, "ab", False),
        (SGD, "b", True),
        (replace(ADAMW, clip_norm=None, warmup_steps=0), "ab", False),
    ],
    ids=["adamw", "frozen A", "frozen B", "masked B", "sgd", "sgd masked B", "no clip or warm-up"],
)
def test_every_device_takes_the_steps_it_would_take_alone_with_peft(
    backbone: Llama,
    adapters: Adapters,
    batches: Batches,
    masks: Masks,
    rule: TrainingRule,
    trained: str,
    with_masks: bool,
) -> None:
    used = masks if with_masks else None
    start = masked(adapters, used)
    result, _, losses = train_steps(
        backbone,
        rule,
        start,
        OptimizerState(),
        batches,
        trained=frozenset(trained),  # type: ignore[arg-type]
        masks=used,
    )
    moved = flatten(result.b if "b" in trained else result.a) - flatten(
        start.b if "b" in trained else start.a
    )
    assert moved.abs().max() > 0.01  # the comparison below is not between two standstills
    for device in (0, 3, 4):
        model = peft_model(random_llama(kv_heads=2), start, device, rule.scaling)
        a, b, expected = peft_train(
            model,
            rule,
            device_batches(batches, device),
            frozenset(trained),
            used and {name: mask[device] for name, mask in used.items()},
        )
        torch.testing.assert_close(losses[:, device], expected, rtol=1e-5, atol=1e-5)
        for name in a:
            # Adam divides by the size of the gradient, so where that is near zero its rounding
            # (1e-7 relative to the largest) becomes up to 1e-4 of a step of 1e-2.
            torch.testing.assert_close(result.a[name][device], a[name], rtol=0.0, atol=2e-5)
            torch.testing.assert_close(result.b[name][device], b[name], rtol=0.0, atol=2e-5)


def test_bfloat16_follows_float32_within_its_rounding(adapters: Adapters, batches: Batches) -> None:
    """bfloat16 keeps 8 bits, so a product is off by 2^-9: the losses (about 4) by some 0.01.

    A step of AdamW is at most a rate long whatever the gradient, so weights may differ by twice
    that for each step where the gradient is smaller than its rounding; on average by far less.
    """
    llama = random_llama(kv_heads=2)
    exact, _, losses = train_steps(
        backbone_from_llama(llama), ADAMW, adapters, OptimizerState(), batches
    )
    rough, state, rough_losses = train_steps(
        backbone_from_llama(llama, torch.bfloat16), ADAMW, adapters, OptimizerState(), batches
    )
    assert (rough_losses - losses).abs().max() < 0.02
    difference = flatten(rough.b) - flatten(exact.b)
    travelled = flatten(exact.b) - flatten(adapters.b)
    assert difference.square().mean() < 0.1**2 * travelled.square().mean()
    kept = [*rough.a.values(), *rough.b.values(), *state.m.a.values(), *state.v.b.values()]
    assert {value.dtype for value in kept} == {torch.float32}


# State in, state out.


def test_two_calls_make_the_same_steps_as_one(
    backbone: Llama, adapters: Adapters, batches: Batches
) -> None:
    whole, whole_state, losses = train_steps(backbone, ADAMW, adapters, OptimizerState(), batches)
    first = batches[0][:2], batches[1][:2]
    rest = batches[0][2:], batches[1][2:]
    half, state, early = train_steps(backbone, ADAMW, adapters, OptimizerState(), first)
    again, again_state, late = train_steps(backbone, ADAMW, half, state, rest)
    assert_same(again, whole)
    assert_same(again_state.m, whole_state.m)
    assert_same(again_state.v, whole_state.v)
    assert (again_state.step, again_state.updates) == (6, {"a": 6, "b": 6})
    assert torch.equal(torch.cat([early, late]), losses)


def test_training_is_bit_equal_when_repeated(
    backbone: Llama, adapters: Adapters, batches: Batches
) -> None:
    first, _, losses = train_steps(backbone, ADAMW, adapters, OptimizerState(), batches)
    second, _, again = train_steps(backbone, ADAMW, adapters, OptimizerState(), batches)
    assert_same(first, second)
    assert torch.equal(losses, again)


def test_inputs_are_not_changed(
    backbone: Llama, adapters: Adapters, batches: Batches, masks: Masks
) -> None:
    before = select(adapters, range(DEVICES))
    _, state, _ = train_steps(backbone, ADAMW, adapters, OptimizerState(), batches)
    m = select(state.m, range(DEVICES))
    tokens = batches[0].clone()
    train_steps(backbone, ADAMW, adapters, state, batches, masks=masks)
    assert_same(adapters, before)
    assert_same(state.m, m)
    assert torch.equal(batches[0], tokens)
    assert torch.equal(backbone.embedding, backbone_from_llama(random_llama(kv_heads=2)).embedding)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_a_device_does_not_depend_on_the_others(
    backbone: Llama, adapters: Adapters, batches: Batches, size: int
) -> None:
    """Other devices and other groups change the order of additions, that is the rounding."""
    whole, _, losses = train_steps(backbone, ADAMW, adapters, OptimizerState(), batches)
    few = torch.tensor([4, 1])
    alone, _, alone_losses = train_steps(
        backbone,
        replace(ADAMW, group_size=size),
        select(adapters, few),
        OptimizerState(),
        device_batches(batches, few),
    )
    assert_near(alone, select(whole, few), atol=2e-5)
    torch.testing.assert_close(alone_losses, losses[:, few], rtol=1e-5, atol=1e-5)


def test_masked_entries_of_b_are_zero_from_the_first_step_on(
    backbone: Llama, adapters: Adapters, batches: Batches, masks: Masks
) -> None:
    _, dense, _ = train_steps(backbone, ADAMW, adapters, OptimizerState(), batches)
    after, state, _ = train_steps(backbone, ADAMW, adapters, dense, batches, masks=masks)
    for name, mask in masks.items():
        assert not after.b[name][~mask].any()
        assert not state.m.b[name][~mask].any()
        assert not state.v.b[name][~mask].any()
        assert after.b[name][mask].all()


def test_a_frozen_factor_keeps_its_values_and_moments(
    backbone: Llama, adapters: Adapters, batches: Batches
) -> None:
    after, state, _ = train_steps(
        backbone, ADAMW, adapters, OptimizerState(), batches, trained=frozenset("b")
    )
    assert torch.equal(flatten(after.a), flatten(adapters.a))
    assert state.m.a == {}
    assert state.updates == {"a": 0, "b": STEPS}
    thawed, both, _ = train_steps(backbone, ADAMW, after, state, batches, trained=frozenset("a"))
    assert_same(Adapters({}, thawed.b), Adapters({}, after.b))
    assert_same(Adapters({}, both.m.b), Adapters({}, state.m.b))
    # A first step of AdamW is one rate long, however late it comes.
    one = batches[0][:1], batches[1][:1]
    calm = replace(ADAMW, weight_decay=0.0)
    first, _, _ = train_steps(backbone, calm, after, state, one, trained=frozenset("a"))
    step = (flatten(first.a) - flatten(after.a)).abs()
    torch.testing.assert_close(step.max(), torch.tensor(1e-2), rtol=0.01, atol=0.0)


def test_sgd_keeps_no_moments(backbone: Llama, adapters: Adapters, batches: Batches) -> None:
    _, state, _ = train_steps(backbone, SGD, adapters, OptimizerState(), batches)
    assert state.m == state.v == Adapters({}, {})
    assert state.step == STEPS


def test_devices_without_any_scored_token_stand_still(
    backbone: Llama, adapters: Adapters, batches: Batches
) -> None:
    unscored = torch.full_like(batches[1], -100)
    calm = replace(ADAMW, weight_decay=0.0)
    after, _, losses = train_steps(
        backbone, calm, adapters, OptimizerState(), (batches[0], unscored)
    )
    assert not losses.any()
    assert_same(after, adapters)


def test_padding_after_the_last_scored_token_changes_nothing(
    backbone: Llama, adapters: Adapters, batches: Batches
) -> None:
    tokens, targets = (
        torch.nn.functional.pad(part, (0, 5), value=value)
        for part, value in zip(batches, (0, -100), strict=True)
    )
    padded, _, _ = train_steps(backbone, ADAMW, adapters, OptimizerState(), (tokens, targets))
    plain, _, _ = train_steps(backbone, ADAMW, adapters, OptimizerState(), batches)
    assert_near(padded, plain, atol=2e-5)


# Stopping and groups.


class Stopped(Exception):
    """What a cancelled run raises."""


def test_stop_is_asked_in_the_callers_thread_before_every_step_of_every_group(
    backbone: Llama, adapters: Adapters, batches: Batches
) -> None:
    threads = []
    train_steps(
        backbone,
        ADAMW,
        adapters,
        OptimizerState(),
        batches,
        stop=lambda: threads.append(get_ident()),
    )
    assert len(threads) == STEPS * len(device_groups(DEVICES, 30, size=2))
    assert set(threads) == {get_ident()}


def test_stop_ends_the_training_and_leaves_the_thread_count_as_it_was(
    backbone: Llama, adapters: Adapters, batches: Batches
) -> None:
    before = torch.get_num_threads()
    asked = 0

    def stop() -> None:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise Stopped

    with pytest.raises(Stopped):
        train_steps(backbone, ADAMW, adapters, OptimizerState(), batches, stop=stop)
    assert asked == 3
    assert torch.get_num_threads() == before


def test_an_error_in_a_group_reaches_the_caller(
    backbone: Llama, adapters: Adapters, batches: Batches
) -> None:
    with pytest.raises(IndexError):
        train_steps(backbone, ADAMW, adapters, OptimizerState(), (batches[0] + VOCAB, batches[1]))


@pytest.mark.parametrize("devices", [1, 2, 3, 16, 17, 64])
def test_groups_hold_every_device_once_and_fill_two_threads(devices: int) -> None:
    groups = device_groups(devices, 256)
    assert [i for group in groups for i in range(devices)[group]] == list(range(devices))
    assert len(groups) >= min(2, devices)
    assert max(group.stop - group.start for group in groups) <= default_group_size(256)
