"""Meshes: every layout places all devices apart and links them as its name says."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, strategies as st

from meshtune.engine.channels import build_channel
from meshtune.engine.config import RunConfig
from meshtune.engine.costs import method_costs
from meshtune.engine.geometry import distances_m
from meshtune.engine.topology import build_mesh, mesh_at, period, start_places
from meshtune.engine.topology.power import within_reach
from meshtune.engine.weights import metropolis_weights

LAYOUTS: list[dict[str, object]] = [
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
    {"kind": "line"},
    {"kind": "grid"},
    {"kind": "torus"},
    {"kind": "k_nearest", "neighbours": 1},
    {"kind": "spanning_tree"},
    {"kind": "erdos_renyi"},
    {"kind": "erdos_renyi", "link_prob": 0.01},
    {"kind": "watts_strogatz", "neighbours": 2, "bend_prob": 0.5},
    {"kind": "barabasi_albert", "links_each": 1},
    {"kind": "exponential"},
    {"kind": "k_means", "clusters": 1},
]
# What the config asks for at least.
LEAST_DEVICES = {"k_nearest": 2, "watts_strogatz": 3, "barabasi_albert": 2}


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
    devices = max(devices, LEAST_DEVICES.get(str(layout["kind"]), 1))
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
    [
        ("ring", 1, 0),
        ("ring", 2, 1),
        ("ring", 7, 7),
        ("full", 7, 21),
        ("star", 7, 6),
        ("line", 7, 6),
        ("grid", 3, 2),  # 2 + 1
        ("grid", 12, 17),  # three rows of four: 3 x 3 beside, 2 x 4 below
        ("grid", 17, 25),  # 5 + 5 + 5 + 2: 13 beside, 5 + 5 + 2 below
        ("torus", 4, 4),  # rows and columns of two have one link each
        ("torus", 9, 18),
        ("torus", 16, 32),
        ("spanning_tree", 17, 16),
        ("watts_strogatz", 17, 34),
        ("barabasi_albert", 17, 30),
    ],
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
    reach = within_reach(build_channel(asked), mesh.positions, method_costs(asked).message_bits)
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
    drawn = {"kind": "drawn", "positions": places, "links": [(0, 2)]}
    mesh = build_mesh(config(drawn, 3, method={"kind": "local"}))
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


def turned(device: int, by: int, devices: int) -> int:
    return (device + by) % devices


@pytest.mark.parametrize("columns", [2, 3, 4, 5, 8])
def test_square_lattices_are_those_of_the_textbook(columns: int) -> None:
    for kind, periodic in (("grid", False), ("torus", True)):
        mesh = build_mesh(config({"kind": kind}, columns**2))
        textbook = nx.Graph(nx.grid_2d_graph(columns, columns, periodic=periodic))
        links = nx.to_numpy_array(textbook, nodelist=sorted(textbook)).astype(bool)
        assert (mesh.linked == links).all()


def test_a_short_last_row_hangs_on_the_row_above_and_closes_on_itself_in_a_torus() -> None:
    grid = build_mesh(config({"kind": "grid"}, 8)).linked  # rows 0 1 2, 3 4 5, 6 7
    assert np.flatnonzero(grid[6]).tolist() == [3, 7]
    assert np.flatnonzero(grid[7]).tolist() == [4, 6]
    torus = build_mesh(config({"kind": "torus"}, 8)).linked
    assert np.flatnonzero(torus[6]).tolist() == [0, 3, 7]
    assert np.flatnonzero(torus[2]).tolist() == [0, 1, 5]


@pytest.mark.parametrize("kind", ["line", "grid", "torus"])
@pytest.mark.parametrize("devices", [2, 3, 12, 17])
def test_lattices_are_evenly_spaced_and_as_wide_as_the_disc(kind: str, devices: int) -> None:
    mesh = build_mesh(config({"kind": kind, "radius_m": 50.0}, devices))
    distances = distances_m(mesh.positions)
    grid = build_mesh(config({"kind": "line" if kind == "line" else "grid"}, devices)).linked
    np.testing.assert_allclose(distances[grid], distances[0, 1], rtol=1e-12)
    assert distances[~np.eye(devices, dtype=bool)].min() == pytest.approx(distances[0, 1])
    # The corner where the first device stands is on the circle.
    assert np.hypot(*mesh.positions[0]) == pytest.approx(50.0)


@pytest.mark.parametrize("devices", [2, 3, 5, 8, 16, 17])
def test_exponential_links_go_over_all_powers_of_two_below_the_number(devices: int) -> None:
    powers = [2**k for k in range(10) if 2**k < devices]
    one_way = build_mesh(directed(devices)).linked
    for sender in range(devices):
        receivers = {turned(sender, power, devices) for power in powers}
        assert set(np.flatnonzero(one_way[:, sender]).tolist()) == receivers
    assert (one_way.sum(axis=0) == len(powers)).all()
    both = build_mesh(config({"kind": "exponential"}, devices)).linked
    assert (both == (one_way | one_way.T)).all()
    offsets = {p % devices for p in powers} | {-p % devices for p in powers}
    assert (both.sum(axis=1) == len(offsets)).all()


def directed(devices: int, variant: str = "static") -> RunConfig:
    way = {"kind": "exponential", "direction": "one_way", "variant": variant}
    return config(way, devices, method={"kind": "lora_gossip"}, mixing={"rule": "uniform"})


@pytest.mark.parametrize("devices", [1, 2, 3, 16, 17])
def test_one_peer_takes_the_distances_in_turn(devices: int) -> None:
    asked = directed(devices, "one_peer")
    assert period(asked) == max(1, (devices - 1).bit_length())
    distances = max(1, int(np.ceil(np.log2(devices))))
    for round_index in range(3 * distances):
        linked = mesh_at(asked, start_places(asked), round_index).linked
        expected = np.zeros((devices, devices), dtype=bool)
        for sender in range(devices if devices > 1 else 0):
            expected[turned(sender, 2 ** (round_index % distances), devices), sender] = True
        assert (linked == expected).all()


def test_nothing_but_one_peer_changes_with_the_round() -> None:
    for layout in LAYOUTS:
        asked = config(layout, 5)
        assert period(asked) == 1
        places = start_places(asked)
        assert (mesh_at(asked, places, 1).linked == mesh_at(asked, places, 0).linked).all()


def test_every_device_is_linked_to_its_nearest_and_every_link_is_wanted_by_one_side() -> None:
    mesh = build_mesh(config({"kind": "k_nearest", "neighbours": 3}, 30, seed=4))
    order = distances_m(mesh.positions).argsort(axis=1)
    nearest = np.zeros((30, 30), dtype=bool)
    np.put_along_axis(nearest, order[:, 1:4], values=True, axis=1)
    assert (mesh.linked == (nearest | nearest.T)).all()


def test_all_but_one_neighbour_is_everybody() -> None:
    mesh = build_mesh(config({"kind": "k_nearest", "neighbours": 5}, 6))
    assert (mesh.linked == ~np.eye(6, dtype=bool)).all()


def test_the_spanning_tree_is_the_shortest() -> None:
    mesh = build_mesh(config({"kind": "spanning_tree"}, 40))
    tree = nx.minimum_spanning_tree(nx.from_numpy_array(distances_m(mesh.positions)))
    assert (mesh.linked == nx.to_numpy_array(tree, weight=None).astype(bool)).all()


def test_a_larger_link_probability_only_adds_links() -> None:
    few, many, all_pairs = (
        build_mesh(config({"kind": "erdos_renyi", "link_prob": p}, 30)).linked
        for p in (0.2, 0.6, 1.0)
    )
    assert few.sum() < many.sum()
    assert many[few].all()
    assert (all_pairs == ~np.eye(30, dtype=bool)).all()


def test_pairs_are_linked_as_often_as_the_probability_says() -> None:
    linked = build_mesh(config({"kind": "erdos_renyi", "link_prob": 0.3}, 200, seed=1)).linked
    pairs = 200 * 199 / 2
    # Five standard errors of so many coins.
    assert abs(linked.sum() / 2 / pairs - 0.3) < 5 * np.sqrt(0.3 * 0.7 / pairs)


def test_without_bent_links_the_small_world_is_a_ring_of_neighbours() -> None:
    small = {"kind": "watts_strogatz", "neighbours": 4, "bend_prob": 0.0}
    linked = build_mesh(config(small, 12)).linked
    for device in range(12):
        expected = {turned(device, by, 12) for by in (-2, -1, 1, 2)}
        assert set(np.flatnonzero(linked[device]).tolist()) == expected
    bent = build_mesh(config({**small, "bend_prob": 0.5}, 12)).linked
    assert bent[~linked].any()


def test_newcomers_bring_their_links_and_early_devices_become_hubs() -> None:
    early = 0.0
    for seed in range(20):
        linked = build_mesh(config({"kind": "barabasi_albert"}, 40, seed=seed)).linked
        for device in range(3, 40):
            assert linked[device, :device].sum() == 2
        early += linked[:5].sum() / linked.sum()
    # Five of forty would have an eighth of the ends if newcomers did not prefer.
    assert early / 20 > 2 * 5 / 40


def test_k_means_finds_groups_that_stand_apart_and_links_them_by_a_tree() -> None:
    rng = np.random.default_rng(0)
    centres = np.array([[0.0, 0.0], [90.0, 0.0], [0.0, 90.0]])
    places = centres[np.arange(12) % 3] + rng.uniform(-5, 5, (12, 2))
    for seed in range(5):
        mesh = mesh_at(config({"kind": "k_means", "clusters": 3}, 12, seed=seed), places)
        assert mesh.cluster.tolist() == [0, 1, 2] * 4
        same = mesh.cluster[:, None] == mesh.cluster[None, :]
        assert (mesh.inside == (same & ~np.eye(12, dtype=bool))).all()
        assert (mesh.linked & ~same).sum() == 2 * 2


def test_as_many_groups_as_devices_are_devices_alone() -> None:
    mesh = build_mesh(config({"kind": "k_means", "clusters": 9}, 9))
    assert mesh.cluster.tolist() == list(range(9))
    assert mesh.linked.sum() == 2 * 8


def test_devices_in_one_place_still_fill_all_groups() -> None:
    places = np.zeros((6, 2))
    cluster = mesh_at(config({"kind": "k_means", "clusters": 4}, 6), places).cluster
    assert set(cluster.tolist()) == {0, 1, 2, 3}


def test_random_links_follow_the_reach_of_devices_that_move_but_not_new_lots() -> None:
    radio = {"kind": "paper", "bandwidth_hz": 1e5, "deadline_s": 1.0, "tx_power_dbm": 0.0}
    asked = config({"kind": "random", "degree": 2}, 12, channel=radio)
    near = mesh_at(asked, start_places(asked)).linked
    assert (mesh_at(asked, start_places(asked) * 1.01).linked == near).all()
    places = start_places(asked)
    places[0] = (1e5, 0.0)  # far out of everybody's reach
    far = mesh_at(asked, places).linked
    assert not (far == near).all()
    # Whoever did not draw the device that left keeps what it drew.
    assert (far[1:, 1:] | ~near[1:, 1:]).all()
