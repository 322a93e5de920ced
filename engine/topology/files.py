"""Meshes as files: JSON of our own, and GraphML, which graph tools write.

JSON, places in metres, a link serving both directions, devices numbered from 0 in their order:

    {"devices": [{"x_m": 0.0, "y_m": 0.0, "task": "reading"}, {"x_m": 30.0, "y_m": 0.0, ...}],
     "links": [[0, 1]]}

GraphML has the same as node attributes `x_m`, `y_m` and `task`; nodes may have any names. Tasks may
be left out by all devices together, and so may places: then a layout makes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from xml.etree import ElementTree

import networkx as nx
import numpy as np
from pydantic import ConfigDict, Field, ValidationError

from engine import config as c
from engine.config.base import Finite
from engine.rng import stream
from engine.topology.base import Links, Places

BYTES_MAX = 1_000_000
DEVICES_MAX = 256
# Devices without places are laid out in a disc of this radius, which is that of other topologies.
LAYOUT_RADIUS_M = 100.0

Pairs = tuple[tuple[int, int], ...]
Coordinate = Annotated[Finite, Field(ge=-100_000, le=100_000)]  # as in c.Point


@dataclass(frozen=True)
class MeshFile:
    """What a file says: a drawn topology, and the task of every device if it names them."""

    drawn: c.Drawn
    tasks: tuple[c.TaskName, ...] | None


class _Device(c.Part):
    """One device of a file; strict, so that text is no number."""

    model_config = ConfigDict(strict=True)

    x_m: Coordinate | None = None
    y_m: Coordinate | None = None
    task: c.TaskName | None = None


class _Devices(c.Part):
    """A whole file."""

    model_config = ConfigDict(strict=True)

    devices: tuple[_Device, ...] = Field(min_length=1)
    links: Pairs = ()


def drawn_from_json(text: str) -> MeshFile:
    """The mesh of a JSON text, as this module describes it.

    Raises:
        ValueError: the text is too large, not such JSON, or no mesh; one sentence says what.
    """
    _check_size(text)
    try:
        read = _Devices.model_validate_json(text)
    except ValidationError as error:
        raise ValueError(_sentence(error)) from error
    return _mesh_file(read.devices, read.links)


def drawn_from_graphml(text: str) -> MeshFile:
    """The mesh of a GraphML text, as this module describes it.

    Devices are numbered in the order of the file, whatever their names. Directed edges become
    links that work both ways, an edge and its reverse one link. Names and attributes that we do
    not know are passed over. Source: Brandes et al., GraphML Progress Report (2002).

    Raises:
        ValueError: the text is too large, not XML, not a graph, or no mesh; one sentence says what.
    """
    _check_size(text)
    # Entities can blow up a small text, and GraphML has no need of them.
    if "<!doctype" in text.lower():
        raise ValueError("the file has a document type declaration; remove it")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(f"the file is not XML: {error}") from error
    graphs = _named(root, "graph")
    if _name(root) != "graphml" or not graphs:
        raise ValueError("the file holds no graph; GraphML has a graph inside graphml")
    graph = graphs[0]
    ids, devices = _nodes(root, graph)
    return _mesh_file(devices, _edges(graph, ids))


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


def _mesh_file(devices: Sequence[_Device], links: Pairs) -> MeshFile:
    if len(devices) > DEVICES_MAX:
        raise ValueError(f"the file has {len(devices)} devices; at most {DEVICES_MAX} can be drawn")
    tasks = [device.task for device in devices if device.task is not None]
    if tasks and len(tasks) < len(devices):
        raise ValueError("some devices have a task and some have none; name all or none")
    try:
        drawn = c.Drawn(positions=_points(devices, links), links=links)
    except ValidationError as error:
        raise ValueError(_sentence(error)) from error
    return MeshFile(drawn, tuple(tasks) or None)


def _points(devices: Sequence[_Device], links: Pairs) -> tuple[c.Point, ...]:
    places = [(d.x_m, d.y_m) for d in devices if d.x_m is not None and d.y_m is not None]
    if len(places) == len(devices):
        return tuple(c.Point(x_m=x_m, y_m=y_m) for x_m, y_m in places)
    if any(d.x_m is not None or d.y_m is not None for d in devices):
        raise ValueError("some devices lack x_m or y_m; give both to all devices or to none")
    return _laid_out(len(devices), links)


def _laid_out(devices: int, links: Pairs) -> tuple[c.Point, ...]:
    """Places for devices without any: springs pull linked devices together, the same each time.

    Source: Fruchterman & Reingold, Graph Drawing by Force-Directed Placement (1991).
    """
    graph: nx.Graph[int] = nx.empty_graph(devices)
    # Links that name no device are refused later, in the words of a drawn mesh.
    graph.add_edges_from(pair for pair in links if min(pair) >= 0 and max(pair) < devices)
    lot = int(stream(0, "mesh file").integers(2**31))
    placed = nx.spring_layout(graph, seed=lot)
    places = np.array([placed[device] for device in range(devices)])
    scale = LAYOUT_RADIUS_M / max(float(np.hypot(*places.T).max()), 1e-9)
    return tuple(c.Point(x_m=float(x), y_m=float(y)) for x, y in places * scale)


def _nodes(
    root: ElementTree.Element, graph: ElementTree.Element
) -> tuple[dict[str, int], list[_Device]]:
    """The number of every node name, and what the nodes say."""
    keys = {
        key.get("id"): key
        for key in _named(root, "key")
        if key.get("for", "all") in ("node", "all")
    }
    names = {number: key.get("attr.name") for number, key in keys.items()}
    common = {
        names[number]: default.text
        for number, key in keys.items()
        for default in _named(key, "default")
    }
    ids: dict[str, int] = {}
    devices: list[_Device] = []
    for node in _named(graph, "node"):
        name = node.get("id")
        if name is None or name in ids:
            raise ValueError(f"node {len(devices)} has no name of its own; give each node one id")
        ids[name] = len(devices)
        own = {names.get(data.get("key")): data.text for data in _named(node, "data")}
        devices.append(_device(len(devices), {**common, **own}))
    if not devices:
        raise ValueError("the graph has no nodes; a mesh has one device at least")
    return ids, devices


def _device(number: int, said: dict[str | None, str | None]) -> _Device:
    known = {name: (said[name] or "").strip() for name in _Device.model_fields if name in said}
    try:
        # XML has no numbers but as text.
        return _Device.model_validate(known, strict=False)
    except ValidationError as error:
        raise ValueError(f"device {number}: {_sentence(error)}") from error


def _edges(graph: ElementTree.Element, ids: dict[str, int]) -> Pairs:
    pairs: list[tuple[int, int]] = []
    seen: set[tuple[int, int]] = set()
    default = "true" if graph.get("edgedefault") == "directed" else "false"
    for edge in _named(graph, "edge"):
        ends = (edge.get("source", ""), edge.get("target", ""))
        for name in ends:
            if name not in ids:
                raise ValueError(f"an edge names the node {name[:80]!r}, which the graph lacks")
        one, other = ids[ends[0]], ids[ends[1]]
        if edge.get("directed", default) == "true" and (other, one) in seen:
            continue
        seen.add((one, other))
        pairs.append((one, other))
    return tuple(pairs)


def _named(parent: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [child for child in parent if _name(child) == name]


def _name(element: ElementTree.Element) -> str:
    # Some tools leave the namespace out.
    return element.tag.rpartition("}")[2]


def _sentence(error: ValidationError) -> str:
    """The first thing that is wrong, in one line."""
    field, sentence = c.plain_errors(error.errors())[0]
    return sentence if field == "config" else f"{field}: {sentence}"
