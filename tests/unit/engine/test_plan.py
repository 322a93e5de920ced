"""The preview of a config: what the map shows before anything runs."""

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from engine.config import RunConfig
from engine.plan import Preview, preview
from engine.topology import build_mesh

ROOT = Path(__file__).resolve().parents[3]


def asked(**parts: object) -> RunConfig:
    return RunConfig.model_validate({"fleet": {"devices": 6}, **parts})


def test_the_preview_is_the_mesh_of_the_run() -> None:
    config = asked()
    mesh = build_mesh(config)
    shown = preview(config)
    assert [(d.x_m, d.y_m) for d in shown.devices] == [tuple(p) for p in mesh.positions]
    assert [d.task for d in shown.devices] == [config.fleet.task_of(i) for i in range(6)]
    assert len(shown.links) == mesh.linked.sum()
    assert all(mesh.linked[link.receiver, link.sender] for link in shown.links)


def test_merges_of_the_preview_replay_to_its_clusters() -> None:
    config = asked(topology={"kind": "agnes"}, method={"kind": "so_lora", "density": 0.25})
    mesh = build_mesh(config)
    shown = preview(config)
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


def test_a_preview_without_clusters_has_one_and_no_merges() -> None:
    shown = preview(asked())
    assert shown.clusters == (0,) * 6
    assert shown.merges == ()


def test_the_preview_of_clusters_survives_the_wire() -> None:
    for channel in ("paper", "ideal"):
        shown = preview(asked(topology={"kind": "agnes"}, channel={"kind": channel}))
        assert Preview.model_validate_json(shown.model_dump_json()) == shown


def test_a_preview_loads_no_torch() -> None:
    # In a process of its own: the tests have loaded torch long ago.
    program = (
        "import sys; from engine.config import RunConfig; from engine.plan import preview; "
        "preview(RunConfig.model_validate({'topology': {'kind': 'agnes'}})); "
        "sys.exit(int(bool({'torch', 'transformers'} & set(sys.modules))))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def test_the_band_of_a_sender_is_shared_by_its_neighbours() -> None:
    places = [{"x_m": 0, "y_m": 0}, {"x_m": 5, "y_m": 0}, {"x_m": -5, "y_m": 0}]
    config = RunConfig.model_validate(
        {
            "fleet": {"devices": 3},
            "topology": {"kind": "drawn", "positions": places, "links": [(0, 1), (0, 2)]},
            "channel": {"kind": "paper", "fading": "none", "bandwidth_hz": 1e6},
        }
    )
    rates = {(link.receiver, link.sender): link.mean_rate_bit_s for link in preview(config).links}
    assert rates[0, 1] == pytest.approx(7.4e6)
    assert rates[1, 0] == pytest.approx(3.7e6)


def test_the_outage_needs_a_payload() -> None:
    assert all(link.outage_prob is None for link in preview(asked()).links)
    short = [link.outage_prob for link in preview(asked(), payload_bits=1000).links]
    long = [link.outage_prob for link in preview(asked(), payload_bits=10**12).links]
    assert all(prob is not None and prob < 1e-6 for prob in short)
    assert all(prob == 1.0 for prob in long)


def test_fading_lowers_the_mean_rate() -> None:
    far = {"kind": "ring", "radius_m": 2000}
    faded = preview(asked(topology=far)).links
    steady = preview(asked(topology=far, channel={"kind": "paper", "fading": "none"})).links
    for with_fading, without in zip(faded, steady, strict=True):
        assert with_fading.mean_snr_db == without.mean_snr_db
        assert with_fading.mean_rate_bit_s < without.mean_rate_bit_s


def test_an_ideal_medium_has_no_radio_numbers() -> None:
    for link in preview(asked(channel={"kind": "ideal"})).links:
        assert link.mean_snr_db is link.mean_rate_bit_s is link.outage_prob is None
        assert link.distance_m > 0
