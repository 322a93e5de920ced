"""Meshes: every layout places all devices apart and links them as its name says."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.channels import build_channel
from engine.config import RunConfig
from engine.geometry import distances_m
from engine.topology import build_mesh, metropolis_weights
from engine.topology.power import message_bits, within_reach

LAYOUTS = [
    {"kind": "ring"},
    {"kind": "full"},
    {"kind": "star"},
    {"kind": "geometric"},
    {"kind": "geometric", "range_m": 0.5},
    {"kind": "random"},
    {"kind": "random", "degree": 1},
    {"kind": "agnes"},
    {"kind": "clusters"},
    {"kind": "clusters", "by": "place", "clusters": 1},
]


def config(topology: dict[str, object], devices: int, **rest: object) -> RunConfig:
    return RunConfig.model_validate(
        {"topology": topology, "fleet": {"devices": devices, **rest.pop("fleet", {})}, **rest}
    )


@given(
    layout=st.sampled_from(LAYOUTS),
    devices=st.integers(1, 40),
    seed=st.integers(0, 2**31 - 1),
    radius_m=st.sampled_from([0.01, 1.0, 100.0]),
)
def test_every_layout_is_one_mesh_of_distinct_places(
    layout: dict[str, object], devices: int, seed: int, radius_m: float
) -> None:
    mesh = build_mesh(config({**layout, "radius_m": radius_m}, devices, seed=seed))
    assert mesh.positions.shape == (devices, 2)
    assert (mesh.linked == mesh.linked.T).all()
    assert not mesh.linked.diagonal().any()
    assert nx.is_connected(nx.from_numpy_array(mesh.linked))
    assert np.hypot(*mesh.positions.T).max() <= radius_m * (1 + 1e-9)
    assert len({tuple(place) for place in mesh.positions}) == devices
    # Clusters are numbered from 0 without a gap.
    assert mesh.cluster.shape == (devices,)
    assert set(mesh.cluster.tolist()) == set(range(mesh.cluster.max() + 1))


@pytest.mark.parametrize("kind", ["full", "star", "geometric"])
def test_random_places_are_a_metre_apart(kind: str) -> None:
    distances = distances_m(build_mesh(config({"kind": kind}, 200)).positions)
    assert distances[~np.eye(200, dtype=bool)].min() >= 1.0


def test_the_same_seed_gives_the_same_places_whatever_the_method() -> None:
    one = build_mesh(config({"kind": "full"}, 9, seed=5, method={"kind": "local"}))
    two = build_mesh(config({"kind": "geometric"}, 9, seed=5))
    other = build_mesh(config({"kind": "full"}, 9, seed=6))
    assert (one.positions == two.positions).all()
    assert (one.positions != other.positions).all()


@pytest.mark.parametrize(
    ("kind", "devices", "links"),
    [("ring", 1, 0), ("ring", 2, 1), ("ring", 7, 7), ("full", 7, 21), ("star", 7, 6)],
)
def test_layouts_have_the_links_of_their_name(kind: str, devices: int, links: int) -> None:
    mesh = build_mesh(config({"kind": kind}, devices))
    assert mesh.linked.sum() == 2 * links


def test_star_links_all_devices_to_the_one_in_the_centre() -> None:
    mesh = build_mesh(config({"kind": "star"}, 5))
    assert mesh.linked[0].tolist() == [False, True, True, True, True]
    assert mesh.positions[0].tolist() == [0.0, 0.0]


def test_geometric_links_are_exactly_those_in_range_when_that_connects() -> None:
    mesh = build_mesh(config({"kind": "geometric", "range_m": 150.0}, 20))
    distances = distances_m(mesh.positions)
    assert (mesh.linked == ((distances < 150.0) & (distances > 0.0))).all()


def test_geometric_out_of_range_joins_by_the_shortest_links() -> None:
    mesh = build_mesh(config({"kind": "geometric", "range_m": 0.5}, 12))
    distances = distances_m(mesh.positions)
    tree = nx.minimum_spanning_tree(nx.from_numpy_array(distances))
    assert {frozenset(e) for e in tree.edges} == {
        frozenset(e) for e in np.argwhere(mesh.linked).tolist()
    }


def test_clusters_by_task_hold_one_task_each_and_one_gateway_to_the_next() -> None:
    tasks = ("reading", "addition", "expression")
    asked = config({"kind": "clusters"}, 9, fleet={"tasks": tasks})
    mesh = build_mesh(asked)
    held = np.array([asked.fleet.task_of(device) for device in range(9)])
    same = held[:, None] == held[None, :]
    assert mesh.linked[same].sum() == 9 * 2  # all pairs of three groups of three
    assert mesh.linked[~same].sum() == 2 * 3  # a ring of three groups
    distances = distances_m(mesh.positions)
    for here, there in [("reading", "addition"), ("addition", "expression")]:
        between = np.ix_(held == here, held == there)
        assert distances[between][mesh.linked[between]] == distances[between].min()


def test_two_clusters_share_one_gateway_link() -> None:
    asked = config({"kind": "clusters"}, 4, fleet={"tasks": ("reading", "addition")})
    assert build_mesh(asked).linked.sum() == 2 * 3


def test_clusters_by_place_are_equal_in_size() -> None:
    mesh = build_mesh(config({"kind": "clusters", "by": "place", "clusters": 4}, 10))
    # Two groups of three and two of two, full inside: 3 + 3 + 1 + 1; a ring of four gateways.
    assert mesh.linked.sum() == 2 * (8 + 4)


def test_clusters_are_numbered_by_group_and_inside_leaves_out_the_gateways() -> None:
    asked = config({"kind": "clusters"}, 9, fleet={"tasks": ("reading", "addition", "expression")})
    mesh = build_mesh(asked)
    assert mesh.cluster.tolist() == [0, 1, 2] * 3
    assert mesh.inside.sum() == 9 * 2
    assert (mesh.linked & ~mesh.inside).sum() == 2 * 3


@pytest.mark.parametrize("kind", ["ring", "full", "star", "geometric", "random"])
def test_meshes_without_clusters_are_one_cluster(kind: str) -> None:
    mesh = build_mesh(config({"kind": kind}, 7))
    assert mesh.cluster.tolist() == [0] * 7
    assert mesh.merges == ()
    assert (mesh.inside == mesh.linked).all()


def test_random_links_are_drawn_by_every_device_and_taken_by_both() -> None:
    mesh = build_mesh(config({"kind": "random", "degree": 3}, 40, seed=3))
    degree = mesh.linked.sum(axis=1)
    assert degree.min() >= 3
    # Every device draws 3 and is drawn by 3 others on average, some of them the same.
    assert 40 * 3 / 2 <= mesh.linked.sum() / 2 <= 40 * 3
    everybody = build_mesh(config({"kind": "random", "degree": 255}, 6))
    assert (everybody.linked == ~np.eye(6, dtype=bool)).all()


def test_random_links_do_not_follow_distance() -> None:
    degrees = np.zeros((10, 10))
    for seed in range(200):
        mesh = build_mesh(config({"kind": "random", "degree": 2}, 10, seed=seed))
        order = distances_m(mesh.positions).argsort(axis=1)
        degrees += np.take_along_axis(mesh.linked, order, axis=1)
    # A pair is linked if either draws it: 1 - (7/9)^2, up to five standard errors of 2000 draws.
    share = 1 - (7 / 9) ** 2
    bound = 5 * np.sqrt(share * (1 - share) / 2000)
    assert np.abs(degrees.sum(axis=0)[1:] / 2000 - share).max() < bound


def test_random_links_stay_within_reach_of_the_radio_where_somebody_is() -> None:
    radio = {"kind": "paper", "bandwidth_hz": 1e5, "deadline_s": 1.0, "tx_power_dbm": 0.0}
    asked = config({"kind": "random", "degree": 2, "radius_m": 3000}, 30, channel=radio)
    mesh = build_mesh(asked)
    reach = within_reach(build_channel(asked), mesh.positions, message_bits(asked))
    distances = distances_m(mesh.positions)
    tree = nx.minimum_spanning_tree(nx.from_numpy_array(distances))
    nearest = nx.to_numpy_array(tree, weight=None).astype(bool)
    assert (reach.sum(), (~reach.any(axis=1)).sum()) == (80, 3)
    near = reach.any(axis=1)
    both = near[:, None] & near[None, :]
    assert (reach | nearest)[mesh.linked & both].all()
    assert (mesh.linked[near].sum(axis=1) >= np.minimum(reach[near].sum(axis=1), 2)).all()
    # Whoever reaches nobody draws among all.
    assert (mesh.linked[~near].sum(axis=1) >= 2).all()


def test_drawn_places_and_links_are_taken_as_they_are() -> None:
    places = [{"x_m": 0, "y_m": 0}, {"x_m": 3, "y_m": 4}, {"x_m": -7, "y_m": 1}]
    mesh = build_mesh(config({"kind": "drawn", "positions": places, "links": [(0, 2)]}, 3))
    assert mesh.positions.tolist() == [[0.0, 0.0], [3.0, 4.0], [-7.0, 1.0]]
    assert np.argwhere(mesh.linked).tolist() == [[0, 2], [2, 0]]
    assert distances_m(mesh.positions)[0, 1] == 5.0


def test_weights_of_a_path_of_three_are_those_by_hand() -> None:
    path = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], dtype=bool)
    third = 1 / 3
    expected = [[2 * third, third, 0], [third, third, third], [0, third, 2 * third]]
    np.testing.assert_allclose(metropolis_weights(path), expected, atol=1e-15)


def test_a_link_that_worked_one_way_only_has_no_weight() -> None:
    heard = np.array([[0, 1], [0, 0]], dtype=bool)
    assert metropolis_weights(heard).tolist() == [[1.0, 0.0], [0.0, 1.0]]
