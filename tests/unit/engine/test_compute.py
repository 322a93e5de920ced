"""What local training costs a device, by hand.

The embedded model has 4 layers of width 160 with a feed-forward width of 416 and 128 tokens. Per
layer q, k, v, o are 160 x 160, gate and up 416 x 160, down 160 x 416.
"""

from typing import get_args

import numpy as np
import pytest

from meshtune.engine.backbone.embedded import embedded_tokenizer, load_embedded
from meshtune.engine.backbone.encode import IGNORED, encode
from meshtune.engine.backbone.llama import backbone_from_llama
from meshtune.engine.compute import (
    HARDWARE,
    MEASUREMENTS,
    START_S,
    compute_cost,
    product_flop_s,
    training_flop,
    wall_s,
)
from meshtune.engine.config import WORLD_TASKS, HardwareName, Model
from meshtune.engine.costs import method_costs
from meshtune.engine.methods.rules import build_method
from meshtune.engine.models.door import facts_of
from meshtune.engine.models.questions import EMBEDDED_MEAN
from meshtune.engine.tasks import TASKS
from meshtune.engine.tasks.base import train_samples
from tests.support.builders import tiny_config
from tests.support.methods import setup_of

NAMES = WORLD_TASKS["embedded"]
WEIGHTS = 4 * (4 * 160 * 160 + 3 * 160 * 416)  # 1,208,320
HEAD = 128 * 160
RANK = 8
VALUES_A = 4 * RANK * (6 * 160 + 416)  # 44,032
VALUES_B = 4 * RANK * (4 * 160 + 2 * 416 + 160)  # 52,224


def test_the_head_has_a_row_of_the_width_per_token():
    model, _ = load_embedded()
    assert facts_of(Model()).head_weights == HEAD == backbone_from_llama(model).head.numel()


@pytest.mark.parametrize(
    ("kind", "per_token"),
    [
        ("lora_gossip", 4 * (WEIGHTS + HEAD) + 6 * (VALUES_A + VALUES_B)),
        ("centralised", 4 * (WEIGHTS + HEAD) + 6 * (VALUES_A + VALUES_B)),
        ("ffa_gossip", 4 * (WEIGHTS + HEAD + VALUES_A) + 6 * VALUES_B),
        ("so_lora", 4 * (WEIGHTS + HEAD + VALUES_A) + 6 * VALUES_B),
        ("full_gossip", 4 * HEAD + 6 * WEIGHTS),
        ("oracle_experts", 4 * HEAD + 6 * WEIGHTS),
    ],
)
def test_a_round_trains_what_the_method_moves(kind, per_token):
    config = tiny_config(method__kind=kind, training__local_steps=3, training__batch_size=5)
    assert training_flop(config) == 3 * 5 * EMBEDDED_MEAN * per_token


def test_density_saves_no_time():
    dense, sparse = (
        tiny_config(method__kind="so_lora", method__density=density) for density in (1.0, 0.1)
    )
    assert training_flop(sparse) == training_flop(dense)


def test_the_warm_up_of_masks_counts_in_its_rounds():
    config = tiny_config(
        method__kind="so_lora",
        method__mask_warmup_steps=4,
        method__mask_every=3,
        training__local_steps=2,
    )
    plain = training_flop(config)
    shares = [training_flop(config, t) / plain for t in range(5)]
    assert shares == [3.0, 1.0, 1.0, 3.0, 1.0]


@pytest.mark.parametrize(
    "method",
    [
        {"method__kind": "so_lora"},
        {"method__kind": "so_lora", "method__mask_every": 2},
        {"method__kind": "so_lora", "method__density": 1.0},
        {"method__kind": "so_lora", "method__density": 1.0, "method__mask": "disjoint"},
        {"method__kind": "lori", "method__density": 0.1},
        {"method__kind": "lori"},
        {"method__kind": "lora_gossip"},
    ],
)
def test_warm_ups_are_those_of_the_method(method):
    config = tiny_config(**method)
    rules = build_method(config.method, setup_of([0, 1]))
    assert [method_costs(config).warm_up_steps(t) for t in range(6)] == [
        rules.warm_up_steps(t) for t in range(6)
    ]


def test_energy_is_power_times_time_of_the_hardware_dealt_to_a_device():
    config = tiny_config(fleet__devices=3, fleet__hardware=["entry", "wearable"])
    cost = compute_cost(config)
    flop = training_flop(config)
    assert cost.seconds == pytest.approx([flop / 3e10, flop / 1e9, flop / 3e10])
    assert cost.joules == pytest.approx(cost.seconds * np.array([2.5, 0.6, 2.5]))


def test_better_hardware_is_faster_and_draws_more():
    ranked = [HARDWARE[name] for name in get_args(HardwareName)]
    assert [h.flop_s for h in ranked] == sorted((h.flop_s for h in ranked), reverse=True)
    assert [h.power_w for h in ranked] == sorted((h.power_w for h in ranked), reverse=True)


@pytest.mark.parametrize(("batch", "tolerance"), [(16, 0.05), (1, 0.2), (64, 0.1)])
def test_samples_are_as_long_as_assumed(batch, tolerance):
    tokenizer = embedded_tokenizer()
    rng = np.random.default_rng(0)
    means = []
    for name in NAMES:
        scored = encode(train_samples(TASKS[name], 0, 0, 400), tokenizer).targets != IGNORED
        length = scored.shape[1] - scored.flip(1).int().argmax(dim=1).numpy()
        batches = length[rng.integers(len(length), size=(400, batch))]
        means.append(batches.max(axis=1).mean())
    assert np.mean(means) == pytest.approx(EMBEDDED_MEAN, rel=tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_no_sample_is_longer_than_assumed_and_some_are_nearly_so(name):
    tokenizer = embedded_tokenizer()
    scored = encode(train_samples(TASKS[name], 1, 0, 400), tokenizer).targets != IGNORED
    assert TASKS[name].longest - 2 <= scored.shape[1] <= TASKS[name].longest + 1


def test_the_same_machine_is_measured_once():
    seen = [product_flop_s() for _ in range(MEASUREMENTS + 2)]
    assert seen == sorted(seen)
    assert seen[-1] == seen[-3] > 0


@pytest.mark.parametrize(
    "more",
    [
        {"rounds": 40},
        {"fleet__devices": 8},
        {"training__local_steps": 20},
        {"training__batch_size": 32},
        {"evaluation__samples_per_task": 100},
        {"fleet__train_samples": 50_000},
        {"fleet__tasks": ["ending", "reading"]},
        {"method__kind": "so_lora", "method__gate_blend": "soft"},
    ],
)
def test_more_to_do_takes_longer(more):
    base = {"rounds": 10, "fleet__devices": 4, "method__kind": "lora_gossip"}
    less = wall_s(tiny_config(**base))
    assert START_S < less < wall_s(tiny_config(**{**base, **more}))


def test_a_run_takes_the_operations_of_its_steps_and_answers_over_the_rate():
    config = tiny_config(
        rounds=3,
        fleet__devices=2,
        fleet__tasks=["addition"],
        fleet__train_samples=10,
        training__local_steps=2,
        training__batch_size=5,
        evaluation__samples_per_task=7,
        evaluation__every_rounds=2,
    )
    step = 2 * 5 * TASKS["addition"].longest * (4 * (WEIGHTS + HEAD) + 6 * (VALUES_A + VALUES_B))
    training = 3 * 2 * (1.55 * step + 4.5e9)
    answer = 7 * TASKS["addition"].longest * (2 * (WEIGHTS + HEAD) + 3 * (VALUES_A + VALUES_B))
    asked = 2 * (2 + 2)  # in rounds 2 and 3, by two devices, and of each before its exchange
    samples_s = 1e-4 * 2 * 10 + 1e-3 * 7
    flop = training + 1.2 * asked * answer
    for _ in range(MEASUREMENTS):
        product_flop_s()
    assert wall_s(config) == pytest.approx(START_S + samples_s + flop / product_flop_s())
