"""Mesh files: what is written is read as it was, and what is no mesh is refused in a sentence."""

import json

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, strategies as st

from meshtune.engine.config import TASK_NAMES, Drawn, RunConfig
from meshtune.engine.rng import stream
from meshtune.engine.topology import build_mesh
from meshtune.engine.topology.files import (
    BYTES_MAX,
    MeshFile,
    drawn_from_graphml,
    drawn_from_json,
    to_graphml,
    to_json,
)
from meshtune.engine.topology.lattices import exponential, ring

HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
    '<key id="d0" for="node" attr.name="x_m" attr.type="double"/>'
    '<key id="d1" for="node" attr.name="y_m" attr.type="double"/>'
    '<key id="d2" for="node" attr.name="task" attr.type="string"/>'
    '<key id="d3" for="node" attr.name="colour" attr.type="string"/>'
    '<key id="d4" for="edge" attr.name="weight" attr.type="double"/>'
)


def graphml(body: str, edges: str = "undirected") -> str:
    return f'{HEAD}<graph edgedefault="{edges}">{body}</graph></graphml>'


def node(name: str, x_m: object, y_m: object, rest: str = "") -> str:
    places = f'<data key="d0">{x_m}</data><data key="d1">{y_m}</data>'
    return f'<node id="{name}">{places}{rest}</node>'


def edge(source: str, target: str) -> str:
    return f'<edge source="{source}" target="{target}"/>'


def mesh_of(read: MeshFile) -> tuple[np.ndarray, np.ndarray]:
    """Positions and links as a run would have them."""
    devices = len(read.drawn.positions)
    asked = RunConfig(
        topology=read.drawn,
        fleet={"devices": devices},
        method={"kind": "local"},
    )
    mesh = build_mesh(asked)
    return mesh.positions, mesh.linked


@given(
    devices=st.integers(1, 12),
    seed=st.integers(0, 2**31),
    share=st.floats(0, 1),
    scale_m=st.sampled_from([1e-9, 1.0, 1e5]),
    named=st.booleans(),
)
def test_what_is_written_is_read_as_it_was(
    devices: int, seed: int, share: float, scale_m: float, named: bool
) -> None:
    rng = stream(seed, "mesh")
    places = rng.uniform(-scale_m, scale_m, (devices, 2))
    upper = np.triu(rng.random((devices, devices)) < share, k=1)
    linked = upper | upper.T
    tasks = tuple(TASK_NAMES[k] for k in rng.integers(len(TASK_NAMES), size=devices))
    for write, read in ((to_json, drawn_from_json), (to_graphml, drawn_from_graphml)):
        again = read(write(places, linked, tasks if named else None))
        assert again.tasks == (tasks if named else None)
        positions, links = mesh_of(again)
        assert (positions == places).all()
        assert (links == linked).all()


def test_the_json_is_the_documented_one() -> None:
    places = np.array([[0.0, 1.5], [30.0, -2.0]])
    text = to_json(places, ring(2), ("reading", "addition"))
    assert json.loads(text) == {
        "devices": [
            {"x_m": 0.0, "y_m": 1.5, "task": "reading"},
            {"x_m": 30.0, "y_m": -2.0, "task": "addition"},
        ],
        "links": [[0, 1]],
    }


def test_networkx_reads_the_graphml_that_we_write() -> None:
    text = to_graphml(np.array([[0.0, 1.5], [30.0, -2.0]]), ring(2), ("reading", "addition"))
    graph = nx.parse_graphml(text)
    assert graph.nodes["1"] == {"x_m": 30.0, "y_m": -2.0, "task": "addition"}
    assert list(graph.edges) == [("0", "1")]


def test_nodes_of_any_name_are_numbered_in_the_order_of_the_file() -> None:
    extra = '<data key="d3">red</data><data key="d2">ending</data>'
    plain = '<data key="d2">reading</data>'
    body = node("zoe", 1, 2, extra) + edge("a b", "zoe") + node("a b", 3.5, -4, plain)
    read = drawn_from_graphml(graphml(body))
    assert [(p.x_m, p.y_m) for p in read.drawn.positions] == [(1.0, 2.0), (3.5, -4.0)]
    assert read.drawn.links == ((1, 0),)
    assert read.tasks == ("ending", "reading")


def test_directed_edges_become_links_both_ways() -> None:
    nodes = node("a", 0, 0) + node("b", 1, 0) + node("c", 2, 0)
    body = nodes + edge("a", "b") + edge("b", "a") + edge("c", "b")
    read = drawn_from_graphml(graphml(body, "directed"))
    assert read.drawn.links == ((0, 1), (2, 1))
    assert any("work both ways" in note for note in read.notes)


def test_files_of_networkx_without_places_are_laid_out_near_their_neighbours() -> None:
    # Two full groups of six with one link between them.
    graph = nx.barbell_graph(6, 0)
    text = "\n".join(nx.generate_graphml(nx.relabel_nodes(graph, {k: f"n{k}" for k in graph})))
    read = drawn_from_graphml(text)
    assert read == drawn_from_graphml(text)
    positions, linked = mesh_of(read)
    assert (linked == nx.to_numpy_array(graph).astype(bool)).all()
    assert np.hypot(*positions.T).max() == pytest.approx(100.0)
    distances = np.hypot(*(positions[:, None] - positions[None, :]).transpose(2, 0, 1))
    apart = distances[:6, 6:]
    assert distances[linked].mean() < apart.mean()


def test_json_without_places_is_laid_out_as_well() -> None:
    assert drawn_from_json('{"devices": [{}]}').drawn == Drawn(
        positions=({"x_m": 0, "y_m": 0},), links=()
    )
    assert len(drawn_from_json('{"devices": [{}, {}], "links": [[0, 1]]}').drawn.positions) == 2


def test_defaults_of_keys_count_for_nodes_that_say_nothing() -> None:
    text = graphml('<node id="a"><data key="d1">5</data></node>').replace(
        'attr.name="x_m" attr.type="double"/>',
        'attr.name="x_m" attr.type="double"><default>7</default></key>',
    )
    assert drawn_from_graphml(text).drawn.positions[0].x_m == 7.0


PLACED = '{"x_m": %s, "y_m": 0}'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "invalid JSON"),
        ("[" * 100_000, "recursion limit"),
        ("[]", "table of fields"),
        ("{}", "devices: is missing"),
        ('{"devices": []}', "needs at least 1 entry"),
        ('{"devices": [' + PLACED % "NaN" + "]}", "devices.0.x_m: must be a finite number"),
        ('{"devices": [' + PLACED % "1e400" + "]}", "devices.0.x_m: must be a finite number"),
        ('{"devices": [' + PLACED % "1e6" + ", " + PLACED % 0 + "]}", "span 1e[+]06 m, .*200000"),
        ('{"devices": [' + PLACED % '"3"' + "]}", "devices.0.x_m: must be a number"),
        ('{"devices": [' + PLACED % "true" + "]}", "devices.0.x_m: must be a number"),
        ('{"devices": [{"x_m": 1}]}', "lack x_m or y_m"),
        ('{"devices": [' + PLACED % 0 + ", {}]}", "lack x_m or y_m"),
        ('{"devices": [' + ", ".join(PLACED % x for x in (0, 0, 1)) + "]}", "in one place"),
        ('{"devices": [{"task": "poetry"}]}', "devices.0.task: .*'reading'"),
        ('{"devices": [{"task": "reading"}, {}]}', "name all or none"),
        ('{"devices": [{"name": "a"}]}', "devices.0.name: there is no such field"),
        ('{"devices": [{}, {}], "links": [[0, 0]]}', "linked to itself"),
        ('{"devices": [{}, {}], "links": [[0, 2]]}', "not drawn"),
        ('{"devices": [{}, {}], "links": [[0, -1]]}', "not drawn"),
        ('{"devices": [{}, {}], "links": [[0, 1, 1]]}', "links.0"),
        ('{"devices": [{}, {}], "links": [[0, 0.5]]}', "links.0.1"),
        ('{"devices": [' + "{}, " * 256 + "{}]}", "257 devices; at most 256"),
        (" " * (BYTES_MAX + 1), "at most 1000000 are read"),
        ("é" * (BYTES_MAX // 2 + 1), "at most 1000000 are read"),
    ],
)
def test_json_that_is_no_mesh_is_refused_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        drawn_from_json(text)
    assert type(caught.value) is ValueError
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


TWO = node("a", 0, 0) + node("b", 1, 0)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "not XML"),
        ('{"devices": []}', "not XML"),
        (graphml(TWO)[:-3], "not XML"),
        ("\ud800", "not XML"),
        ("<svg><graph/></svg>", "holds no graph"),
        ("<graphml/>", "holds no graph"),
        ('<!DOCTYPE x [<!ENTITY a "aa">]>' + graphml(TWO).partition("?>")[2], "document type"),
        (graphml(""), "no nodes"),
        (graphml("<node/>"), "node 0 has no name"),
        (graphml(TWO + node("a", 2, 0)), "node 2 has no name of its own"),
        (graphml(node("a", "nan", 0)), "device 0: x_m: .*finite"),
        (graphml(node("a", "inf", 0)), "device 0: x_m: .*finite"),
        (graphml(node("a", "", 0)), "lack x_m or y_m, the first of them device 0"),
        (graphml(node("a", "3 m", 0)), "device 0: x_m: '3 m' is no number"),
        (graphml(TWO + node("c", 0, "3e5")), "span 300000 m, .*200000 fit"),
        (graphml(TWO + '<hyperedge><endpoint node="a"/></hyperedge>'), "hyperedge"),
        (graphml(TWO + '<node id="c"/>'), "lack x_m or y_m"),
        (graphml(TWO + node("c", 1, 0)), "devices 1 and 2 are in one place"),
        (graphml(TWO.replace("</node>", '<data key="d2">poetry</data></node>')), "'reading'"),
        (graphml(TWO + edge("a", "a")), "linked to itself"),
        (graphml(TWO + edge("a", "c")), "an edge names the node 'c'"),
        (graphml(TWO + "<edge/>"), "an edge names the node ''"),
        (graphml("".join(node(str(k), k, 0) for k in range(257))), "257 devices; at most 256"),
        (" " * (BYTES_MAX + 1), "at most 1000000 are read"),
    ],
)
def test_graphml_that_is_no_mesh_is_refused_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        drawn_from_graphml(text)
    assert type(caught.value) is ValueError
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("write", [to_json, to_graphml])
def test_one_way_links_are_not_written_as_what_they_are_not(write: object) -> None:
    places = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    with pytest.raises(ValueError, match="one-way"):
        write(places, exponential(3, range(1), both=False), None)
