"""The map says who, where, how well, and what was lost."""

import pytest

from dashboard import maps, theme
from engine.plan import preview
from tests.support.fake_api import fake_config, fake_record


def test_a_half_link_is_the_message_that_its_end_received() -> None:
    config = fake_config()
    record = fake_record(config, 3)
    first = record.links[0]
    lost = first.model_copy(update={"delivered": False})
    others = tuple(link.model_copy(update={"delivered": True}) for link in record.links[1:])
    payload = maps.round_map(
        record.model_copy(update={"links": (lost, *others)}), {0: 0.5}, "light"
    )
    ends = {str(first.receiver), str(first.sender)}
    pair = next(link for link in payload["links"] if {link["a"], link["b"]} == ends)
    at_receiver, at_sender = (
        ("to_a", "to_b") if pair["a"] == str(first.receiver) else ("to_b", "to_a")
    )
    assert pair[at_receiver]["lost"]
    assert pair[at_receiver]["color"] == theme.BAD.light
    assert not pair[at_sender]["lost"]
    assert payload["summary"].endswith("1 lost")


def test_the_ring_is_there_only_where_accuracy_is_known() -> None:
    record = fake_record(fake_config(), 0)
    nodes = maps.round_map(record, {0: 0.5}, "dark")["nodes"]
    assert nodes[0]["ring"] == 0.5
    assert nodes[1]["ring"] is None
    assert nodes[1]["label"] == ""


@pytest.mark.parametrize("channel", ["paper", "ideal"])
def test_a_preview_shows_every_device_and_each_pair_once(channel: str) -> None:
    mesh = preview(fake_config(channel={"kind": channel}))
    payload = maps.preview_map(mesh, "light")
    assert len(payload["nodes"]) == len(mesh.devices)
    assert 2 * len(payload["links"]) == len(mesh.links)
    assert list(payload["tasks"]) == ["reading", "addition", "expression", "instruction"]


def test_a_single_device_has_a_map_and_a_picture() -> None:
    mesh = preview(
        fake_config(fleet={"devices": 1, "tasks": ["ending"]}, topology={"kind": "full"})
    )
    assert maps.preview_map(mesh, "light")["links"] == []
    assert maps.picture_svg(mesh, "light").count("<path") == 1


def test_the_picture_shows_every_device_and_link() -> None:
    mesh = preview(
        fake_config(topology={"kind": "ring"}, fleet={"devices": 8, "tasks": ["reading"]})
    )
    svg = maps.picture_svg(mesh, "dark")
    assert svg.count("<circle") == 8
    assert svg.count("<path") == 8
