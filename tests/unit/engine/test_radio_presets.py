"""The presets of the radio: that their configs do what their texts promise, without training."""

import numpy as np
import pytest

from meshtune.engine import config as c
from meshtune.engine.channels import build_channel
from meshtune.engine.compute import compute_cost
from meshtune.engine.costs import method_costs
from meshtune.engine.presets import load_preset, preset_names
from meshtune.engine.topology import Mesh, build_mesh, mesh_at
from meshtune.engine.topology.motion import area_of, build_motion

RADIO = ("bad_channel", "moving_crowd", "straggler", "one_cluster_or_many")


def with_changes(name: str, **changes: object) -> c.RunConfig:
    return c.with_values(
        load_preset(name).config, {k.replace("__", "."): v for k, v in changes.items()}
    )


def heard_fraction(config: c.RunConfig, ready_s: np.ndarray | None = None) -> np.ndarray:
    """Share of the messages that each device gets through, over all rounds of the run."""
    mesh, radio = build_mesh(config), build_channel(config)
    bits = np.where(mesh.linked, method_costs(config).message_bits, 0)
    sent = [radio.deliver(mesh.positions, bits, k, ready_s=ready_s) for k in range(config.rounds)]
    heard = np.sum([hop.heard & mesh.linked for hop in sent], axis=(0, 1))
    return heard / np.maximum(mesh.linked.sum(axis=0) * config.rounds, 1)


def meshes(config: c.RunConfig) -> list[Mesh]:
    """The mesh of every round, links formed anew where the devices have gone."""
    first = build_mesh(config)
    radius_m, centre_m = area_of(config.topology, first.positions)
    motion = build_motion(config.mobility, first.positions, radius_m, config.seed, centre_m)
    return [first] + [mesh_at(config, motion.places(k), k) for k in range(1, config.rounds)]


def task_pairs_met(config: c.RunConfig) -> list[int]:
    """How many pairs of one task were linked so far, round by round."""
    tasks = np.array([config.fleet.task_of(i) for i in range(config.fleet.devices)])
    alike = np.triu(tasks[:, None] == tasks[None, :], 1)
    linked = np.logical_or.accumulate([mesh.linked for mesh in meshes(config)])
    return [int((alike & so_far).sum()) for so_far in linked]


def test_the_presets_of_the_radio_are_one_group_with_a_radio():
    grouped = [name for name in preset_names() if load_preset(name).group == "The radio"]
    assert grouped == list(RADIO)
    assert {load_preset(name).config.channel.kind for name in RADIO} == {"radio"}


@pytest.mark.parametrize("name", RADIO)
def test_a_preset_of_the_radio_is_as_small_as_those_that_take_half_a_minute(name):
    config, known = load_preset(name).config, load_preset("so_lora").config
    assert config.fleet.devices <= known.fleet.devices
    assert config.rounds <= known.rounds
    assert config.training.local_steps <= known.training.local_steps
    assert config.training.batch_size <= known.training.batch_size
    assert config.evaluation.samples_per_task <= known.evaluation.samples_per_task


def test_a_bad_channel_loses_half_of_the_messages_and_a_quarter_of_short_ones():
    # Devices with more links send more; count messages, not devices.
    def share(config: c.RunConfig) -> float:
        links = build_mesh(config).linked.sum(axis=0)
        return float((heard_fraction(config) * links).sum() / links.sum())

    assert share(with_changes("bad_channel")) == pytest.approx(0.5, abs=0.05)
    assert share(with_changes("bad_channel", adapter__value_bits=4)) == pytest.approx(
        0.75, abs=0.05
    )


def test_a_moving_crowd_introduces_all_pairs_of_one_task_and_a_standing_one_does_not():
    moving = task_pairs_met(with_changes("moving_crowd"))
    assert (moving[0], moving[-1]) == (2, 8)
    standing = task_pairs_met(with_changes("moving_crowd", mobility__kind="static"))
    assert set(standing) == {2}


def test_a_straggler_is_the_last_device_and_holds_up_the_round():
    config = with_changes("straggler")
    assert [config.fleet.hardware_of(i) for i in range(8)] == ["flagship"] * 7 + ["wearable"]
    cost = compute_cost(config).seconds
    assert cost[:7].max() < 0.1
    # What the radio adds to the wait hardly shows.
    mesh, radio = build_mesh(config), build_channel(config)
    bits = np.where(mesh.linked, method_costs(config).message_bits, 0)
    for k in range(config.rounds):
        hop = radio.deliver(mesh.positions, bits, k, ready_s=cost)
        assert max(cost.max(), hop.end_s.max()) == pytest.approx(11.0, abs=0.5)
    assert cost[7] > config.channel.deadline_s


def test_a_straggler_is_heard_by_whoever_waits_and_by_nobody_with_a_deadline_for_the_round():
    config = with_changes("straggler")
    ready_s = compute_cost(config).seconds
    waiting = heard_fraction(config, ready_s)
    assert (waiting > 0.9).all()
    strict = with_changes("straggler", channel__deadline_covers="round")
    assert heard_fraction(strict, ready_s)[7] == 0.0
    assert (heard_fraction(strict, ready_s)[:7] > 0.9).all()


@pytest.mark.parametrize(("collision_max", "sizes"), [(1.0, [16]), (0.2, [2] * 8)])
def test_one_cluster_or_many_is_decided_by_the_collision_limit(collision_max, sizes):
    config = with_changes("one_cluster_or_many", topology__collision_max=collision_max)
    assert np.bincount(build_mesh(config).cluster).tolist() == sizes


def test_one_cluster_or_many_starts_with_four_of_four():
    config = load_preset("one_cluster_or_many").config
    assert np.bincount(build_mesh(config).cluster).tolist() == [4, 4, 4, 4]
