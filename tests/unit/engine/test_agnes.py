"""The paper's clusters: merged in the right order, as far as collisions and power allow."""

from itertools import combinations

import networkx as nx
import numpy as np
import pytest

from meshtune.engine.config import RunConfig
from meshtune.engine.geometry import distances_m
from meshtune.engine.topology import Mesh, build_mesh
from meshtune.engine.topology.agnes import agnes

ALL_REACH = np.ones((4, 4), dtype=bool)


def config(devices: int = 8, density: float = 0.5, **parts: object) -> RunConfig:
    topology = {"kind": "agnes", **parts.pop("topology", {})}
    fleet = {"devices": devices, **parts.pop("fleet", {})}
    method = {"kind": "so_lora", "density": density}
    return RunConfig.model_validate(
        {"topology": topology, "fleet": fleet, "method": method, **parts}
    )


def groups(mesh: Mesh) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(mesh.cluster == k).tolist()) for k in set(mesh.cluster)}


def sizes(mesh: Mesh) -> list[int]:
    return sorted(np.bincount(mesh.cluster).tolist())


def test_clusters_merge_lowest_collision_first_then_least_power_then_lowest_members() -> None:
    rates = {(0, 1): 0.2, (2, 3): 0.1, (0, 2): 0.1, (1, 3): 0.1}
    powers = {(2, 3): 5.0, (0, 2): 3.0, (1, 3): 3.0}
    cluster, merges = agnes(
        ALL_REACH,
        lambda members: powers.get(members, 9.0),
        lambda members: rates.get(members, 0.5),
        0.6,
    )
    assert [(m.left, m.right) for m in merges] == [((0,), (2,)), ((1,), (3,)), ((0, 2), (1, 3))]
    assert [(m.collision, m.power_w) for m in merges] == [(0.1, 3.0), (0.1, 3.0), (0.5, 9.0)]
    assert cluster.tolist() == [0, 0, 0, 0]


def test_clusters_out_of_reach_never_merge() -> None:
    reach = np.zeros((4, 4), dtype=bool)
    reach[0, 3] = reach[3, 0] = reach[3, 1] = reach[1, 3] = True
    cluster, merges = agnes(reach, lambda _: 0.0, lambda _: 0.0, 1.0)
    assert cluster.tolist() == [0, 0, 1, 0]
    assert [(m.left, m.right) for m in merges] == [((0,), (3,)), ((0, 3), (1,))]


def test_a_pair_without_the_power_waits_for_no_one() -> None:
    cluster, _ = agnes(ALL_REACH, lambda m: np.inf if 2 in m else 1.0, lambda _: 0.0, 1.0)
    assert cluster.tolist() == [0, 0, 1, 0]


def test_rounding_errors_decide_neither_order_nor_limit() -> None:
    rates = {(0, 1): 0.1 + 0.2, (2, 3): 0.3}  # 0.30000000000000004 and 0.3
    _, merges = agnes(
        ALL_REACH, lambda m: 2.0 if m == (2, 3) else 1.0, lambda m: rates.get(m, 0.9), 0.3
    )
    assert [(m.left, m.right) for m in merges] == [((0,), (1,)), ((2,), (3,))]
    # Digits count from the first one: a tiny rate is not none.
    assert agnes(ALL_REACH, lambda _: 0.0, lambda _: 1e-15, 0.0)[1] == ()


def test_each_pair_of_clusters_is_rated_once() -> None:
    asked = []

    def rate(members: tuple[int, ...]) -> float:
        asked.append(members)
        return len(members) / 100

    agnes(np.ones((12, 12), dtype=bool), lambda _: 0.0, rate, 1.0)
    # All pairs of devices, and each merged cluster with those that are left.
    assert len(asked) == 12 * 11 / 2 + sum(range(11))


@pytest.mark.parametrize("channel", ["paper", "ideal"])
def test_t7_no_collision_allowed_keeps_all_apart_and_any_makes_one_cluster(channel: str) -> None:
    parts = {"channel": {"kind": channel}}
    alone = build_mesh(config(9, topology={"collision_max": 0.0}, **parts))
    together = build_mesh(config(9, topology={"collision_max": 1.0}, **parts))
    assert alone.cluster.tolist() == list(range(9))
    assert alone.merges == ()
    assert not alone.inside.any()
    assert together.cluster.tolist() == [0] * 9
    assert len(together.merges) == 8
    assert (together.linked == ~np.eye(9, dtype=bool)).all()


@pytest.mark.parametrize(
    ("density", "collision_max", "largest"),
    # Equal densities merge equal sizes: 5 devices at 0.1 collide in 0.081, but 4 + 4 in 0.187.
    [(0.5, 0.49, 2), (0.5, 0.3, 2), (0.25, 0.3, 4), (0.1, 0.1, 4), (1.0, 0.99, 1)],
)
def test_clusters_double_until_the_next_size_would_collide_too_much(
    density: float, collision_max: float, largest: int
) -> None:
    mesh = build_mesh(config(20, density, topology={"collision_max": collision_max}))
    assert sizes(mesh)[-1] == largest


def test_methods_without_a_mask_collide_everywhere_and_stay_apart() -> None:
    for kind, most in (("lora_gossip", 1), ("lori", 1)):
        mesh = build_mesh(config(6).model_copy(update={"method": _method(kind)}))
        assert sizes(mesh)[-1] == most
    sparse = build_mesh(config(6).model_copy(update={"method": _method("lori", density=0.1)}))
    assert sizes(sparse) == [6]


def _method(kind: str, **parts: object) -> object:
    return RunConfig.model_validate({"method": {"kind": kind, **parts}}).method


def test_the_band_bounds_the_cluster_when_collisions_do_not() -> None:
    # 417792 bits by 1 s in 0.1 MHz: 4.2 bit/s/Hz to one receiver, twice that is above the cap.
    radio = {"kind": "paper", "bandwidth_hz": 1e5, "deadline_s": 1.0}
    mesh = build_mesh(config(12, topology={"collision_max": 1.0, "radius_m": 10}, channel=radio))
    assert sizes(mesh) == [2] * 6


def test_e13_uniform_densities_pair_the_nearest_whatever_their_tasks() -> None:
    mesh = build_mesh(config(8))
    distances = distances_m(mesh.positions)
    left = set(range(8))
    for merge in mesh.merges:
        nearest = min(combinations(sorted(left), 2), key=lambda pair: distances[pair])
        assert (merge.left, merge.right) == ((nearest[0],), (nearest[1],))
        left -= set(nearest)
    assert not left
    same_task = config(8, fleet={"tasks": ("reading",)})
    assert groups(build_mesh(same_task)) == groups(mesh)


def test_e13_collisions_between_tasks_only_bring_devices_of_one_task_together() -> None:
    tasks = ("reading", "addition", "expression", "ending")
    asked = config(12, fleet={"tasks": tasks}, topology={"collision": "across_tasks"})
    mesh = build_mesh(asked)
    held = np.array([asked.fleet.task_of(device) for device in range(12)])
    for task in tasks:
        assert len(set(mesh.cluster[held == task])) == 1
    # Two tasks at s = 0.5 collide in 0.25 of all entries, three in 0.5.
    assert sizes(mesh) == [6, 6]
    alone = build_mesh(
        config(
            12,
            fleet={"tasks": tasks},
            topology={"collision": "across_tasks", "collision_max": 0.0},
        )
    )
    assert groups(alone) == {frozenset(np.flatnonzero(held == task).tolist()) for task in tasks}


def test_given_densities_decide_who_merges_first() -> None:
    densities = np.full((5, 2), 0.9)
    densities[1], densities[4] = (0.0, 0.2), (0.4, 0.1)
    mesh = build_mesh(config(5, topology={"collision_max": 0.05}), densities)
    assert [(m.left, m.right) for m in mesh.merges] == [((1,), (4,))]
    assert mesh.merges[0].collision == pytest.approx((0.0 + 0.02) / 2)


def test_real_masks_decide_when_collisions_are_counted() -> None:
    masks = np.zeros((4, 10), dtype=bool)
    masks[0, :5] = masks[3, 5:] = masks[1, ::2] = masks[2, ::2] = True
    asked = config(4, topology={"collision": "empirical", "collision_max": 0.2})
    mesh = build_mesh(asked, masks=masks)
    assert [(m.left, m.right, m.collision) for m in mesh.merges] == [((0,), (3,), 0.0)]
    # Before there are masks, the densities decide: 0.25 is above 0.2.
    assert build_mesh(asked).merges == ()


def test_clusters_are_full_inside_and_a_tree_of_nearest_gateways_between() -> None:
    mesh = build_mesh(config(24, 0.25))
    distances = distances_m(mesh.positions)
    same = mesh.cluster[:, None] == mesh.cluster[None, :]
    assert (mesh.inside == (same & ~np.eye(24, dtype=bool))).all()
    clusters = nx.Graph()
    clusters.add_nodes_from(range(6))
    for one, other in np.argwhere(np.triu(mesh.linked & ~same)):
        between = np.ix_(mesh.cluster == mesh.cluster[one], mesh.cluster == mesh.cluster[other])
        assert distances[one, other] == distances[between].min()
        clusters.add_edge(int(mesh.cluster[one]), int(mesh.cluster[other]))
    assert nx.is_tree(clusters)
    for k in range(6):
        outside = mesh.cluster != k
        nearest = distances[np.ix_(~outside, outside)]
        row, column = np.unravel_index(nearest.argmin(), nearest.shape)
        assert mesh.linked[np.flatnonzero(~outside)[row], np.flatnonzero(outside)[column]]
