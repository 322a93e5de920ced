"""A mesh under the hand: devices, links, edits of the map and of the table, undo. Pure.

Devices have keys that stay while they live, so that edits on their way name the right one; their
numbers are their places in the list and move up when an earlier one goes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from meshtune.engine.config import TASK_NAMES, TaskName
from meshtune.engine.plans import Plan

DEVICES_MAX = 256
FAR_M = 100_000.0
APART_M = 0.1  # two devices may not share a place
UNDO_MOST = 200
KEY_MOST = 40  # letters of a key that a browser may make


@dataclass(frozen=True)
class Device:
    """One device on the map."""

    key: str
    x_m: float
    y_m: float
    task: TaskName


@dataclass(frozen=True)
class Drawing:
    """Devices in the order of their numbers, and linked pairs of keys."""

    devices: tuple[Device, ...] = ()
    links: frozenset[tuple[str, str]] = frozenset()

    @property
    def numbers(self) -> dict[str, int]:
        """Number of each device by its key."""
        return {device.key: number for number, device in enumerate(self.devices)}

    def pairs(self) -> list[tuple[int, int]]:
        """Linked pairs of numbers, the lower first, in order."""
        numbers = self.numbers
        found = [(numbers[a], numbers[b]) for a, b in self.links]
        return sorted((min(pair), max(pair)) for pair in found)

    def topology(self) -> dict[str, Any]:
        """The branch `topology` of a config."""
        return {
            "kind": "drawn",
            "positions": [{"x_m": d.x_m, "y_m": d.y_m} for d in self.devices],
            "links": [list(pair) for pair in self.pairs()],
        }

    def tasks(self) -> list[TaskName]:
        """Task of every device."""
        return [device.task for device in self.devices]


def drawing_of(
    places: Sequence[tuple[float, float]], tasks: Sequence[TaskName], pairs: Iterable[Sequence[int]]
) -> Drawing:
    """A drawing with keys 0, 1, 2, ..."""
    devices = tuple(
        Device(str(i), round(x, 1), round(y, 1), tasks[i % len(tasks)])
        for i, (x, y) in enumerate(places)
    )
    links = frozenset(_pair(str(a), str(b)) for a, b in pairs if a != b)
    apart = Drawing((), links)
    for device in devices:  # rounded, two may have met
        apart = replace(apart, devices=(*apart.devices, _placed(apart, device)))
    return apart


def drawing_of_plan(plan: Plan) -> Drawing:
    """The mesh that a plan shows."""
    places = [(device.x_m, device.y_m) for device in plan.devices]
    pairs = {(min(k.receiver, k.sender), max(k.receiver, k.sender)) for k in plan.links}
    return drawing_of(places, [device.task for device in plan.devices], sorted(pairs))


def applied(
    drawing: Drawing, op: Mapping[str, Any], tasks: Sequence[TaskName] = TASK_NAMES
) -> Drawing:
    """The drawing after one edit. What is out of date or makes no sense changes nothing.

    Args:
        drawing: as it was.
        op: the edit.
        tasks: that a device may hold.
    """
    edits = {"add": _add, "move": _move, "remove": _remove, "link": _link, "unlink": _unlink,
             "task": _task}  # fmt: skip
    edit = edits.get(str(op.get("op")))
    if edit is None or op.get("task", tasks[0]) not in tasks:
        return drawing
    try:
        return edit(drawing, op)
    except (KeyError, TypeError, ValueError, AttributeError):
        return drawing


def _add(drawing: Drawing, op: Mapping[str, Any]) -> Drawing:
    key, task = str(op["id"])[:KEY_MOST], op["task"]
    full = len(drawing.devices) >= DEVICES_MAX
    if full or key in drawing.numbers:
        return drawing
    device = Device(key, _metres(op["x"]), _metres(op["y"]), task)
    return replace(drawing, devices=(*drawing.devices, _placed(drawing, device)))


def _move(drawing: Drawing, op: Mapping[str, Any]) -> Drawing:
    moves = {str(key): (_metres(x), _metres(y)) for key, x, y in op["moves"]}
    settled = [device for device in drawing.devices if device.key not in moves]
    there: dict[str, Device] = {}
    for device in drawing.devices:
        if device.key in moves:
            x, y = moves[device.key]
            there[device.key] = _placed(Drawing(tuple(settled)), replace(device, x_m=x, y_m=y))
            settled.append(there[device.key])
    return replace(drawing, devices=tuple(there.get(d.key, d) for d in drawing.devices))


def _remove(drawing: Drawing, op: Mapping[str, Any]) -> Drawing:
    gone = {str(key) for key in op["ids"]}
    kept = tuple(device for device in drawing.devices if device.key not in gone)
    if not kept:  # a mesh has one device at least
        return drawing
    links = frozenset(pair for pair in drawing.links if not gone & set(pair))
    return Drawing(kept, links)


def _link(drawing: Drawing, op: Mapping[str, Any]) -> Drawing:
    a, b = str(op["a"]), str(op["b"])
    if a == b or not {a, b} <= drawing.numbers.keys():
        return drawing
    return replace(drawing, links=drawing.links | {_pair(a, b)})


def _unlink(drawing: Drawing, op: Mapping[str, Any]) -> Drawing:
    gone = {_pair(str(a), str(b)) for a, b in op["links"]}
    return replace(drawing, links=drawing.links - gone)


def _task(drawing: Drawing, op: Mapping[str, Any]) -> Drawing:
    painted, task = {str(key) for key in op["ids"]}, op["task"]
    devices = (replace(d, task=task) if d.key in painted else d for d in drawing.devices)
    return replace(drawing, devices=tuple(devices))


def _pair(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a < b else (b, a)


def _metres(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("no length")
    return round(min(FAR_M, max(-FAR_M, float(value))), 1)


def _placed(drawing: Drawing, device: Device) -> Device:
    """The device, moved a little where another one stands already."""
    taken = {(d.x_m, d.y_m) for d in drawing.devices if d.key != device.key}
    while (device.x_m, device.y_m) in taken:
        step = APART_M if device.x_m < FAR_M else -APART_M
        device = replace(device, x_m=round(device.x_m + step, 1))
    return device


# The table


def table_ops(drawing: Drawing, edits: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Edits of the table of devices, as `st.data_editor` keeps them, as edits of the map."""
    ops: list[dict[str, Any]] = []
    keys = [device.key for device in drawing.devices]
    for row, change in edits.get("edited_rows", {}).items():
        device = drawing.devices[int(row)]
        if change.get("task"):
            ops.append({"op": "task", "ids": [device.key], "task": change["task"]})
        x, y = change.get("x_m", device.x_m), change.get("y_m", device.y_m)
        if x is not None and y is not None and (x, y) != (device.x_m, device.y_m):
            ops.append({"op": "move", "moves": [[device.key, x, y]]})
    gone = [keys[row] for row in edits.get("deleted_rows", []) if row < len(keys)]
    if gone:
        ops.append({"op": "remove", "ids": gone})
    for place, row in enumerate(edits.get("added_rows", [])):
        new = {"id": _fresh(drawing, place), "x": row.get("x_m") or 0.0, "y": row.get("y_m") or 0.0}
        ops.append({"op": "add", "task": row.get("task") or drawing.devices[0].task, **new})
    return ops


def _fresh(drawing: Drawing, place: int) -> str:
    used = {int(d.key) for d in drawing.devices if d.key.isdecimal()}
    return str(max(used, default=-1) + 1 + place)


# Edits over time


@dataclass
class Journal:
    """A drawing with what was done to it; `rev` grows with every change."""

    drawing: Drawing
    tasks: tuple[TaskName, ...] = TASK_NAMES  # that a device may hold
    rev: int = 0
    done: list[Drawing] = field(default_factory=list)
    undone: list[Drawing] = field(default_factory=list)
    ack: dict[str, int] = field(default_factory=dict)
    _stroke: object = None  # of the newest step that can be undone

    def receive(self, edits: object) -> bool:
        """Apply what a browser sent and was not seen before; whether the drawing has changed.

        What is not a list of numbered edits changes nothing.
        """
        sent: Mapping[str, Any] = edits if isinstance(edits, Mapping) else {}
        client, before = str(sent.get("client", ""))[:KEY_MOST], self.rev
        ops = sent.get("ops")
        for op in ops if isinstance(ops, list) else []:
            number = op.get("seq") if isinstance(op, Mapping) else None
            if isinstance(number, int) and number > self.ack.get(client, 0):
                self.ack = {client: number}  # one browser per session
                self.do(op)
        return self.rev != before

    def do(self, op: Mapping[str, Any]) -> None:
        """One edit, undo and redo included. Edits of one stroke of a brush are undone together."""
        if op.get("op") == "undo":
            self._swap(self.done, self.undone)
        elif op.get("op") == "redo":
            self._swap(self.undone, self.done)
        else:
            self.replace(applied(self.drawing, op, self.tasks), op.get("stroke"))

    def replace(self, drawing: Drawing, stroke: object = None) -> None:
        """Another drawing in one step that can be undone, or in the step of the stroke before."""
        if drawing == self.drawing:
            return
        if stroke is None or stroke != self._stroke:
            self.done = [*self.done, self.drawing][-UNDO_MOST:]
        self.undone, self._stroke = [], stroke
        self.drawing, self.rev = drawing, self.rev + 1

    def show(self, drawing: Drawing) -> None:
        """Follow what a form makes, which is undone in the form."""
        if drawing != self.drawing:
            self.drawing, self.rev = drawing, self.rev + 1

    def _swap(self, source: list[Drawing], target: list[Drawing]) -> None:
        if source:
            target.append(self.drawing)
            self.drawing, self.rev = source.pop(), self.rev + 1
            self._stroke = None
