"""Laws of topologies, for any number of devices: whole, symmetric, repeatable, exact."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from meshtune.engine.config import RunConfig
from meshtune.engine.geometry import distances_m
from meshtune.engine.rng import stream
from meshtune.engine.topology import build_mesh, depends_on_places, mesh_at, start_places
from meshtune.engine.topology.joining import joined
from meshtune.engine.topology.k_means import near_groups

SIZES = (1, 2, 3, 5, 16, 17)
FIXED = ["ring", "line", "star", "full", "grid", "torus", "exponential"]
BY_LOT = ["erdos_renyi", "watts_strogatz", "barabasi_albert"]
MOVED = ["geometric", "k_nearest", "spanning_tree", "random", "k_means", "agnes"]
KINDS = [*FIXED, *BY_LOT, *MOVED, "clusters"]
ON_MAP = {"star", "full", "clusters", *BY_LOT, *MOVED} - {"watts_strogatz"}  # at random places


def config(kind: str, devices: int, seed: int = 0, **parts: object) -> RunConfig | None:
    """The kind with as few links as its defaults and so few devices allow; None if none are."""
    fewest: dict[str, tuple[str, int]] = {
        "k_nearest": ("neighbours", min(4, devices - 1)),
        "watts_strogatz": ("neighbours", min(4, (devices - 1) // 2 * 2)),
        "barabasi_albert": ("links_each", min(2, devices - 1)),
        "k_means": ("clusters", min(4, devices)),
    }
    topology: dict[str, object] = {"kind": kind, **parts}
    if kind in fewest:
        name, value = fewest[kind]
        if value == 0:
            return None
        topology[name] = value
    return RunConfig.model_validate(
        {"seed": seed, "fleet": {"devices": devices}, "topology": topology}
    )


@pytest.mark.parametrize("devices", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_symmetric_connected_and_links_nobody_to_itself(
    kind: str, devices: int
) -> None:
    asked = config(kind, devices)
    if asked is None:
        assert devices < 3
        return
    mesh = build_mesh(asked)
    assert mesh.linked.shape == (devices, devices)
    assert (mesh.linked == mesh.linked.T).all()
    assert not mesh.linked.diagonal().any()
    assert nx.is_connected(nx.from_numpy_array(mesh.linked))
    assert np.hypot(*mesh.positions.T).max() <= 100.0 * (1 + 1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_one_seed_gives_one_mesh_and_another_seed_another(kind: str) -> None:
    one, same, other = (build_mesh(config(kind, 17, seed)) for seed in (3, 3, 4))
    assert (one.positions == same.positions).all()
    assert (one.linked == same.linked).all()
    assert (one.cluster == same.cluster).all()
    assert (one.positions == other.positions).all() == (kind not in ON_MAP)
    if kind in {*BY_LOT, *MOVED}:
        assert (one.linked != other.linked).any()
    elif kind in FIXED:
        assert (one.linked == other.linked).all()


@given(kind=st.sampled_from(KINDS), devices=st.integers(3, 24), seed=st.integers(0, 2**31 - 1))
def test_links_move_with_the_devices_only_where_they_depend_on_places(
    kind: str, devices: int, seed: int
) -> None:
    asked = config(kind, devices, seed)
    assert depends_on_places(asked.topology) == (kind in MOVED)
    start = build_mesh(asked)
    again = mesh_at(asked, start_places(asked))
    assert (again.linked == start.linked).all()
    places = stream(seed, "elsewhere").uniform(-100, 100, (devices, 2))
    moved = mesh_at(asked, places)
    assert (moved.positions == places).all()
    if kind not in MOVED:
        assert (moved.linked == start.linked).all()
        assert (moved.cluster == start.cluster).all()


# Lots are drawn by numbered devices, and so is the start of k_means.
@pytest.mark.parametrize("kind", ["geometric", "k_nearest", "spanning_tree", "agnes"])
def test_devices_that_swap_places_swap_links(kind: str) -> None:
    asked = config(kind, 12)
    places = start_places(asked)
    order = stream(0, "order").permutation(12)
    swapped = mesh_at(asked, places[order]).linked
    assert (swapped == mesh_at(asked, places).linked[np.ix_(order, order)]).all()


def one_way(devices: int) -> RunConfig:
    return RunConfig.model_validate(
        {
            "fleet": {"devices": devices},
            "topology": {"kind": "exponential", "variant": "one_peer", "direction": "one_way"},
            "method": {"kind": "lora_gossip"},
            "mixing": {"rule": "uniform"},
        }
    )


@given(power=st.integers(1, 7), first=st.integers(0, 50))
def test_one_peer_averages_exactly_in_log_n_rounds_if_n_is_a_power_of_two(
    power: int, first: int
) -> None:
    devices = 2**power
    asked = one_way(devices)
    places = start_places(asked)
    values = stream(first, "values").normal(size=devices)
    mixed = values
    for round_index in range(first, first + power):
        linked = mesh_at(asked, places, round_index).linked
        assert (linked.sum(axis=0) == 1).all()
        assert (linked.sum(axis=1) == 1).all()
        mixed = 0.5 * mixed + 0.5 * linked @ mixed
    np.testing.assert_allclose(mixed, values.mean(), atol=1e-12)


@given(st.integers(3, 40).filter(lambda n: n & (n - 1)))
def test_one_peer_reaches_everybody_in_log_n_rounds_whatever_the_number(devices: int) -> None:
    asked = one_way(devices)
    places = start_places(asked)
    heard = np.eye(devices, dtype=bool)
    for round_index in range(int(np.ceil(np.log2(devices)))):
        heard = heard | (mesh_at(asked, places, round_index).linked @ heard)
    assert heard.all()


def kruskal(linked: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Pairs one by one, present links first, then the shortest, then the lowest."""
    devices = len(linked)
    mesh, part = linked.copy(), list(range(devices))
    pairs = [(i, j) for i in range(devices) for j in range(i + 1, devices)]
    for i, j in sorted(pairs, key=lambda pair: (not linked[pair], distances[pair], pair)):
        if part[i] != part[j]:
            mesh[i, j] = mesh[j, i] = True
            part = [part[i] if p == part[j] else p for p in part]
    return mesh


@given(
    places=arrays(
        np.float64, st.tuples(st.integers(1, 14), st.just(2)), elements=st.integers(0, 3)
    ),
    near=st.floats(0, 0.4),
    seed=st.integers(0, 2**31),
)
def test_parts_are_joined_as_one_pair_after_the_other_would(
    places: np.ndarray, near: float, seed: int
) -> None:
    # On a lattice of few points: many distances are equal, and some are zero.
    devices = len(places)
    upper = np.triu(stream(seed, "near").random((devices, devices)) < near, k=1)
    linked = upper | upper.T
    distances = distances_m(places)
    assert (joined(linked, distances) == kruskal(linked, distances)).all()


@given(devices=st.integers(1, 30), groups=st.integers(1, 12), seed=st.integers(0, 2**31 - 1))
def test_k_means_ends_where_everybody_is_nearest_to_the_middle_of_its_group(
    devices: int, groups: int, seed: int
) -> None:
    groups = min(groups, devices)
    places = stream(seed, "places").uniform(-100, 100, (devices, 2))
    cluster = near_groups(places, groups, stream(seed, "start"))
    middles = np.array([places[cluster == k].mean(axis=0) for k in range(groups)])
    own_m = np.hypot(*(places - middles[cluster]).T)
    for k in range(groups):
        assert (own_m <= np.hypot(*(places - middles[k]).T) + 1e-9).all()
    # Numbered by their lowest members, none empty.
    lowest = [np.flatnonzero(cluster == k).min() for k in range(groups)]
    assert lowest == sorted(lowest)
