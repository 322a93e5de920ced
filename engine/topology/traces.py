"""Where devices go by a file: our own CSV by rounds, or what traffic simulators write by seconds.

Read are CSV with the columns round, device, x_m and y_m; SUMO's FCD output, as XML or as a table;
and the movements of ns-2 (`setdest`). The content says which it is. docs/mesh.md has the rules.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from jaxtyping import Bool, Float64, Int64

from meshtune.engine.errors import ConfigMismatch
from meshtune.engine.geometry import centred
from meshtune.engine.texts import Sheet, read_text, sheet_of, xml_parts

# In this order they are looked for; whatever the ending, the content counts.
SUFFIXES = (".csv", ".xml", ".tcl", ".txt")
COLUMNS = ("round", "device", "x_m", "y_m")
ROUNDS_MAX = 10_000  # of a run
KINDS = ("vehicle", "person", "container")
TIMES = ("timestep_time", "time")
NODE_SET = re.compile(r"\$node_\((\d{1,9})\)\s+set\s+([XYZ])_\s+([^\s;]+)")
SETDEST = re.compile(
    r'\$ns_\s+at\s+(\S+)\s+"\$node_\((\d{1,9})\)\s+setdest\s+(\S+)\s+(\S+)\s+([^\s"]+)"'
)

Path2 = list[tuple[float, complex]]  # seconds, and the place x + i y then


@dataclass(frozen=True)
class Traced:
    """Places of a file: straight lines between the rounds it gives, held before and after.

    `rounds` are all rounds that the file names for any device, ascending.
    """

    rounds: Int64[np.ndarray, " k"]
    given: Float64[np.ndarray, "k n 2"]

    def places(self, round_index: int) -> Float64[np.ndarray, "n 2"]:
        """See `Motion`."""
        after = int(np.searchsorted(self.rounds, round_index, side="right"))
        if after == 0 or after == len(self.rounds):
            held: Float64[np.ndarray, "n 2"] = self.given[max(after - 1, 0)]
            return held
        before, behind = int(self.rounds[after - 1]), int(self.rounds[after])
        share = (round_index - before) / (behind - before)
        between: Float64[np.ndarray, "n 2"] = (1.0 - share) * self.given[
            after - 1
        ] + share * self.given[after]
        return between


def read_trace(file: Path, devices: int, interval_s: float = 1.0) -> Traced:
    """The trace in a file.

    A table by rounds may skip rounds of a device; rounds count from 0. A file by seconds is read at
    the times of the rounds: round k is `k interval_s` after the first time in it. In between, a
    device goes straight; before its first and after its last time it stands still.

    Raises:
        ConfigMismatch: the file is no trace, or one of other devices; one sentence says what.
    """
    try:
        text = read_text(file)
        if text.lstrip().startswith("<"):
            traced = _by_seconds(_fcd_xml(text), devices, interval_s)
        elif "$node_(" in text:
            traced = _by_seconds(_ns2(text), devices, interval_s)
        else:
            sheet = sheet_of(text)
            if "round" not in sheet.header and any(time in sheet.header for time in TIMES):
                traced = _by_seconds(_fcd_table(sheet), devices, interval_s)
            else:
                traced = _by_rounds(sheet, devices)
        given, _ = centred(traced.given)
    except UnicodeDecodeError as error:
        raise ConfigMismatch(
            f"trace {file.name} is not a CSV text file: {error}; save it as UTF-8"
        ) from error
    except ValueError as error:
        raise ConfigMismatch(f"trace {file.name}: {error}") from error
    given.setflags(write=False)
    return Traced(traced.rounds, given)


def _by_rounds(sheet: Sheet, devices: int) -> Traced:
    absent = [column for column in COLUMNS if column not in sheet.header]
    if absent:
        raise ValueError(
            f"it has no column {absent[0]}; its first line must name {', '.join(COLUMNS)}, or it "
            "must be SUMO's FCD output or movements of ns-2"
        )
    rows = sheet.floats(COLUMNS)
    _check_rows(sheet, rows, devices)
    rounds = np.unique(rows[:, 0]).astype(np.int64)
    given = np.empty((len(rounds), devices, 2))
    for device in range(devices):
        path = rows[rows[:, 1] == device]
        if not len(path):
            raise ValueError(
                f"it has no place for device {device}, but fleet.devices is {devices}; give every "
                f"device from 0 to {devices - 1} at least one row"
            )
        path = path[np.argsort(path[:, 0])]
        for axis in (0, 1):
            given[:, device, axis] = np.interp(rounds, path[:, 0], path[:, 2 + axis])
    return Traced(rounds, given)


def _check_rows(sheet: Sheet, rows: Float64[np.ndarray, "m 4"], devices: int) -> None:
    def refuse(bad: Bool[np.ndarray, " m"], said: str) -> None:
        for row in np.flatnonzero(bad):
            index, device = (f"{value:.15g}" for value in rows[row, :2])
            told = said.format(round=index, device=device)
            raise ValueError(f"line {sheet.numbers[row]}: {told}")

    numbers, places = rows[:, :2], rows[:, 2:]
    refuse(~np.isfinite(places).all(axis=1), "a place must be finite")
    refuse(
        ~((numbers[:, 0] >= 0) & (numbers[:, 0] < 2**31) & (numbers[:, 0] % 1 == 0)),
        "round is {round}; rounds are whole numbers and count from 0",
    )
    refuse(
        ~((numbers[:, 1] >= 0) & (numbers[:, 1] < devices) & (numbers[:, 1] % 1 == 0)),
        f"device is {{device}}, but fleet.devices is {devices}, so that devices are 0 to "
        f"{devices - 1}",
    )
    again = np.ones(len(rows), dtype=np.bool_)
    again[np.unique(numbers, axis=0, return_index=True)[1]] = False
    refuse(again, "device {device} is placed twice in round {round}")


def _by_seconds(paths: Mapping[str, Path2], devices: int, interval_s: float) -> Traced:
    if len(paths) != devices:
        raise ValueError(
            f"it moves {len(paths)} devices, but fleet.devices is {devices}; set fleet.devices to "
            f"{len(paths)}, or keep as many in the file"
        )
    ordered = [sorted(path, key=lambda point: point[0]) for path in paths.values()]
    begin_s = min(path[0][0] for path in ordered)
    end_s = max(path[-1][0] for path in ordered)
    last = math.ceil(min((end_s - begin_s) / interval_s, ROUNDS_MAX))
    clock_s = begin_s + interval_s * np.arange(last + 1)
    given = np.empty((last + 1, devices, 2))
    for device, path in enumerate(ordered):
        times_s, places = np.array([t for t, _ in path]), np.array([place for _, place in path])
        given[:, device, 0] = np.interp(clock_s, times_s, places.real)
        given[:, device, 1] = np.interp(clock_s, times_s, places.imag)
    return Traced(np.arange(last + 1, dtype=np.int64), given)


def _fcd_xml(text: str) -> dict[str, Path2]:
    """Paths of all that moves in SUMO's FCD output, in the order in which they appear."""
    paths: dict[str, Path2] = {}
    for step in xml_parts(text, "timestep"):
        where = f"timestep {step.get('time')}"
        for mover in step:
            if mover.tag in KINDS:
                name = f"{mover.tag} {mover.get('id')}"
                numbers = (step.get("time"), mover.get("x"), mover.get("y"))
                paths.setdefault(name, []).append(_point(where, *numbers))
    if not paths:
        raise ValueError("it holds no vehicle; SUMO's FCD output has them in its timesteps")
    return paths


def _fcd_table(sheet: Sheet) -> dict[str, Path2]:
    """The same of its table; what a kind has no columns for, or no name, is not there."""
    time = next(column for column in TIMES if column in sheet.header)
    prefixes = [kind for kind in (*(f"{k}_" for k in KINDS), "") if f"{kind}id" in sheet.header]
    if not prefixes:
        raise ValueError("it has no column vehicle_id, as SUMO's FCD output has")
    paths: dict[str, Path2] = {}
    for number, line in zip(sheet.numbers, sheet.lines, strict=True):
        cells = dict(zip(sheet.header, sheet.cells(line), strict=False))
        for prefix in prefixes:
            if name := cells.get(f"{prefix}id"):
                numbers = [cells.get(column) for column in (time, f"{prefix}x", f"{prefix}y")]
                told = [text if text is None else sheet.decimal(text) for text in numbers]
                paths.setdefault(prefix + name, []).append(_point(f"line {number}", *told))
    if not paths:
        raise ValueError("it has no line with a vehicle_id")
    return paths


def _ns2(text: str) -> dict[str, Path2]:
    """Paths of the nodes 0, 1, ... of ns-2's movements; other lines than theirs are passed over."""
    starts: dict[int, dict[str, float]] = {}
    orders: dict[int, list[tuple[float, complex, float]]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if "$node_(" not in line or line.lstrip().startswith("#"):
            continue
        where = f"line {number}"
        if found := SETDEST.match(line.strip()):
            at, node, *goal, speed = found.groups()
            at_s, there = _point(where, at, *goal)
            orders.setdefault(int(node), []).append((at_s, there, _number(where, speed)))
        elif found := NODE_SET.match(line.strip()):
            starts.setdefault(int(found[1]), {})[found[2]] = _number(where, found[3])
        else:
            raise ValueError(f"{where} is not understood: {line.strip()[:80]}")
    nodes = starts.keys() | orders.keys()
    for node in range(len(nodes)):
        if not {"X", "Y"} <= starts.get(node, {}).keys():
            raise ValueError(f"node {node} has no place to start from; set its X_ and Y_")
    return {
        str(node): _walked(complex(starts[node]["X"], starts[node]["Y"]), orders.get(node, []))
        for node in sorted(nodes)
    }


def _walked(start: complex, orders: list[tuple[float, complex, float]]) -> Path2:
    """Where a node is that stands at `start` and is sent to places at a speed, order by order."""
    path: Path2 = [(0.0, start)]
    for at_s, goal, speed_m_s in sorted(orders, key=lambda order: order[0]):
        arrive_s, there = path[-1]
        if at_s < arrive_s:  # it turns before it is there
            path.pop()
            begun_s, begin = path[-1]
            there = begin + (at_s - begun_s) / (arrive_s - begun_s) * (there - begin)
        path.append((at_s, there))
        if speed_m_s > 0.0:
            path.append((at_s + abs(goal - there) / speed_m_s, goal))
    return path


def _point(where: str, time: str | None, x: str | None, y: str | None) -> tuple[float, complex]:
    return _number(where, time), complex(_number(where, x), _number(where, y))


def _number(where: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        _no_number(where, text)
    return value if math.isfinite(value) else _no_number(where, text)


def _no_number(where: str, text: str | None) -> NoReturn:
    given = "nothing" if text is None else repr(text)
    raise ValueError(f"{where}: {given[:80]} stands where time, x or y must be a finite number")
