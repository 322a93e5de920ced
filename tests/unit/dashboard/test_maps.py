"""The map says who, where, how well, and what was lost."""

from meshtune.dashboard.figures import maps
from meshtune.dashboard.look import theme
from meshtune.engine.records import RoundRecord
from tests.support.fake_api import fake_config, fake_plan, fake_record


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


def test_a_single_device_has_a_picture() -> None:
    mesh = fake_plan(
        fake_config(fleet={"devices": 1, "tasks": ["ending"]}, topology={"kind": "full"})
    )
    assert maps.picture_svg(mesh, "light").count("<path") == 1


def test_the_picture_shows_every_device_and_link() -> None:
    mesh = fake_plan(
        fake_config(topology={"kind": "ring"}, fleet={"devices": 8, "tasks": ["reading"]})
    )
    svg = maps.picture_svg(mesh, "dark")
    assert svg.count("<circle") == 8
    assert svg.count("<path") == 8


def test_a_lost_message_is_lost_whatever_the_reason() -> None:
    record = fake_record(fake_config(), 3)
    lost = tuple(link.model_copy(update={"delivered": False}) for link in record.links)
    payload = maps.round_map(record.model_copy(update={"links": lost}), {}, "light")
    tips = [link["to_a"]["tip"][1] for link in payload["links"]]
    assert all(tip.endswith(", lost") for tip in tips)


def with_devices(record: RoundRecord, **changes: dict[int, object]) -> RoundRecord:
    """The record with fields of some devices replaced: `field={device: value}`."""
    devices = [
        each.model_copy(
            update={name: of[each.device] for name, of in changes.items() if each.device in of}
        )
        for each in record.devices
    ]
    return record.model_copy(update={"devices": tuple(devices)})


def test_a_device_out_of_reach_is_grey_and_says_so() -> None:
    record = with_devices(fake_record(fake_config(), 0), present={3: False})
    payload = maps.round_map(record, {3: 0.5}, "dark")
    look = payload["tasks"][payload["nodes"][3]["task"]]
    assert (look["color"], look["filled"]) == (theme.MUTED.dark, False)
    tip = payload["nodes"][3]["tip"]
    assert tip[0].startswith("Device 3 · ")
    assert tip[1].startswith("out of reach")
    assert payload["nodes"][2]["task"] in theme.TASKS


def test_without_absent_devices_the_legend_knows_tasks_only() -> None:
    payload = maps.round_map(fake_record(fake_config(), 0), {}, "light")
    assert set(payload["tasks"]) <= set(theme.TASKS)


def test_the_slowest_device_computes_and_sends_longest() -> None:
    record = fake_record(fake_config(method={"kind": "local"}), 0)
    even = with_devices(record, compute_s=dict.fromkeys(range(8), 2.0))
    assert maps.slowest_device(even) is None
    assert maps.slowest_device(with_devices(even, compute_s={5: 3.0})) == 5
    busy = with_devices(even, compute_s={5: 3.0}, airtime_s={6: 1.5})
    assert maps.slowest_device(busy) == 6
    assert maps.slowest_device(even.model_copy(update={"devices": even.devices[:1]})) is None


def test_links_that_carried_nothing_are_pale_and_counted() -> None:
    record = fake_record(fake_config(), 3)
    pairs = {(min(k.receiver, k.sender), max(k.receiver, k.sender)) for k in record.links}
    gone = min(pairs)
    kept = tuple(k for k in record.links if {k.receiver, k.sender} != {*gone})
    payload = maps.round_map(record.model_copy(update={"links": kept}), {}, "light", pairs)
    assert f"· {len(pairs) - 1} of {len(pairs)}\u00a0links used" in payload["summary"]
    first = payload["links"][0]
    assert (first["a"], first["b"]) == tuple(map(str, gone))
    assert first["to_a"]["color"] == theme.HAIRLINE.light
    assert first["to_a"]["tip"][1] == "nothing sent this round"
    assert "used" not in maps.round_map(record, {}, "light", pairs)["summary"]


def test_the_map_of_a_plan_has_its_links_and_no_rings() -> None:
    mesh = fake_plan(fake_config(topology={"kind": "ring"}, fleet={"devices": 8}))
    payload = maps.planned_map(mesh, "dark")
    assert payload["summary"].endswith("8\u00a0links")
    assert all(node["ring"] is None for node in payload["nodes"])
    assert not any(link["to_a"]["flow"] for link in payload["links"])
