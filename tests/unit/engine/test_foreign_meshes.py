"""Meshes that other tools wrote: every leaf is a device, and what is made up is said."""

import json

import networkx as nx
import pytest

from meshtune.engine.topology.files import MeshFile, drawn_from_text

GEPHI = """<?xml version="1.0" encoding="UTF-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
<key attr.name="label" attr.type="string" for="node" id="label"/>
<key attr.name="weight" attr.type="double" for="edge" id="weight"/>
<key attr.name="x" attr.type="float" for="node" id="x"/>
<key attr.name="y" attr.type="float" for="node" id="y"/>
<graph edgedefault="undirected">
<node id="0"><data key="label">one</data><data key="x">-21.5</data><data key="y">80.25</data></node>
<node id="1"><data key="x">40.0</data><data key="y">-3.5</data></node>
<edge source="0" target="1"><data key="weight">0.0</data></edge>
</graph></graphml>"""
IGRAPH = """<?xml version="1.0" encoding="UTF-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
  <key id="v_X" for="node" attr.name="X" attr.type="double"/>
  <key id="v_Y" for="node" attr.name="Y" attr.type="double"/>
  <key id="v_task" for="node" attr.name="Task" attr.type="string"/>
  <graph id="G" edgedefault="undirected">
    <node id="n0"><data key="v_X">1</data><data key="v_Y">2</data>
      <data key="v_task"> Reading</data></node>
    <node id="n1"><data key="v_X">3</data><data key="v_Y">4</data>
      <data key="v_task">addition</data></node>
    <edge source="n0" target="n1"/><edge source="n1" target="n0"/>
  </graph></graphml>"""
YED_HEAD = """<graphml xmlns="http://graphml.graphdrawing.org/xmlns"
 xmlns:y="http://www.yworks.com/xml/graphml">
<key for="node" id="d6" yfiles.type="nodegraphics"/><graph edgedefault="directed" id="G">"""


def shape(x: float, y: float, size: float = 30.0) -> str:
    geometry = f'<y:Geometry height="{size}" width="{size}" x="{x}" y="{y}"/>'
    return f'<data key="d6"><y:ShapeNode>{geometry}<y:NodeLabel/></y:ShapeNode></data>'


# A group in a group, an empty group, and a node beside them.
YED = f"""{YED_HEAD}
<node id="n0" yfiles.foldertype="group">{shape(0, 0, 500)}<graph edgedefault="directed" id="n0:">
<node id="n0::n0">{shape(85, 185)}</node>
<node id="n0::n1" yfiles.foldertype="group"><graph edgedefault="directed" id="n0::n1:">
<node id="n0::n1::n0">{shape(-15, -15)}</node></graph></node>
<edge source="n0::n0" target="n0::n1::n0"/></graph></node>
<node id="n1" yfiles.foldertype="folder">{shape(0, 5, 10)}<graph id="n1:"/></node>
<edge source="n0::n0" target="n1"/></graph></graphml>"""


def places(read: MeshFile) -> list[tuple[float, float]]:
    return [(point.x_m, point.y_m) for point in read.drawn.positions]


@pytest.mark.parametrize("mark", ["", "\ufeff", "\r\n"])
def test_places_of_gephi_are_its_x_and_y(mark: str) -> None:
    read = drawn_from_text(mark + GEPHI)
    assert places(read) == [(-21.5, 80.25), (40.0, -3.5)]
    assert read.drawn.links == ((0, 1),)  # whatever the edge weighs
    assert read.notes == ("places are the attributes x and y, taken as metres",)


def test_attributes_of_igraph_count_whatever_their_case() -> None:
    read = drawn_from_text(IGRAPH)
    assert places(read) == [(1.0, 2.0), (3.0, 4.0)]
    assert read.tasks == ("reading", "addition")
    assert read.drawn.links == ((0, 1),)
    assert "1 of the edges join a pair again; a pair has one link" in read.notes


def test_groups_of_yed_are_flattened_and_its_places_are_middles_with_y_up() -> None:
    read = drawn_from_text(YED)
    assert places(read) == [(100.0, -200.0), (0.0, 0.0), (5.0, -10.0)]
    assert set(read.drawn.links) == {(0, 1), (0, 2)}
    assert "places are those of the drawing, taken as metres" in read.notes
    assert not any("made up" in note for note in read.notes)


def test_no_leaf_is_lost_where_a_file_has_no_places() -> None:
    bare = YED.replace("y:Geometry", "y:Nothing")
    read = drawn_from_text(bare)
    assert len(read.drawn.positions) == 3
    assert any("made up" in note for note in read.notes)


def test_an_edge_to_a_group_is_no_link() -> None:
    with pytest.raises(ValueError, match="ends at the group 'n0'; draw it to a node of it"):
        drawn_from_text(YED.replace('source="n0::n0" target="n1"', 'source="n0" target="n1"'))


def test_a_place_of_the_live_editor_of_yfiles_is_a_rectangle() -> None:
    text = YED.replace("y:Geometry", "y:RectD").replace(' x="', ' X="').replace(' y="', ' Y="')
    text = text.replace("height=", "Height=").replace("width=", "Width=")
    assert places(drawn_from_text(text)) == places(drawn_from_text(YED))


def test_graphs_beside_each_other_are_one_mesh() -> None:
    graphs = '<graph id="a"><node id="a"/></graph><graph id="b"><node id="b"/></graph>'
    assert len(drawn_from_text(f"<graphml>{graphs}</graphml>").drawn.positions) == 2


@pytest.mark.parametrize("spelling", ["links", "edges"])
@pytest.mark.parametrize("kind", [nx.Graph, nx.DiGraph, nx.MultiGraph, nx.MultiDiGraph])
def test_node_link_json_is_read_in_both_spellings(kind: type, spelling: str) -> None:
    graph = kind()
    graph.add_node("a", x_m=0, y_m=0, task="reading")
    graph.add_node(7, x_m=50, y_m=1.5, task="addition")
    graph.add_edges_from([("a", 7)] * (2 if graph.is_multigraph() else 1))
    graph.add_edge(7, "a")
    text = json.dumps(nx.node_link_data(graph, edges=spelling))
    read = drawn_from_text(text)
    assert places(read) == [(0.0, 0.0), (50.0, 1.5)]
    assert (read.drawn.links, read.tasks) == (((0, 1),), ("reading", "addition"))


def test_places_of_networkx_may_be_pairs() -> None:
    text = '{"nodes": [{"pos": [1, 2]}, {"pos": [3, 4]}], "links": [{"source": 0, "target": 1}]}'
    assert places(drawn_from_text(text)) == [(1.0, 2.0), (3.0, 4.0)]


def test_json_of_cytoscape_has_places_with_y_down() -> None:
    nodes = [
        {"data": {"id": name}, "position": {"x": x, "y": 10.0}} for name, x in (("a", 1), ("b", 5))
    ]
    edges = [{"data": {"id": "e", "source": "a", "target": "b"}}]
    read = drawn_from_text(json.dumps({"elements": {"nodes": nodes, "edges": edges}}))
    assert places(read) == [(1.0, -10.0), (5.0, -10.0)]
    assert read.drawn.links == ((0, 1),)


def test_gml_of_networkx_and_of_yed_is_read() -> None:
    graph = nx.MultiDiGraph()
    graph.add_node("a", x_m=0, y_m=0, task="reading")
    graph.add_node("é", x_m=50, y_m=0, task="addition")
    graph.add_edges_from([("a", "é"), ("a", "é"), ("é", "a")])
    read = drawn_from_text("\n".join(nx.generate_gml(graph)))
    assert places(read) == [(0.0, 0.0), (50.0, 0.0)]
    assert (read.drawn.links, read.tasks) == (((0, 1),), ("reading", "addition"))
    yed = """Creator "yFiles"
Version "2.17"
graph
[ hierarchic 1 directed 1
  node [ id 0 isGroup 1 graphics [ x 50.0 y 50.0 ] ]
  node [ id 1 gid 0 graphics [ x 10.0 y 20.5 w 30.0 ] ]
  node [ id 2 gid 0 graphics [ x 30 y 40 ] ]
  edge [ source 1 target 2 ]
  edge [ source 1 target 2 ]
]"""
    read = drawn_from_text(yed)
    assert places(read) == [(10.0, -20.5), (30.0, -40.0)]
    assert read.drawn.links == ((0, 1),)


@pytest.mark.parametrize(
    "links",
    [
        "*Edges\n1 2 1\n2 3\n",
        "*Arcs\n1 2 1\n2 1 1\n*Edges\n3 2\n",
        "*Arcslist\n2 1 3\n",
        "*Edgeslist\n1 2\n2 3\n",
        "*Matrix\n0 1 0\n1 0 1\n0 1 0\n",
    ],
)
def test_pajek_is_read_with_two_vertices_of_one_label(links: str) -> None:
    vertices = '% drawn\n*Vertices 3\n1 "a" 0.0 0.0 0.5\n2 "b c" 0.5 0.25 box\n3 "a" 1.0 1.0\n'
    read = drawn_from_text("\ufeff*Network n\r\n" + vertices + links)
    assert places(read) == [(-100.0, 100.0), (0.0, 50.0), (100.0, -100.0)]
    assert {tuple(sorted(pair)) for pair in read.drawn.links} == {(0, 1), (1, 2)}
    assert "places are shares of Pajek's window, which is taken as 200 m wide" in read.notes


def test_pajek_of_networkx_keeps_our_attributes() -> None:
    graph = nx.Graph()
    graph.add_node("a", x_m="1.5", y_m="0", task="reading")
    graph.add_node("b", x_m="9", y_m="2", task="addition")
    graph.add_edge("a", "b")
    read = drawn_from_text("\n".join(nx.generate_pajek(graph)))
    assert places(read) == [(1.5, 0.0), (9.0, 2.0)]
    assert read.tasks == ("reading", "addition")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "neither JSON nor GraphML, GML or Pajek"),
        ("a,b\n1,2\n", "neither JSON"),
        ("<gexf><graph/></gexf>", "begins with gexf"),
        ('{"nodes": 3}', "nodes must be a list of objects"),
        ('{"nodes": [{"id": 1}, {"id": 1}]}', "two nodes have the id 1"),
        ('{"nodes": [{"id": 1}], "links": [{"source": 1}]}', "an edge names the node 'null'"),
        ('{"nodes": []}', "no nodes"),
        ('{"elements": []}', "elements must be an object"),
        ('{"nodes": [{"x": true, "y": 0}]}', "device 0: x: must be a finite number, not True"),
        ('{"nodes": [{"x": [1], "y": 0}]}', "device 0: x: \\[1\\] is no number"),
        ('{"nodes": [{"x": 1' + "0" * 400 + ', "y": 0}]}', "device 0: x: .* no number|finite"),
        ('{"nodes": [{"task": "Poetry"}]}', "device 0: task: 'Poetry' is no task; tasks are 'read"),
        ("graph [ node [ id 0 ]", "not GML"),
        ("graph [ node [ id 0 ] edge [ source 0 target 9 ] ]", "not GML: edge #0 .* target 9"),
        ("graph [ node 5 ]", "not GML"),
        ("graph [ " + "a [ " * 5000, "not GML"),
        ("*Vertices 2\n1 a\n*Edges\n1 b\n", "line 4 is not understood: 1 b"),
        ("*Vertices 2\n3 a\n", "line 2 is not understood"),
        ("*Vertices 2\n*Edges\n1 3\n", "an edge names the node '3'"),
        ("*Vertices 999999999\n", "999999999 devices; at most 256"),
        ("*Vertices 1\n*Vertices 1\n", "more than one network"),
    ],
)
def test_what_is_no_mesh_is_refused_in_one_sentence(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        drawn_from_text(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_places_of_a_map_move_to_their_middle_and_stay_as_far_apart() -> None:
    nodes = [{"x_m": 691608, "y_m": 5334760}, {"x_m": 691658, "y_m": 5334780}]
    read = drawn_from_text(json.dumps({"devices": nodes}))
    assert places(read) == [(-25.0, -10.0), (25.0, 10.0)]
    assert read.notes == (
        "places lie far from zero; their middle, 691633 m east and 5334770 m north, is zero now",
    )
    near = json.dumps({"devices": [{"x_m": 99_000, "y_m": 0}, {"x_m": 99_050, "y_m": 0}]})
    assert places(drawn_from_text(near)) == [(99_000.0, 0.0), (99_050.0, 0.0)]


def test_nodes_that_all_stand_in_one_place_have_none() -> None:
    read = drawn_from_text('{"nodes": [{"x": 0, "y": 0}, {"x": 0, "y": 0}]}')
    assert len(set(places(read))) == 2
    assert any("made up" in note for note in read.notes)


def test_links_of_our_own_files_follow_the_same_rule() -> None:
    read = drawn_from_text('{"devices": [{}, {}], "links": [[1, 0], [0, 1], [1, 0]]}')
    assert read.drawn.links == ((1, 0),)
    assert "2 of the edges join a pair again; a pair has one link" in read.notes
