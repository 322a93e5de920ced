"""Who holds what: shares of the tasks in the samples of every device."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from meshtune.engine.config import RunConfig, canonical_json, with_values
from meshtune.engine.planning.plan import plan
from meshtune.engine.samples import trained_on
from meshtune.engine.shares import mixtures
from meshtune.engine.simulate import simulate
from meshtune.engine.tasks import TASKS
from meshtune.engine.tasks.base import train_samples
from meshtune.engine.world import build_world, initial_state
from tests.support.builders import tiny_config

TASK_LIST = ["addition", "reading", "ending"]
MIXED: dict[str, dict[str, Any]] = {
    "several": {"fleet.partition.kind": "several_tasks"},
    "more than there are": {
        "fleet.partition.kind": "several_tasks",
        "fleet.partition.tasks_each": 9,
    },
    "dirichlet": {"fleet.partition.kind": "dirichlet", "fleet.partition.alpha": 0.3},
    "all alike": {"fleet.partition.kind": "dirichlet", "fleet.partition.alpha": 1e6},
}


def mixed(changes: dict[str, Any], **more: Any) -> RunConfig:
    fleet = {"fleet__devices": 6, "fleet__tasks": TASK_LIST, "fleet__train_samples": 60}
    return with_values(tiny_config(**{**fleet, **more}), changes)


@pytest.mark.parametrize("changes", MIXED.values(), ids=MIXED)
def test_every_device_holds_most_of_its_own_task(changes: dict[str, Any]) -> None:
    config = mixed(changes)
    held = mixtures(config.fleet, config.seed)
    assert held.sum(axis=1) == pytest.approx(1.0)
    assert (held.max(axis=1) == held[np.arange(6), config.fleet.held_tasks()]).all()
    assert (mixtures(config.fleet, config.seed) == held).all()


def test_one_task_each_says_nothing_new_and_draws_what_it_always_drew() -> None:
    config = mixed({})
    assert "partition" not in canonical_json(config)
    assert config.schema_version == 1
    assert trained_on(config, 1) == train_samples(TASKS["reading"], config.seed, 1, 60)
    assert RunConfig.model_validate({"fleet": {"partition": {"kind": "one_task"}}}) == RunConfig()


@pytest.mark.parametrize("changes", MIXED.values(), ids=MIXED)
def test_samples_are_mixed_as_the_shares_say(changes: dict[str, Any]) -> None:
    config = mixed(changes)
    assert config.schema_version == 2
    assert RunConfig.model_validate_json(canonical_json(config)) == config
    held = mixtures(config.fleet, config.seed)
    of = {
        sample.prompt: task
        for device in range(6)
        for task in TASK_LIST
        for sample in train_samples(TASKS[task], config.seed, device, 60)
    }
    names = config.fleet.present_tasks()
    for device in range(6):
        counts = Counter(of[sample.prompt] for sample in trained_on(config, device))
        assert sum(counts.values()) == 60
        for k, task in enumerate(names):
            assert counts[task] == pytest.approx(60 * held[device, k], abs=1.0)


def test_the_first_samples_of_a_mixture_are_a_mixture() -> None:
    """A device that holds fewer than others trains on the first of its pool."""
    config = mixed({"fleet.partition.kind": "several_tasks"})
    first = {sample.prompt for sample in trained_on(config, 0)[:20]}
    every = {s.prompt for s in train_samples(TASKS["ending"], config.seed, 0, 60)}
    assert 0 < len(first & every) < len(first)


@pytest.mark.parametrize("kind", ["lora_gossip", "so_lora"])
def test_a_run_of_mixtures_sends_what_the_plan_says_and_tells_the_shares(kind: str) -> None:
    config = mixed(MIXED["dirichlet"], method__kind=kind, evaluation__samples_per_task=4)
    world = build_world(config)
    records = [record for _, record in simulate(world, initial_state(world))]
    assert sum(r.sent_bits for r in records) == pytest.approx(plan(config).total.payload_bits)
    held = mixtures(config.fleet, config.seed)
    last = records[-1]
    for device in last.devices:
        assert device.task == world.tasks[int(held[device.device].argmax())]
        assert list(device.shares.values()) == pytest.approx(held[device.device].tolist())
    accuracy = {(score.device, score.task): score.accuracy for score in last.scores}
    expected = np.mean(
        [sum(s * accuracy[d.device, t] for t, s in d.shares.items()) for d in last.devices]
    )
    assert last.accuracy_own == pytest.approx(float(expected))
