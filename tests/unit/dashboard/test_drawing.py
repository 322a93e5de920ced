"""A mesh under the hand: edits, what makes no sense, undo, strokes, the table."""

import math
from typing import Any

import pytest

from meshtune.dashboard.design.drawing import (
    APART_M,
    DEVICES_MAX,
    FAR_M,
    UNDO_MOST,
    Drawing,
    Journal,
    applied,
    drawing_of,
    table_ops,
)


@pytest.fixture
def drawing() -> Drawing:
    """Three devices in a row, 0 - 1 - 2."""
    return drawing_of([(0, 0), (10, 0), (20, 0)], ["reading", "addition"], [(1, 0), (1, 2)])


def move(key: str, x: object, y: object = 0.0) -> dict[str, Any]:
    return {"op": "move", "moves": [[key, x, y]]}


def test_a_drawing_is_the_topology_of_a_config(drawing: Drawing) -> None:
    assert drawing.topology() == {
        "kind": "drawn",
        "positions": [{"x_m": 0, "y_m": 0}, {"x_m": 10, "y_m": 0}, {"x_m": 20, "y_m": 0}],
        "links": [[0, 1], [1, 2]],
    }
    assert drawing.tasks() == ["reading", "addition", "reading"]


def test_numbers_move_up_and_links_go_with_a_device(drawing: Drawing) -> None:
    rest = applied(drawing, {"op": "remove", "ids": ["0"]})
    assert rest.numbers == {"1": 0, "2": 1}
    assert rest.pairs() == [(0, 1)]
    assert applied(rest, {"op": "remove", "ids": ["1"]}).pairs() == []
    assert applied(drawing, {"op": "remove", "ids": ["0", "1", "2"]}) == drawing


def test_links_have_no_direction_and_no_double(drawing: Drawing) -> None:
    linked = applied(drawing, {"op": "link", "a": "2", "b": "0"})
    assert linked.pairs() == [(0, 1), (0, 2), (1, 2)]
    assert applied(linked, {"op": "link", "a": "0", "b": "2"}) == linked
    assert applied(linked, {"op": "unlink", "links": [["0", "2"]]}) == drawing


def test_two_devices_never_share_a_place(drawing: Drawing) -> None:
    met = applied(drawing, move("0", 10.0))
    assert met.devices[0].x_m == pytest.approx(10 + APART_M)
    edge = applied(applied(drawing, move("0", 1e9)), move("1", 1e9))
    assert [device.x_m for device in edge.devices[:2]] == [FAR_M, pytest.approx(FAR_M - APART_M)]
    same = drawing_of([(0, 0), (0.04, 0), (0, 0)], ["reading"], [])
    assert len({(device.x_m, device.y_m) for device in same.devices}) == 3


@pytest.mark.parametrize(
    "op",
    [
        {},
        {"op": None},
        {"op": "explode"},
        {"op": "add", "id": "9", "x": 1.0, "y": 1.0, "task": "singing"},
        {"op": "add", "id": "0", "x": 1.0, "y": 1.0, "task": "reading"},
        {"op": "add", "id": "9", "x": math.nan, "y": 1.0, "task": "reading"},
        {"op": "add", "id": "9", "x": "far", "y": 1.0, "task": "reading"},
        {"op": "add", "id": "9", "x": True, "y": 1.0, "task": "reading"},
        {"op": "move"},
        {"op": "move", "moves": 3},
        {"op": "move", "moves": [["0"]]},
        {"op": "move", "moves": [["nobody", 1.0, 1.0]]},
        move("0", math.inf),
        move("0", None),
        {"op": "link", "a": "0", "b": "0"},
        {"op": "link", "a": "0", "b": "nobody"},
        {"op": "unlink", "links": [["0"]]},
        {"op": "task", "ids": ["0"], "task": "\u2603"},
        {"op": "remove", "ids": None},
    ],
)
def test_what_makes_no_sense_changes_nothing(drawing: Drawing, op: dict[str, Any]) -> None:
    assert applied(drawing, op) == drawing


def test_a_full_mesh_takes_no_more() -> None:
    places = [(float(i), 0.0) for i in range(DEVICES_MAX)]
    full = drawing_of(places, ["reading"], [])
    more = applied(full, {"op": "add", "id": "new", "x": 5.0, "y": 5.0, "task": "reading"})
    assert more == full


def test_undo_and_redo(drawing: Drawing) -> None:
    journal = Journal(drawing)
    journal.do(move("0", -5.0))
    journal.do(move("0", -9.0))
    for x in (-5.0, 0.0, 0.0):
        journal.do({"op": "undo"})
        assert journal.drawing.devices[0].x_m == x
    journal.do({"op": "redo"})
    assert journal.drawing.devices[0].x_m == -5.0
    journal.do(move("1", 50.0))
    assert not journal.undone  # another edit ends what could be done again
    for x in range(UNDO_MOST + 20):
        journal.do(move("2", 100.0 + x))
    assert len(journal.done) == UNDO_MOST


def test_one_stroke_is_undone_in_one_step(drawing: Drawing) -> None:
    journal = Journal(drawing)
    for key in ("0", "1", "2"):
        journal.do({"op": "task", "ids": [key], "task": "ending", "stroke": "a"})
    journal.do({"op": "task", "ids": ["0"], "task": "reading", "stroke": "b"})
    journal.do({"op": "undo"})
    assert journal.drawing.tasks() == ["ending"] * 3
    # the same stroke after an undo is a step of its own: what is undone stays apart
    journal.do({"op": "task", "ids": ["0"], "task": "reading", "stroke": "a"})
    journal.do({"op": "undo"})
    assert journal.drawing.tasks() == ["ending"] * 3
    journal.do({"op": "undo"})
    assert journal.drawing == drawing


def test_an_edit_is_applied_once(drawing: Drawing) -> None:
    journal = Journal(drawing)
    ops = [{**move("0", -5.0), "seq": 1}, {"op": "undo", "seq": 2}, {**move("0", -7.0), "seq": 3}]
    assert journal.receive({"client": "c", "ops": ops[:2]})
    assert journal.receive({"client": "c", "ops": ops})
    assert not journal.receive({"client": "c", "ops": ops})
    assert journal.drawing.devices[0].x_m == -7.0
    assert journal.ack == {"c": 3}
    assert journal.receive({"client": "reloaded", "ops": [{**move("0", 3.0), "seq": 1}]})
    assert journal.ack == {"reloaded": 1}


@pytest.mark.parametrize(
    "sent",
    [
        None,
        [],
        "edits",
        {},
        {"ops": None},
        {"ops": "x"},
        {"ops": [None, 3, "x", []]},
        {"client": "c", "ops": [move("0", -5.0)]},
        {"client": "c", "ops": [{**move("0", -5.0), "seq": "1"}]},
        {"client": None, "ops": [{"op": ["move"], "seq": 1}]},
    ],
)
def test_what_no_editor_sends_changes_nothing(drawing: Drawing, sent: object) -> None:
    journal = Journal(drawing)
    assert not journal.receive(sent)
    assert journal.drawing == drawing


def test_the_table_edits_the_same_mesh(drawing: Drawing) -> None:
    edits = {
        "edited_rows": {0: {"task": "ending"}, 1: {"x_m": 12.5}, 2: {"y_m": None}},
        "deleted_rows": [2, 7],
        "added_rows": [{}, {"x_m": 40.0, "y_m": 1.0, "task": "addition"}],
    }
    for op in table_ops(drawing, edits):
        drawing = applied(drawing, op)
    assert drawing.tasks() == ["ending", "addition", "reading", "addition"]
    assert [device.x_m for device in drawing.devices] == [0.0, 12.5, pytest.approx(0.1), 40.0]
    assert len(drawing.numbers) == 4
