"""Meshes as files: JSON of our own, and the graphs that other tools write.

JSON, places in metres, a link serving both directions, devices numbered from 0 in their order:

    {"devices": [{"x_m": 0.0, "y_m": 0.0, "task": "reading"}, {"x_m": 30.0, "y_m": 0.0, ...}],
     "links": [[0, 1]]}

Graphs of others have the same as node attributes `x_m`, `y_m` and `task`, or places as their tools
have them; nodes may have any names. Tasks may be left out by all devices together, and so may
places: then a layout makes them. docs/mesh.md has the rules.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import ConfigDict, Field, ValidationError
from pydantic_core import from_json

from meshtune.engine import config as c
from meshtune.engine.fields import Finite, Part
from meshtune.engine.geometry import centred
from meshtune.engine.mesh import Links, Places
from meshtune.engine.rng import stream
from meshtune.engine.texts import plain
from meshtune.engine.topology.foreign import (
    DRAWN_X,
    DRAWN_Y,
    NODES_MAX,
    Graph,
    Said,
    of_gml,
    of_graphml,
    of_pajek,
    of_tree,
)

BYTES_MAX = 1_000_000
# Devices without places are laid out in a disc of this radius, which is that of other topologies.
LAYOUT_RADIUS_M = 100.0

Pairs = tuple[tuple[int, int], ...]
# Where graphs keep places, the first that a file has; and what to say of it.
PLACES_KEPT = (
    ("x_m", "y_m", ""),
    ("x", "y", "places are the attributes x and y, taken as metres"),
    (DRAWN_X, DRAWN_Y, ""),
)
NO_PLACES = (
    "the file has no places (x_m and y_m, x and y, or those of a drawing); they are made up: "
    "linked devices are pulled together, all within 100 m"
)
ONE_PLACE = "all devices of the file stand in one place, so that places are made up"


@dataclass(frozen=True)
class MeshFile:
    """What a file says: a drawn topology, and the task of every device if it names them.

    `notes` say in a sentence each what the file does not: places that were made up or moved, links
    that were put together.
    """

    drawn: c.Drawn
    tasks: tuple[c.TaskName, ...] | None
    notes: tuple[str, ...] = ()


class _Device(Part):
    """One device of a file; strict, so that text is no number."""

    model_config = ConfigDict(strict=True)

    x_m: Finite | None = None
    y_m: Finite | None = None
    task: c.TaskChoice | None = None


class _Devices(Part):
    """A whole file."""

    model_config = ConfigDict(strict=True)

    devices: tuple[_Device, ...] = Field(min_length=1)
    links: Pairs = ()


def drawn_from_text(text: str) -> MeshFile:
    """The mesh of a text in any format that is known here, recognised by its content.

    JSON of our own, node-link JSON of networkx, JSON of Cytoscape, GraphML, GML, and Pajek.

    Raises:
        ValueError: the text is too large or holds no mesh; one sentence says what is wrong.
    """
    _check_size(text)
    text = plain(text).strip()
    if text.startswith(("{", "[")):
        return drawn_from_json(text)
    if text.startswith("<"):
        return drawn_from_graphml(text)
    if re.search(r"(?im)^\s*\*vertices", text):
        return _of_graph(of_pajek(text))
    if re.search(r"(?im)^\s*graph\s*\[", text):
        return _of_graph(of_gml(text))
    raise ValueError("the file is neither JSON nor GraphML, GML or Pajek; save the mesh as one")


def drawn_from_json(text: str) -> MeshFile:
    """The mesh of a JSON text: our own as this module describes it, or that of another tool.

    Raises:
        ValueError: the text is too large, not such JSON, or no mesh; one sentence says what.
    """
    _check_size(text)
    try:
        tree = from_json(text)
    except ValueError as error:
        raise ValueError(f"invalid JSON: {error}") from error
    if isinstance(tree, dict) and "devices" not in tree and ("nodes" in tree or "elements" in tree):
        return _of_graph(of_tree(tree))
    try:
        read = _Devices.model_validate_json(text)
    except ValidationError as error:
        raise ValueError(_sentence(error)) from error
    return _mesh_file(read.devices, read.links)


def drawn_from_graphml(text: str) -> MeshFile:
    """The mesh of a GraphML text.

    Devices are numbered in the order of the file, whatever their names. Names and attributes that
    we do not know are passed over.

    Raises:
        ValueError: the text is too large, not XML, not a graph, or no mesh; one sentence says what.
    """
    _check_size(text)
    return _of_graph(of_graphml(text))


def to_json(places: Places, linked: Links, tasks: Sequence[c.TaskName] | None) -> str:
    """The JSON text of a mesh, which `drawn_from_json` reads as it was.

    Raises:
        ValueError: a link works in one direction only, which the file cannot say.
    """
    return _to_file(places, linked, tasks).model_dump_json(exclude_none=True)


def to_graphml(places: Places, linked: Links, tasks: Sequence[c.TaskName] | None) -> str:
    """The GraphML text of a mesh, which `drawn_from_graphml` reads as it was.

    Raises:
        ValueError: a link works in one direction only, which the mesh of a file does not.
    """
    import networkx as nx

    written = _to_file(places, linked, tasks)
    graph: nx.Graph[int] = nx.Graph()
    for number, device in enumerate(written.devices):
        graph.add_node(number, **device.model_dump(exclude_none=True))
    graph.add_edges_from(written.links)
    return "\n".join(nx.generate_graphml(graph))


def _to_file(places: Places, linked: Links, tasks: Sequence[c.TaskName] | None) -> _Devices:
    if not (linked == linked.T).all():
        raise ValueError("a mesh with one-way links has no file; its links must work both ways")
    held: Sequence[c.TaskName | None] = tasks or [None] * len(places)
    devices = [
        _Device(x_m=float(x_m), y_m=float(y_m), task=task)
        for (x_m, y_m), task in zip(places, held, strict=True)
    ]
    pairs = np.argwhere(np.triu(linked)).tolist()
    return _Devices(devices=tuple(devices), links=tuple((one, other) for one, other in pairs))


def _check_size(text: str) -> None:
    size = len(text.encode(errors="replace"))
    if size > BYTES_MAX:
        raise ValueError(f"the file has {size} bytes; at most {BYTES_MAX} are read")


def _of_graph(graph: Graph) -> MeshFile:
    """The mesh of a graph: its nodes are devices, its edges links."""
    _check_count(len(graph.nodes))
    if not graph.nodes:
        raise ValueError("the graph has no nodes; a mesh has one device at least")
    said = list(graph.nodes.values())
    places, told = _kept_places(said, graph.drawing)
    devices = [
        _Device(x_m=x_m, y_m=y_m, task=_task(number, each))
        for number, (each, (x_m, y_m)) in enumerate(zip(said, places, strict=True))
    ]
    numbers = {name: number for number, name in enumerate(graph.nodes)}
    links = []
    for ends in graph.edges:
        for name in ends:
            if name in graph.groups:
                raise ValueError(
                    f"an edge ends at the group {name[:80]!r}; draw it to a node of it"
                )
            if name not in numbers:
                raise ValueError(f"an edge names the node {name[:80]!r}, which the graph lacks")
        links.append((numbers[ends[0]], numbers[ends[1]]))
    notes = (told,) if told else ()
    if graph.directed and links:
        notes = (*notes, "edges have a direction, but links work both ways")
    return _mesh_file(devices, tuple(links), notes)


def _kept_places(
    said: Sequence[Said], drawing: str
) -> tuple[list[tuple[float | None, float | None]], str]:
    """Places of nodes by the first convention that the file follows, and what to say of it."""
    for key_x, key_y, told in PLACES_KEPT:
        places = [
            (_metres(number, key_x, each), _metres(number, key_y, each))
            for number, each in enumerate(said)
        ]
        if any(value is not None for place in places for value in place):
            lacking = [number for number, place in enumerate(places) if None in place]
            if lacking:
                raise ValueError(
                    f"some devices lack {key_x} or {key_y}, the first of them device {lacking[0]}; "
                    "give both to all devices or to none"
                )
            return places, drawing if key_x == DRAWN_X else told
    return [(None, None)] * len(said), ""


def _metres(number: int, key: str, said: Said) -> float | None:
    given = said.get(key)
    if given is None or (isinstance(given, str) and not given.strip()):
        return None
    try:
        value = math.nan if isinstance(given, bool) else float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"device {number}: {key}: {given!r:.80} is no number") from None
    if not math.isfinite(value):
        raise ValueError(f"device {number}: {key}: must be a finite number, not {given!r:.80}")
    return value


def _task(number: int, said: Said) -> c.TaskName | None:
    given = said.get("task")
    if given is None or (isinstance(given, str) and not given.strip()):
        return None
    word = re.sub(r"[\s-]+", "_", str(given).strip().lower())
    for name in c.TASK_NAMES:
        if name == word:
            return name
    known = ", ".join(map(repr, c.TASK_NAMES))
    raise ValueError(f"device {number}: task: {given!r:.80} is no task; tasks are {known}")


def _mesh_file(devices: Sequence[_Device], links: Pairs, notes: tuple[str, ...] = ()) -> MeshFile:
    _check_count(len(devices))
    tasks = [device.task for device in devices if device.task is not None]
    if tasks and len(tasks) < len(devices):
        raise ValueError("some devices have a task and some have none; name all or none")
    # An edge, its repeats and its reverse are one link.
    first: dict[tuple[int, int], tuple[int, int]] = {}
    for pair in links:
        first.setdefault((min(pair), max(pair)), pair)
    once = tuple(first.values())
    if len(once) < len(links):
        more = len(links) - len(once)
        notes = (*notes, f"{more} of the edges join a pair again; a pair has one link")
    points, told = _points(devices, once)
    try:
        drawn = c.Drawn(positions=points, links=once)
    except ValidationError as error:
        raise ValueError(_sentence(error)) from error
    return MeshFile(drawn, tuple(tasks) or None, (*notes, *told))


def _check_count(devices: int) -> None:
    if devices > NODES_MAX:
        raise ValueError(f"the file has {devices} devices; at most {NODES_MAX} can be drawn")


def _points(
    devices: Sequence[_Device], links: Pairs
) -> tuple[tuple[c.Point, ...], tuple[str, ...]]:
    """Places of all devices, and what to say of them."""
    given = [(d.x_m, d.y_m) for d in devices if d.x_m is not None and d.y_m is not None]
    if len(given) < len(devices) and any(d.x_m is not None or d.y_m is not None for d in devices):
        raise ValueError("some devices lack x_m or y_m; give both to all devices or to none")
    if not given:
        return _laid_out(len(devices), links), (NO_PLACES,)
    if len(devices) > 1 and len(set(given)) == 1:
        return _laid_out(len(devices), links), (ONE_PLACE,)
    places, middle = centred(np.array(given))
    points = tuple(c.Point(x_m=float(x_m), y_m=float(y_m)) for x_m, y_m in places)
    if middle is None:
        return points, ()
    found = f"{middle[0]:.0f} m east and {middle[1]:.0f} m north"
    return points, (f"places lie far from zero; their middle, {found}, is zero now",)


def _laid_out(devices: int, links: Pairs) -> tuple[c.Point, ...]:
    """Places for devices without any: springs pull linked devices together, the same each time.

    Source: Fruchterman & Reingold, Graph Drawing by Force-Directed Placement (1991).
    """
    import networkx as nx

    graph: nx.Graph[int] = nx.empty_graph(devices)
    # Links that name no device are refused later, in the words of a drawn mesh.
    graph.add_edges_from(pair for pair in links if min(pair) >= 0 and max(pair) < devices)
    lot = int(stream(0, "mesh file").integers(2**31))
    placed = nx.spring_layout(graph, seed=lot)
    places = np.array([placed[device] for device in range(devices)])
    scale = LAYOUT_RADIUS_M / max(float(np.hypot(*places.T).max()), 1e-9)
    return tuple(c.Point(x_m=float(x), y_m=float(y)) for x, y in places * scale)


def _sentence(error: ValidationError) -> str:
    """The first thing that is wrong, in one line."""
    field, sentence = c.plain_errors(error.errors())[0]
    return sentence if field == "config" else f"{field}: {sentence}"
