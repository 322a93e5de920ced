"""The mesh of a run: positions of the devices and the links between them, per topology kind."""

import math
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import assert_never

import networkx as nx
import numpy as np
from jaxtyping import Bool, Float64

from engine import config as c
from engine.geometry import distances_m
from engine.rng import stream

# Random places keep this distance: closer, path loss says nothing (antennas would couple).
SPACING_M = 1.0
# Groups sit on a circle of this share of the radius, each within a disc of this share of it.
GROUP_CIRCLE = 0.6
GROUP_DISC = 0.35

Places = Float64[np.ndarray, "n 2"]
Links = Bool[np.ndarray, "n n"]


@dataclass(frozen=True)
class Mesh:
    """Positions in metres and candidate links; a link works in both directions."""

    positions: Float64[np.ndarray, "n 2"]
    linked: Bool[np.ndarray, "n n"]


def build_mesh(config: c.RunConfig) -> Mesh:
    """The mesh that `config` asks for, the same for the same seed and devices.

    Positions are drawn from `stream(seed, "positions")`, so every method sees the same places.
    """
    topology = config.topology
    devices = config.fleet.devices
    rng = stream(config.seed, "positions")
    match topology:
        case c.Ring():
            return Mesh(_circle(devices, topology.radius_m), _ring(devices))
        case c.Full():
            return Mesh(_disc(devices, topology.radius_m, rng), _full(devices))
        case c.Star():
            return Mesh(_disc(devices, topology.radius_m, rng, centred=True), _star(devices))
        case c.Geometric():
            places = _disc(devices, topology.radius_m, rng)
            return Mesh(places, _geometric(places, topology.range_m))
        case c.Clusters():
            groups = device_groups(config, topology)
            places = _grouped(groups, devices, topology.radius_m, rng)
            return Mesh(places, _clustered(groups, places))
        case c.Drawn():
            drawn = np.array([(p.x_m, p.y_m) for p in topology.positions], dtype=np.float64)
            return Mesh(drawn, _pairs(devices, topology.links))
        case _:
            assert_never(topology)


def device_groups(config: c.RunConfig, topology: c.Clusters) -> list[list[int]]:
    """Members of every cluster: one group per present task, or an equal random deal."""
    devices = config.fleet.devices
    if topology.by == "task":
        held = [config.fleet.task_of(device) for device in range(devices)]
        return [
            [device for device in range(devices) if held[device] == task]
            for task in config.fleet.present_tasks()
        ]
    # A random deal, because any fixed order can coincide with the order of the tasks.
    deal = stream(config.seed, "groups").permutation(devices)
    return [sorted(int(d) for d in part) for part in np.array_split(deal, topology.clusters)]


def _circle(devices: int, radius_m: float) -> Places:
    if devices == 1:
        return np.zeros((1, 2))
    angles = 2.0 * math.pi * np.arange(devices) / devices
    return radius_m * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _disc(
    devices: int, radius_m: float, rng: np.random.Generator, *, centred: bool = False
) -> Places:
    """Uniform places in a disc, each at least the spacing away from all earlier ones."""
    # A disc too small for the spacing gets one that random placing can always meet (a quarter of
    # the area taken; it jams near one half), so that every valid config has a mesh.
    spacing_m = min(SPACING_M, radius_m / math.sqrt(devices))
    places = np.zeros((devices, 2))
    placed = int(centred)
    while placed < devices:
        distance_m = radius_m * math.sqrt(rng.random())
        angle = 2.0 * math.pi * rng.random()
        place = distance_m * np.array([math.cos(angle), math.sin(angle)])
        if not placed or np.hypot(*(places[:placed] - place).T).min() >= spacing_m:
            places[placed] = place
            placed += 1
    return places


def _grouped(
    groups: list[list[int]], devices: int, radius_m: float, rng: np.random.Generator
) -> Places:
    centres = _circle(len(groups), GROUP_CIRCLE * radius_m)
    apart_m = radius_m
    if len(groups) > 1:
        apart_m = 2.0 * GROUP_CIRCLE * radius_m * math.sin(math.pi / len(groups))
    group_radius_m = GROUP_DISC * min(apart_m, radius_m)
    places = np.zeros((devices, 2))
    for centre, members in zip(centres, groups, strict=True):
        places[members] = centre + _disc(len(members), group_radius_m, rng)
    return places


def _pairs(devices: int, pairs: tuple[tuple[int, int], ...] | list[tuple[int, int]]) -> Links:
    linked = np.zeros((devices, devices), dtype=np.bool_)
    for first, second in pairs:
        linked[first, second] = linked[second, first] = True
    return linked


def _ring(devices: int) -> Links:
    # range(n) with one device would link it to itself; two devices share one link.
    return _pairs(devices, [(i, (i + 1) % devices) for i in range(devices) if devices > 1])


def _full(devices: int) -> Links:
    linked: Links = ~np.eye(devices, dtype=np.bool_)
    return linked


def _star(devices: int) -> Links:
    return _pairs(devices, [(0, device) for device in range(1, devices)])


def _geometric(places: Places, range_m: float) -> Links:
    """Links shorter than the range, and the shortest further ones that join the parts.

    A minimum spanning tree in which present links cost nothing takes exactly those.
    """
    distances = distances_m(places)
    linked: Links = (distances < range_m) & _full(len(places))
    graph = nx.from_numpy_array(np.ones_like(distances))
    for first, second, edge in graph.edges(data=True):
        edge["weight"] = 0.0 if linked[first, second] else distances[first, second]
    for first, second in nx.minimum_spanning_edges(graph, data=False):
        linked[first, second] = linked[second, first] = first != second
    return linked


def _clustered(groups: list[list[int]], places: Places) -> Links:
    """Full meshes inside the groups and the closest pair between consecutive groups."""
    distances = distances_m(places)
    pairs = [pair for members in groups for pair in combinations(members, 2)]
    neighbours = list(pairwise(groups))
    if len(groups) > 2:
        neighbours.append((groups[-1], groups[0]))
    for here, there in neighbours:
        nearest = int(distances[np.ix_(here, there)].argmin())
        pairs.append((here[nearest // len(there)], there[nearest % len(there)]))
    return _pairs(len(places), pairs)
