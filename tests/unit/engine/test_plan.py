"""The plan of a config: what the map shows and what a run will cost, before anything runs."""

import math
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meshtune.engine.config import RunConfig
from meshtune.engine.planning.plan import mean_collision, plan, problems, usual_bits
from meshtune.engine.plans import Plan
from meshtune.engine.topology import build_mesh

ROOT = Path(__file__).resolve().parents[3]
VALUES = 96_256  # of A and B at rank 8, by hand in test_preset_bits.py
GOSSIP = 16 * VALUES  # bits of a plain LoRA message
OWN = 16 * 26_112  # bits of half of B

# Three on a line, the one in the middle with two neighbours; no fading.
PLACES = [{"x_m": 0, "y_m": 0}, {"x_m": 5, "y_m": 0}, {"x_m": -5, "y_m": 0}]
LINE: dict[str, Any] = {
    "fleet": {"devices": 3},
    "topology": {"kind": "drawn", "positions": PLACES, "links": [(0, 1), (0, 2)]},
    "method": {"kind": "lora_gossip"},
    "channel": {"kind": "paper", "fading": "none", "bandwidth_hz": 1e6},
}


def asked(**parts: object) -> RunConfig:
    return RunConfig.model_validate({"fleet": {"devices": 6}, "rounds": 6, **parts})


def test_the_plan_shows_the_mesh_of_the_run() -> None:
    config = asked()
    mesh = build_mesh(config)
    shown = plan(config)
    assert [(d.x_m, d.y_m) for d in shown.devices] == [tuple(p) for p in mesh.positions]
    assert [d.task for d in shown.devices] == [config.fleet.task_of(i) for i in range(6)]
    assert len(shown.links) == mesh.linked.sum()
    assert all(mesh.linked[link.receiver, link.sender] for link in shown.links)


def test_merges_of_the_plan_replay_to_its_clusters() -> None:
    config = asked(topology={"kind": "agnes"}, method={"kind": "so_lora", "density": 0.25})
    mesh = build_mesh(config)
    shown = plan(config)
    cluster = [{device} for device in range(6)]
    for merge, built in zip(shown.merges, mesh.merges, strict=True):
        assert merge.model_dump() == asdict(built)
        union = {*merge.left, *merge.right}
        for device in union:
            cluster[device] = union
    assert shown.clusters == tuple(mesh.cluster.tolist())
    for device, members in enumerate(cluster):
        assert members == {i for i in range(6) if shown.clusters[i] == shown.clusters[device]}
    assert len(set(shown.clusters)) > 1


def test_a_plan_without_clusters_has_one_and_no_merges() -> None:
    shown = plan(asked())
    assert shown.clusters == (0,) * 6
    assert shown.merges == ()


@pytest.mark.parametrize("channel", ["paper", "ideal", "radio"])
def test_a_plan_survives_the_wire(channel: str) -> None:
    shown = plan(asked(topology={"kind": "agnes"}, channel={"kind": channel}))
    assert Plan.model_validate_json(shown.model_dump_json()) == shown


def test_a_plan_loads_no_torch() -> None:
    # In a process of its own: the tests have loaded torch long ago.
    program = (
        "import sys; from meshtune.engine.config import RunConfig; "
        "from meshtune.engine.planning.plan import plan, problems; "
        "config = RunConfig.model_validate({'topology': {'kind': 'agnes'}}); "
        "problems(config, plan(config)); "
        "sys.exit(int(bool({'torch', 'transformers'} & set(sys.modules))))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


# Links


def test_the_band_of_a_sender_is_shared_by_its_neighbours() -> None:
    rates = {
        (link.receiver, link.sender): link.mean_rate_bit_s
        for link in plan(RunConfig.model_validate(LINE)).links
    }
    assert rates[0, 1] == pytest.approx(7.4e6)
    assert rates[1, 0] == pytest.approx(3.7e6)


def test_fading_lowers_the_mean_rate() -> None:
    far = {"kind": "ring", "radius_m": 2000}
    faded = plan(asked(topology=far)).links
    steady = plan(asked(topology=far, channel={"kind": "paper", "fading": "none"})).links
    for with_fading, without in zip(faded, steady, strict=True):
        assert with_fading.mean_snr_db == without.mean_snr_db
        assert with_fading.mean_rate_bit_s < without.mean_rate_bit_s


def test_an_ideal_medium_has_no_radio_numbers() -> None:
    shown = plan(asked(channel={"kind": "ideal"}))
    assert shown.snr_db is shown.rate_bit_s is shown.outage_prob is None
    for link in shown.links:
        assert link.mean_snr_db is link.mean_rate_bit_s is link.outage_prob is None
        assert link.distance_m > 0


def test_who_never_sends_has_no_outage() -> None:
    shown = plan(asked(method={"kind": "local"}))
    assert shown.outage_prob is None
    assert shown.total.delivered_fraction is None
    assert shown.total.payload_bits == 0


def test_links_without_a_message_of_their_own_are_judged_by_one_expert() -> None:
    config = asked(
        topology={"kind": "clusters"},
        fleet={"devices": 4, "tasks": ["addition", "reading"]},
        method={"kind": "so_lora"},
    )
    mesh = build_mesh(config)
    bits = usual_bits(config, mesh)
    assert set(bits[mesh.linked].tolist()) == {OWN}
    assert not bits[~mesh.linked].any()
    assert (mesh.linked & ~mesh.inside).any()


def test_spreads_are_percentiles_over_the_links() -> None:
    shown = plan(asked())
    values = [link.mean_rate_bit_s for link in shown.links]
    spread = shown.rate_bit_s
    assert spread is not None
    assert [spread.low, spread.median, spread.high] == pytest.approx(
        np.percentile(values, (10, 50, 90)).tolist()
    )


# Graph and collisions


def test_the_facts_of_a_ring_of_six() -> None:
    graph = plan(asked(topology={"kind": "ring"})).graph
    assert (graph.degree_min, graph.degree_mean, graph.degree_max) == (2, 2.0, 2)
    assert (graph.components, graph.diameter) == (1, 3)
    assert graph.algebraic_connectivity == pytest.approx(2 - 2 * math.cos(math.pi / 3))
    # Weights of a third each: the second eigenvalue is 1/3 + 2/3 cos 60 degrees.
    assert graph.spectral_gap == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("method", "rate"),
    [
        ({"kind": "so_lora", "density": 0.5}, 0.25),
        ({"kind": "so_lora", "density": 0.5, "mask": "disjoint"}, 0.25),
        ({"kind": "lori", "density": 0.1}, 0.01),
        ({"kind": "lori"}, None),
        ({"kind": "so_lora", "density": 1.0}, None),
        ({"kind": "lora_gossip"}, None),
    ],
)
def test_two_devices_collide_with_the_square_of_their_density(
    method: dict[str, Any], rate: float | None
) -> None:
    config = asked(fleet={"devices": 2}, topology={"kind": "full"}, method=method)
    assert plan(config).collision == (None if rate is None else pytest.approx(rate))


def test_devices_alone_in_their_clusters_do_not_collide() -> None:
    config = asked(topology={"kind": "clusters"}, fleet={"devices": 2}, method={"kind": "so_lora"})
    assert mean_collision(config, build_mesh(config)) == 0.0


# Costs


def test_plain_lora_on_three_devices_costs_what_a_hand_computes() -> None:
    shown = plan(RunConfig.model_validate({**LINE, "rounds": 4}))
    # The middle sends two messages over half the band each, the others one over all of it.
    slow_s = GOSSIP / 3.7e6
    power_w = 10 ** (23.0 / 10) * 1e-3
    cost = shown.later_round
    assert cost.parameters_sent == 4 * VALUES
    assert cost.payload_bits == 4 * GOSSIP
    assert cost.airtime_s == pytest.approx(slow_s)
    assert cost.transmit_j == pytest.approx(power_w * (slow_s + slow_s / 2 * 2))
    assert cost.bandwidth_time_hz_s == pytest.approx(1e6 * (slow_s + slow_s / 2 * 2))
    assert cost.round_s == pytest.approx(cost.compute_s + slow_s)
    assert cost.delivered_fraction == 1.0
    assert shown.total.payload_bits == 4 * cost.payload_bits
    assert shown.total.round_s == pytest.approx(4 * cost.round_s)
    assert shown.total == shown.plain_lora
    assert shown.saving_fraction == 0.0


def test_the_saving_is_against_plain_lora_on_the_same_mesh() -> None:
    config = asked(
        topology={"kind": "random", "degree": 2},
        method={"kind": "choco_gossip", "density": 0.25},
    )
    shown = plan(config)
    links = len(shown.links)
    assert shown.plain_lora.payload_bits == 6 * links * GOSSIP
    assert shown.total.payload_bits == 6 * links * (GOSSIP // 4 + VALUES)
    assert shown.saving_fraction == pytest.approx(1 - 0.3125)


def test_a_broadcast_puts_each_message_on_air_once() -> None:
    radio = {"kind": "radio", "access": {"kind": "broadcast"}}
    shown = plan(asked(topology={"kind": "full"}, method={"kind": "ffa_gossip"}, channel=radio))
    values = 52_224  # of B
    assert shown.first_round.payload_bits == 6 * 16 * values
    assert shown.first_round.parameters_sent == 6 * values


def test_a_total_is_the_first_round_and_the_later_ones() -> None:
    shown = plan(asked(channel={"kind": "radio"}, rounds=7))
    first, later, total = shown.first_round, shown.later_round, shown.total
    for name in ("parameters_sent", "payload_bits", "airtime_s", "transmit_j", "round_s"):
        summed = getattr(first, name) + 6 * getattr(later, name)
        assert getattr(total, name) == pytest.approx(summed)


def test_a_device_alone_sends_nothing_and_saves_nothing() -> None:
    shown = plan(asked(fleet={"devices": 1}, rounds=1))
    assert shown.total.payload_bits == shown.plain_lora.payload_bits == 0
    assert shown.later_round.round_s == 0.0
    assert shown.saving_fraction is None
    assert problems(asked(fleet={"devices": 1}), shown) == []


# Problems


def fields(config: RunConfig) -> list[str]:
    return [field for field, _ in problems(config)]


@pytest.mark.parametrize("kind", ["ideal", "paper", "radio"])
def test_a_sound_config_has_no_problem(kind: str) -> None:
    assert problems(asked(channel={"kind": kind})) == []


def test_a_deadline_that_no_link_meets_is_named_with_what_the_best_link_needs() -> None:
    late = RunConfig.model_validate(
        {**LINE, "channel": {**LINE["channel"], "deadline_s": 0.1}, "rounds": 2}
    )
    [(field, message)] = problems(late)
    assert field == "channel.deadline_s"
    assert f"{GOSSIP:,} bit" in message
    assert f"{GOSSIP / 7.4e6:.3g} s" in message  # by a sender with one neighbour, at the cap
    in_time = RunConfig.model_validate(
        {**LINE, "channel": {**LINE["channel"], "deadline_s": 0.21}, "rounds": 2}
    )
    assert problems(in_time) == []


def test_who_never_sends_meets_every_deadline() -> None:
    channel = {"kind": "paper", "deadline_s": 1e-6}
    assert problems(asked(method={"kind": "local"}, channel=channel)) == []


@pytest.mark.parametrize("rate", ["shannon", "mcs"])
def test_too_little_power_is_named(rate: str) -> None:
    channel = {"kind": "radio", "rate": rate, "tx_power_dbm": -50.0}
    far = {"kind": "ring", "radius_m": 20_000.0}
    assert fields(asked(channel=channel, topology=far)) == ["channel.tx_power_dbm"]


def test_hardware_slower_than_the_deadline_of_the_round_is_named() -> None:
    channel = {"kind": "radio", "deadline_covers": "round", "deadline_s": 5.0}
    slow = {"devices": 6, "hardware": ["wearable"]}
    [(field, message)] = problems(asked(channel=channel, fleet=slow))
    assert field == "channel.deadline_s"
    assert "computes for" in message
    assert problems(asked(channel=channel)) == []


def test_one_slow_device_among_fast_ones_is_no_problem() -> None:
    channel = {"kind": "radio", "deadline_covers": "round", "deadline_s": 5.0}
    mixed = {"devices": 6, "hardware": ["wearable", *["flagship"] * 5]}
    config = asked(channel=channel, fleet=mixed, method={"kind": "lora_gossip"})
    planned = plan(config)
    assert planned.total.delivered_fraction is not None
    assert planned.total.delivered_fraction < 1.0
    assert problems(config, planned) == []


def test_packets_that_break_on_every_link_are_named() -> None:
    hopeless = {"kind": "waterfall", "threshold_db": 30.0}
    near = {"kind": "ring", "radius_m": 60.0}
    config = asked(
        channel={"kind": "radio", "loss": hopeless, "tx_power_dbm": -10.0},
        topology=near,
        method={"kind": "ffa_gossip"},
    )
    [(field, message)] = problems(config)
    assert field == "channel.tx_power_dbm"
    assert "channel.loss" in message


def test_missing_files_are_named_at_their_fields(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESHTUNE_STATE_DIR", str(tmp_path))
    config = asked(
        topology={"kind": "random"},
        channel={"kind": "radio", "path_loss": {"kind": "gain_table", "name": "nowhere"}},
        mobility={"kind": "trace", "name": "nobody"},
    )
    found = dict(problems(config))
    assert set(found) == {"channel.path_loss.name", "mobility.name"}
    assert "nowhere.npz" in found["channel.path_loss.name"]
    assert "nobody.csv" in found["mobility.name"]


def test_devices_too_fast_for_their_area_are_named() -> None:
    fast = {"kind": "random_waypoint", "speed_min_m_s": 900, "speed_max_m_s": 1000}
    small = {"kind": "ring", "radius_m": 5}
    assert fields(asked(mobility=fast, topology=small)) == ["mobility.interval_s"]
