"""The round loop on the real embedded model, tiny."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from meshtune.engine.adapters.stack import Adapters
from meshtune.engine.checkpoint import load_state, save_state
from meshtune.engine.config import RunConfig
from meshtune.engine.errors import CheckpointError, ConfigMismatch, Interrupted, NumericsError
from meshtune.engine.records import RoundRecord
from meshtune.engine.simulate import simulate
from meshtune.engine.world import build_world, initial_state
from tests.support.builders import tiny_config

SO_LORA = {
    "method__kind": "so_lora",
    "method__mask_warmup_steps": 1,
    "method__library_every": 2,
    "fleet__devices": 3,
}


def untimed(record: RoundRecord) -> dict[str, Any]:
    return record.model_dump(exclude={"wall_s"})


def played(config: RunConfig) -> list[dict[str, Any]]:
    world = build_world(config)
    return [untimed(record) for _, record in simulate(world, initial_state(world))]


@pytest.mark.parametrize("method", [{}, SO_LORA], ids=["lora_gossip", "so_lora"])
def test_one_seed_gives_the_same_records_to_the_bit(method):
    config = tiny_config(**method)
    assert played(config) == played(config)


def test_another_seed_gives_other_records():
    assert played(tiny_config(seed=1)) != played(tiny_config(seed=2))


@pytest.mark.parametrize("method", [{}, SO_LORA], ids=["lora_gossip", "so_lora"])
def test_resumed_from_a_file_equals_uninterrupted(method, tmp_path):
    config = tiny_config(rounds=3, **method)
    world = build_world(config)
    whole = [untimed(record) for _, record in simulate(world, initial_state(world))]
    state, _ = next(simulate(world, initial_state(world)))
    save_state(world, state, tmp_path / "state.safetensors")
    restored = load_state(world, tmp_path / "state.safetensors")
    rest = [untimed(record) for _, record in simulate(world, restored)]
    assert whole[1:] == rest


def test_a_checkpoint_of_another_config_is_refused(tmp_path):
    world = build_world(tiny_config())
    save_state(world, initial_state(world), tmp_path / "state.safetensors")
    with pytest.raises(CheckpointError, match="another config"):
        load_state(build_world(tiny_config(seed=5)), tmp_path / "state.safetensors")


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"not a checkpoint"])
def test_a_broken_checkpoint_is_refused_with_its_name(tmp_path, content):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"broken\.safetensors cannot be read"):
        load_state(build_world(tiny_config()), path)


def test_a_saved_state_leaves_no_temporary_file(tmp_path):
    world = build_world(tiny_config())
    save_state(world, initial_state(world), tmp_path / "state.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]


def test_two_methods_with_one_seed_meet_the_same_places_and_fading():
    shared = {"fleet__devices": 3, "method__library_every": 1, "topology__kind": "full"}
    dense = played(tiny_config(fleet__devices=3, topology__kind="full"))
    sparse = played(tiny_config(**{"method__kind": "so_lora", **shared}))
    for first, second in zip(dense, sparse, strict=True):
        assert [(d["x_m"], d["y_m"]) for d in first["devices"]] == [
            (d["x_m"], d["y_m"]) for d in second["devices"]
        ]
        snr = {(link["receiver"], link["sender"]): link["snr_db"] for link in first["links"]}
        for link in second["links"]:
            assert link["snr_db"] == snr[link["receiver"], link["sender"]]


def test_the_record_adds_up():
    record = played(tiny_config(fleet__devices=3, topology__kind="full"))[0]
    assert record["sent_bits"] == sum(link["payload_bits"] for link in record["links"])
    assert record["sent_bits"] == sum(device["sent_bits"] for device in record["devices"])
    assert record["energy_j"] == pytest.approx(sum(d["energy_j"] for d in record["devices"]))
    assert record["airtime_s"] == max(link["airtime_s"] for link in record["links"])
    own = [s for s in record["scores"] if s["task"] == record["devices"][s["device"]]["task"]]
    assert record["accuracy_own"] == pytest.approx(sum(s["accuracy"] for s in own) / len(own))
    assert len(record["scores"]) == 3 * 2


def test_local_training_sends_nothing_and_says_so_with_none_not_zero():
    record = played(tiny_config(method__kind="local"))[0]
    assert (record["sent_bits"], record["links"], record["delivered_fraction"]) == (0, (), None)


def test_rounds_without_evaluation_have_no_accuracy_but_the_last_has():
    records = played(tiny_config(rounds=3, evaluation__every_rounds=2))
    assert [record["accuracy_own"] is None for record in records] == [True, False, False]
    assert records[0]["scores"] == ()


def test_a_run_can_be_stopped_before_any_local_step():
    config = tiny_config(training__local_steps=5)
    seen: list[float] = []

    def check(progress: float) -> None:
        seen.append(progress)
        if len(seen) == 3:
            raise Interrupted

    world = build_world(config)
    with pytest.raises(Interrupted):
        next(simulate(world, initial_state(world), check))
    assert seen == [0.0, 0.1, 0.2]  # two devices train in two groups, side by side


def test_progress_of_a_round_rises_from_zero_and_never_passes_one():
    seen: list[float] = []
    world = build_world(tiny_config(training__local_steps=3, fleet__devices=3))
    next(simulate(world, initial_state(world), seen.append))
    assert seen[0] == 0.0
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_divergence_names_the_round_and_the_devices_and_what_to_change():
    world = build_world(tiny_config(method__kind="local"))
    state = initial_state(world)
    adapters = Adapters(state.adapters.a, {k: v.clone() for k, v in state.adapters.b.items()})
    next(iter(adapters.b.values()))[1] = torch.inf
    with pytest.raises(NumericsError, match=r"round 1 on device 1; lower training\.learning_rate"):
        next(simulate(world, replace(state, adapters=adapters)))


def test_a_rank_above_the_models_width_is_refused():
    with pytest.raises(ConfigMismatch, match=r"adapter\.rank is 256"):
        initial_state(
            build_world(tiny_config(**SO_LORA, adapter__rank=256, fleet__train_samples=2))
        )


def test_batches_of_a_device_do_not_depend_on_the_size_of_the_fleet():
    small = played(tiny_config(method__kind="local", fleet__devices=2))
    large = played(tiny_config(method__kind="local", fleet__devices=4))
    for few, many in zip(small, large, strict=True):
        for device in range(2):
            assert few["devices"][device]["train_loss"] == pytest.approx(
                many["devices"][device]["train_loss"], rel=1e-4
            )


def test_bfloat16_follows_float32_within_its_rounding():
    exact = played(tiny_config(rounds=1))[0]
    fast = played(tiny_config(rounds=1, training__precision="bfloat16"))[0]
    # 8 bits of mantissa: each product is off by up to 0.4 %, losses by a few of that.
    assert fast["train_loss"] == pytest.approx(exact["train_loss"], rel=0.02)
    assert torch.isfinite(torch.tensor(fast["train_loss"]))


AGNES = {
    **SO_LORA,
    "fleet__devices": 4,
    "topology__kind": "agnes",
    "topology__radius_m": 30.0,
    "method__mode": "repaired",
}


@pytest.mark.parametrize("collision", ["analytic", "empirical"])
def test_the_first_round_tells_how_its_clusters_came_about(collision, tmp_path):
    config = tiny_config(topology__collision=collision, **AGNES)
    world = build_world(config)
    played_rounds = list(simulate(world, initial_state(world)))
    (state, first), (_, second) = played_rounds
    cluster = {device.device: {device.device} for device in first.devices}
    for merge in first.merges:
        members = {*merge.left, *merge.right}
        assert {frozenset(cluster[i]) for i in members} == {
            frozenset(merge.left),
            frozenset(merge.right),
        }
        assert merge.collision <= 0.3
        cluster |= dict.fromkeys(members, members)
    label = {device.device: device.cluster for device in first.devices}
    for i, members in cluster.items():
        assert members == {j for j in label if label[j] == label[i]}
    assert first.merges
    assert second.merges == ()
    save_state(world, state, tmp_path / "state.safetensors")
    restored = load_state(world, tmp_path / "state.safetensors")
    assert restored.mesh.merges == state.mesh.merges
    assert [untimed(record) for _, record in simulate(world, restored)] == [untimed(second)]


def test_masks_drawn_again_change_what_is_trained():
    config = tiny_config(rounds=3, method__mask_every=2, **SO_LORA)
    world = build_world(config)
    masks = [
        torch.cat([mask.flatten() for mask in (world.method.masks(state.memory) or {}).values()])
        for state, _ in simulate(world, initial_state(world))
    ]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[1], masks[2])


def test_one_pooled_adapter_is_what_all_devices_of_the_bound_answer_with():
    config = tiny_config(method__kind="centralised", fleet__devices=3)
    world = build_world(config)
    for state, record in simulate(world, initial_state(world)):
        for value in state.adapters.b.values():
            assert torch.equal(value[0], value[2])
        assert record.sent_bits == 0
        assert record.consensus_distance == pytest.approx(0.0, abs=1e-6)
