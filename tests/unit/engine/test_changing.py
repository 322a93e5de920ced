"""Meshes that change from round to round, and runs over them."""

import numpy as np
import pytest

from meshtune.engine.checkpoint import load_state, save_state
from meshtune.engine.config import RunConfig
from meshtune.engine.simulate import play_round, simulate
from meshtune.engine.topology import build_mesh
from meshtune.engine.topology.changing import ChangingMesh, changing_mesh
from meshtune.engine.world import build_world, initial_state
from tests.support.builders import tiny_config

WALK = {"mobility__kind": "gauss_markov", "mobility__speed_m_s": 8.0}
AIR = {
    "channel__kind": "radio",
    "channel__deadline_s": 1e4,
    "channel__loss__kind": "waterfall",
    "channel__loss__threshold_db": 12.0,
    "channel__tries": 1,
}


def changing(config: RunConfig) -> tuple[ChangingMesh, object]:
    first = build_mesh(config)
    return changing_mesh(config, first), first


def test_a_mesh_that_cannot_change_is_the_same_object() -> None:
    rules, first = changing(tiny_config(fleet__devices=6))
    for k in range(4):
        assert rules.at(first, k) is first
        assert rules.usable(first, k) is first


def test_devices_that_move_are_linked_anew_where_links_depend_on_places() -> None:
    config = tiny_config(
        fleet__devices=12, topology__kind="k_nearest", topology__neighbours=2, **WALK
    )
    rules, mesh = changing(config)
    assert rules.at(mesh, 0) is mesh
    later = rules.at(mesh, 9)
    assert not np.array_equal(later.positions, mesh.positions)
    assert not np.array_equal(later.linked, mesh.linked)


def test_devices_keep_their_links_where_these_do_not_depend_on_places_or_are_kept() -> None:
    for more in (
        {"topology__kind": "ring"},
        {"topology__kind": "geometric", "mobility__relink_every": 0},
        {"topology__kind": "geometric", "mobility__relink_every": 4},
    ):
        rules, mesh = changing(tiny_config(fleet__devices=12, **WALK, **more))
        later = rules.at(mesh, 7)
        assert not np.array_equal(later.positions, mesh.positions)
        assert later.linked is mesh.linked


def test_one_peer_links_alternate_and_stand_still_otherwise() -> None:
    config = tiny_config(
        fleet__devices=8, topology__kind="exponential", topology__variant="one_peer"
    )
    rules, mesh = changing(config)
    seen = [rules.at(mesh, k).linked for k in range(6)]
    assert (seen[0] == seen[3]).all()
    assert not (seen[0] == seen[1]).all()
    assert all(rules.at(mesh, k).positions is mesh.positions for k in range(3))


def test_a_trace_counts_from_the_first_round(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "inputs" / "traces"
    folder.mkdir(parents=True)
    lines = ["round,device,x_m,y_m", "0,0,5,6", "0,1,7,8", "4,0,9,6", "4,1,7,12"]
    (folder / "walk.csv").write_text("\n".join(lines))
    monkeypatch.setenv("MESHTUNE_STATE_DIR", str(tmp_path))
    rules, mesh = changing(tiny_config(mobility__kind="trace", mobility__name="walk"))
    assert rules.at(mesh, 0).positions.tolist() == [[5, 6], [7, 8]]
    assert rules.at(mesh, 2).positions.tolist() == [[7, 6], [7, 10]]


def records(config: RunConfig) -> list:
    world = build_world(config)
    return [record for _, record in simulate(world, initial_state(world))]


def test_two_methods_meet_the_same_places_absences_fades_and_losses() -> None:
    """Paired comparison: what the air does depends on the seed, not on who sends what."""
    shared = {
        "fleet__devices": 6,
        "topology__kind": "k_nearest",
        "topology__neighbours": 3,
        "rounds": 3,
        "training__local_steps": 1,
        "churn__leave_prob": 0.2,
        "churn__link_up_prob": 0.9,
        **WALK,
        **AIR,
    }
    one = records(tiny_config(**shared))
    other = records(tiny_config(**shared, method__kind="so_lora", method__a_init="common"))
    assert any(not device.present for record in one for device in record.devices)
    common, lost = 0, 0
    for mine, theirs in zip(one, other, strict=True):
        for a, b in zip(mine.devices, theirs.devices, strict=True):
            assert (a.x_m, a.y_m, a.present) == (b.x_m, b.y_m, b.present)
        air = {(link.receiver, link.sender): link for link in theirs.links}
        for link in mine.links:
            twin = air.get((link.receiver, link.sender))
            if twin is None:
                continue
            # The paper's method sends copies on top: another split of the band, the same air.
            assert twin.snr_db == pytest.approx(link.snr_db, abs=1e-9)
            assert twin.delivered == link.delivered
            common, lost = common + 1, lost + (not link.delivered)
    assert common > 20
    assert 0 < lost < common


def test_absent_devices_train_on_and_neither_hear_nor_are_heard() -> None:
    config = tiny_config(
        fleet__devices=5,
        rounds=4,
        training__local_steps=1,
        churn__leave_prob=0.5,
        churn__return_prob=0.3,
        channel__kind="ideal",
    )
    seen = False
    for record in records(config):
        away = {device.device for device in record.devices if not device.present}
        seen |= bool(away)
        assert not any({link.sender, link.receiver} & away for link in record.links)
        assert all(np.isfinite(device.train_loss) for device in record.devices)
    assert seen


def test_a_run_over_a_changing_mesh_resumes_to_the_bit(tmp_path: object) -> None:
    config = tiny_config(
        fleet__devices=5,
        rounds=3,
        topology__kind="geometric",
        topology__range_m=60.0,
        training__local_steps=1,
        churn__leave_prob=0.3,
        channel__coherence="doppler",
        **AIR,
        **WALK,
    )
    world = build_world(config)
    whole = [record for _, record in simulate(world, initial_state(world))]
    state, _ = play_round(world, initial_state(world))
    save_state(world, state, tmp_path / "state.safetensors")
    again = build_world(config)
    rest = [r for _, r in simulate(again, load_state(again, tmp_path / "state.safetensors"))]
    assert [r.model_copy(update={"wall_s": 0}) for r in whole[1:]] == [
        r.model_copy(update={"wall_s": 0}) for r in rest
    ]


def test_the_slowest_device_holds_up_the_round() -> None:
    config = tiny_config(
        fleet__devices=3, rounds=1, fleet__hardware=["flagship", "flagship", "wearable"]
    )
    (record,) = records(config)
    slow = record.devices[2]
    assert slow.compute_s > 100 * record.devices[0].compute_s
    assert record.round_s >= slow.compute_s
    assert record.round_s <= slow.compute_s + record.airtime_s
    assert slow.compute_j == pytest.approx(0.6 * slow.compute_s)
    assert record.compute_j == pytest.approx(sum(d.compute_j for d in record.devices))


def test_receivers_pay_while_a_message_for_them_is_on_air() -> None:
    config = tiny_config(fleet__devices=3, rounds=1, channel__kind="radio", channel__rx_power_w=0.5)
    (record,) = records(config)
    for device in record.devices:
        heard_s = sum(k.airtime_s for k in record.links if k.receiver == device.device)
        assert device.receive_j == pytest.approx(0.5 * heard_s)
    assert record.receive_j == pytest.approx(sum(d.receive_j for d in record.devices))


def test_poor_devices_draw_from_few_samples() -> None:
    world = build_world(tiny_config(fleet__devices=4, fleet__samples_spread=16.0))
    assert sorted(world.samples) == [1, 3, 6, 16]
