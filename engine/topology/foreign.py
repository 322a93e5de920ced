"""Graphs as other tools write them: nodes by name with what they say, and the ends of edges.

GraphML of yEd, Gephi, Cytoscape, igraph and networkx, JSON of networkx and Cytoscape, GML, and
Pajek. What a place or a task is, and what becomes of edges, is decided in one place for all of
them (`meshtune.engine.topology.files`).
"""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from xml.etree.ElementTree import Element

from meshtune.engine.texts import xml_of

Said = dict[str, object]  # attributes of a node; their names in lower case
# Names of attributes for the middle of what a tool has drawn; no tool has names with a blank.
DRAWN_X, DRAWN_Y = "drawn x", "drawn y"
NODES_MAX = 256
# Pajek gives places as shares of its window, so the window needs a size.
WINDOW_M = 200.0


@dataclass(frozen=True)
class Graph:
    """A graph of a file.

    Attributes:
        nodes: What each node says, by its name, in the order of the file. Groups are no nodes.
        edges: Names of the two ends of each edge.
        directed: Whether edges have a direction.
        groups: Names of groups of nodes, which an edge may not end at.
        drawing: What to say of places that are those of a drawing.
    """

    nodes: dict[str, Said] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    directed: bool = False
    groups: frozenset[str] = frozenset()
    drawing: str = "places are those of the drawing, taken as metres"


def of_graphml(text: str) -> Graph:
    """The graph of a GraphML text: the nodes of all graphs in it, groups flattened.

    A node that holds nodes is a group, as in yEd; its leaves are the nodes. Geometry of yEd and
    yFiles gives the middle of a node, its y pointing down turned up. Source: Brandes et al.,
    GraphML Progress Report (2002).

    Raises:
        ValueError: it is no XML, no GraphML, or holds a hyperedge or a node without a name.
    """
    root = xml_of(text)
    graphs = [part for part in root.iter() if _tag(part) == "graph"]
    if _tag(root) != "graphml" or not graphs:
        raise ValueError(
            "the file holds no graph; GraphML has a graph inside graphml, and this begins with "
            f"{_tag(root)[:40]}"
        )
    if any(_tag(part) == "hyperedge" for part in root.iter()):
        raise ValueError("the graph has a hyperedge, but a link joins two devices; use edges")
    nodes, groups = _graphml_nodes(root)
    edges, directed = _graphml_edges(graphs)
    return Graph(nodes, edges, directed, groups)


def _graphml_nodes(root: Element) -> tuple[dict[str, Said], frozenset[str]]:
    keys = [key for key in _named(root, "key") if key.get("for", "all") in ("node", "all")]
    names = {key.get("id", ""): key.get("attr.name", key.get("id", "")).lower() for key in keys}
    common: Said = {
        names[key.get("id", "")]: default.text for key in keys for default in _named(key, "default")
    }
    nodes: dict[str, Said] = {}
    groups: set[str] = set()
    for node in root.iter():
        if _tag(node) != "node":
            continue
        name = node.get("id")
        if name is None or name in nodes or name in groups:
            raise ValueError(f"node {len(nodes)} has no name of its own; give each node one id")
        if any(_named(graph, "node") for graph in _named(node, "graph")):
            groups.add(name)
        else:
            nodes[name] = {**common, **_graphml_said(node, names)}
    return nodes, frozenset(groups)


def _graphml_said(node: Element, names: dict[str, str]) -> Said:
    said: Said = {}
    for data in _named(node, "data"):
        key = data.get("key", "")
        said[names.get(key, key.lower())] = data.text
        for part in data.iter():
            if _tag(part) in ("Geometry", "RectD"):
                box = {name.lower(): value for name, value in part.attrib.items()}
                said.update(_middle(box))
    return said


def _middle(box: dict[str, str]) -> Said:
    try:
        x, y, width, height = (float(box.get(n, "0")) for n in ("x", "y", "width", "height"))
    except ValueError as error:
        raise ValueError(f"the geometry of a node is no number: {error}") from error
    return {DRAWN_X: x + width / 2, DRAWN_Y: -(y + height / 2)} if {"x", "y"} <= box.keys() else {}


def _graphml_edges(graphs: list[Element]) -> tuple[list[tuple[str, str]], bool]:
    edges, directed = [], False
    for graph in graphs:
        default = "true" if graph.get("edgedefault") == "directed" else "false"
        for edge in _named(graph, "edge"):
            edges.append((edge.get("source", ""), edge.get("target", "")))
            directed = directed or edge.get("directed", default) == "true"
    return edges, directed


def of_tree(tree: dict[str, Any]) -> Graph:
    """The graph of node-link JSON (networkx, d3), or of Cytoscape's `elements`.

    networkx calls the edges `links` or `edges`, by version. Without `id`, nodes are named by their
    number. A place may be `pos: [x, y]` (networkx) or what Cytoscape calls `position`, whose y
    points down and is turned up.

    Raises:
        ValueError: nodes or edges are no lists of objects, or two nodes have one name.
    """
    if "elements" in tree:
        tree = _of_cytoscape(tree["elements"])
    listed = _objects(tree, "nodes")
    named = all("id" in node for node in listed)
    nodes: dict[str, Said] = {}
    for number, node in enumerate(listed):
        name = json.dumps(node["id"] if named else number)
        if name in nodes:
            raise ValueError(f"two nodes have the id {name[:80]}; give each node its own")
        said: Said = {key.lower(): value for key, value in node.items()}
        match said.get("pos"):
            case [x, y]:
                said = {"x": x, "y": y, **said}
        nodes[name] = said
    edges = [
        (json.dumps(edge.get("source")), json.dumps(edge.get("target")))
        for key in ("links", "edges")
        for edge in _objects(tree, key)
    ]
    return Graph(nodes, edges, tree.get("directed") is True)


def _of_cytoscape(elements: object) -> dict[str, Any]:
    if not isinstance(elements, dict):
        raise ValueError("elements must be an object with nodes and edges")  # noqa: TRY004
    nodes = []
    for node in _objects(elements, "nodes"):
        said = dict(_object(node, "data"))
        place = _object(node, "position")
        if isinstance(place.get("y"), int | float):
            said |= {DRAWN_X: place.get("x"), DRAWN_Y: -place["y"]}
        nodes.append(said)
    return {"nodes": nodes, "edges": [_object(e, "data") for e in _objects(elements, "edges")]}


def _object(tree: dict[str, Any], key: str) -> dict[str, Any]:
    found = tree.get(key, {})
    return found if isinstance(found, dict) else {}


def _objects(tree: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = tree.get(key, [])
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ValueError(f"{key} must be a list of objects")
    return found


def of_gml(text: str) -> Graph:
    """The graph of a GML text, read by networkx; `graphics` of a node is its place.

    y of `graphics` points down, as in yEd, and is turned up. Nodes with `isGroup` that others name
    as their `gid` are groups.

    Raises:
        ValueError: it is no GML.
    """
    import networkx as nx

    # Else networkx refuses the second edge of a pair.
    several = re.sub(r"(?im)^(\s*graph\s*\[)", r"\1 multigraph 1 ", text, count=1)
    try:
        graph = nx.parse_gml(several, label="id")
    except (nx.NetworkXError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise ValueError(f"the file is not GML: {str(error).splitlines()[0][:200]}") from error
    except RecursionError as error:
        raise ValueError("the file is not GML: it is nested too deeply") from error
    held = {said.get("gid") for _, said in graph.nodes(data=True)}
    nodes: dict[str, Said] = {}
    groups: set[str] = set()
    for name, attributes in graph.nodes(data=True):
        if attributes.get("isGroup") and name in held:
            groups.add(str(name))
            continue
        said: Said = {str(key).lower(): value for key, value in attributes.items()}
        match attributes.get("graphics"):
            case {"x": int() | float() as x, "y": int() | float() as y}:
                said |= {DRAWN_X: x, DRAWN_Y: -y}
        nodes[str(name)] = said
    edges = [(str(one), str(other)) for one, other in graph.edges()]
    return Graph(nodes, edges, graph.is_directed(), frozenset(groups))


def of_pajek(text: str) -> Graph:
    """The network of a Pajek text (.net): vertices, edges, arcs, their lists, or a matrix.

    Places are shares of a window from 0 to 1 with y pointing down; the window is taken as 200 m
    wide (our choice). Read here, because networkx makes one node of two with the same label.

    Raises:
        ValueError: a line is not understood.
    """
    graph = Graph()
    section, directed, row = "", False, 0
    for number, line in enumerate(text.split("\n"), start=1):
        cells = re.findall(r'"[^"]*"|\S+', line)
        if not cells or cells[0].startswith("%"):
            continue
        if cells[0].startswith("*"):
            section, row = cells[0].lower(), 0
            if section == "*vertices":
                _pajek_vertices(graph, cells)
            continue
        directed = directed or section in ("*arcs", "*arcslist", "*matrix")
        row += 1
        try:
            if section == "*vertices":
                graph.nodes[str(int(cells[0]))].update(_pajek_said(cells))
            else:
                graph.edges.extend(_pajek_edges(section, cells, row))
        except (ValueError, KeyError) as error:
            raise ValueError(f"line {number} is not understood: {line.strip()[:80]}") from error
    told = f"places are shares of Pajek's window, which is taken as {WINDOW_M:g} m wide"
    return Graph(graph.nodes, graph.edges, directed, drawing=told)


def _pajek_vertices(graph: Graph, cells: list[str]) -> None:
    if graph.nodes:
        raise ValueError("the file holds more than one network or a partition; save one network")
    count = int(cells[1]) if len(cells) > 1 and re.fullmatch(r"\d{1,9}", cells[1]) else 0
    if count > NODES_MAX:
        raise ValueError(f"the file has {count} devices; at most {NODES_MAX} can be drawn")
    graph.nodes.update({str(vertex): {} for vertex in range(1, count + 1)})


def _pajek_said(cells: list[str]) -> Said:
    said: Said = {}
    with suppress(IndexError, ValueError):
        x, y = float(cells[2]), float(cells[3])
        said = {DRAWN_X: WINDOW_M * (x - 0.5), DRAWN_Y: WINDOW_M * (0.5 - y)}
    words = [cell.strip('"') for cell in cells[2:]]
    known = pairwise(words)
    return said | {key.lower(): value for key, value in known if key.lower() in _PAJEK_KEYS}


_PAJEK_KEYS = ("x_m", "y_m", "task")


def _pajek_edges(section: str, cells: list[str], row: int) -> Iterator[tuple[str, str]]:
    match section:
        case "*edges" | "*arcs":
            yield str(int(cells[0])), str(int(cells[1]))
        case "*edgeslist" | "*arcslist":
            yield from ((str(int(cells[0])), str(int(other))) for other in cells[1:])
        case "*matrix":
            for column, value in enumerate(cells, start=1):
                if float(value) != 0.0:
                    yield str(row), str(column)


def _named(parent: Element, name: str) -> list[Element]:
    return [child for child in parent if _tag(child) == name]


def _tag(element: Element) -> str:
    # Some tools leave the namespace out.
    return element.tag.rpartition("}")[2]
