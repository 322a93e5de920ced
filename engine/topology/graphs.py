"""The mesh of a run: positions of the devices and the links between them, per topology kind."""

import math
from itertools import combinations, pairwise
from typing import assert_never

import networkx as nx
import numpy as np
from jaxtyping import Bool, Float64

from engine import config as c
from engine.channels import build_channel
from engine.geometry import distances_m
from engine.rng import stream
from engine.topology.agnes import agnes, cluster_collision, cluster_labels, cluster_power
from engine.topology.base import Mesh
from engine.topology.power import message_bits, within_reach

# Random places keep this distance: closer, path loss says nothing (antennas would couple).
SPACING_M = 1.0
# Groups sit on a circle of this share of the radius, each within a disc of this share of it.
GROUP_CIRCLE = 0.6
GROUP_DISC = 0.35

Places = Float64[np.ndarray, "n 2"]
Links = Bool[np.ndarray, "n n"]


def build_mesh(
    config: c.RunConfig,
    densities: Float64[np.ndarray, "n layers"] | None = None,
    masks: Bool[np.ndarray, "n p"] | None = None,
) -> Mesh:
    """The mesh that `config` asks for, the same for the same seed and devices.

    Positions are drawn from `stream(seed, "positions")`, so every method sees the same places.

    Args:
        config: the experiment.
        densities: share of B that each device holds, per layer, for the paper's clusters; that of
            the method in every layer if None.
        masks: entries of B that each device holds, for collisions counted empirically; before
            there are any, clusters are formed from the densities.
    """
    topology = config.topology
    devices = config.fleet.devices
    rng = stream(config.seed, "positions")
    match topology:
        case c.Ring():
            return _single(_circle(devices, topology.radius_m), _ring(devices))
        case c.Full():
            return _single(_disc(devices, topology.radius_m, rng), _full(devices))
        case c.Star():
            return _single(_disc(devices, topology.radius_m, rng, centred=True), _star(devices))
        case c.Geometric():
            places = _disc(devices, topology.radius_m, rng)
            return _single(places, _geometric(places, topology.range_m))
        case c.Random():
            places = _disc(devices, topology.radius_m, rng)
            return _single(places, _random(config, topology, places))
        case c.Clusters():
            groups = device_groups(config, topology)
            places = _grouped(groups, devices, topology.radius_m, rng)
            return Mesh(places, _clustered(groups, places), cluster_labels(groups))
        case c.Agnes():
            places = _disc(devices, topology.radius_m, rng)
            if densities is None:
                densities = np.full((devices, 1), method_density(config.method))
            return _agnes(config, topology, places, densities, masks)
        case c.Drawn():
            drawn = np.array([(p.x_m, p.y_m) for p in topology.positions], dtype=np.float64)
            return _single(drawn, _pairs(devices, topology.links))
        case _:
            assert_never(topology)


def method_density(method: c.Method) -> float:
    """Share of B that a device of this method holds: 1 for all without a mask."""
    return method.density if isinstance(method, c.SoLora | c.Lori) else 1.0


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
    """Links shorter than the range, and the shortest further ones that join the parts."""
    distances = distances_m(places)
    return _joined((distances < range_m) & _full(len(places)), distances)


def _random(config: c.RunConfig, topology: c.Random, places: Places) -> Links:
    """Links to `degree` devices drawn by lot within reach, and those that join the parts.

    A device with nobody within reach draws among all. Every device puts all others in an order
    and takes the first, so that a message that reaches less far moves as few links as possible.
    """
    devices = len(places)
    reach = within_reach(build_channel(config), places, message_bits(config))
    reach[~reach.any(axis=1)] = True
    lots = np.where(reach & _full(devices), stream(config.seed, "links").random(reach.shape), 1.0)
    chosen = (lots.argsort(axis=1).argsort(axis=1) < topology.degree) & (lots < 1.0)
    return _joined(chosen | chosen.T, distances_m(places))


def _agnes(
    config: c.RunConfig,
    topology: c.Agnes,
    places: Places,
    densities: Float64[np.ndarray, "n layers"],
    masks: Bool[np.ndarray, "n p"] | None,
) -> Mesh:
    """Full meshes inside the paper's clusters, joined by gateways (M18).

    Clusters meet in their closest devices, along a minimum spanning tree (our choice). Mean gain
    falls with distance only, so these are the pairs that need the least power, every cluster meets
    its nearest, and links out of the radio's reach appear only where the mesh would fall apart.
    """
    channel, bits = build_channel(config), message_bits(config)
    tasks = config.fleet.present_tasks()
    task = np.array([tasks.index(config.fleet.task_of(device)) for device in range(len(places))])
    cluster, merges = agnes(
        within_reach(channel, places, bits),
        cluster_power(channel, places, bits),
        cluster_collision(topology.collision, densities, masks, task),
        topology.collision_max,
    )
    inside = (cluster[:, None] == cluster[None, :]) & _full(len(places))
    return Mesh(places, _joined(inside, distances_m(places)), cluster, merges)


def _single(places: Places, linked: Links) -> Mesh:
    return Mesh(places, linked, np.zeros(len(places), dtype=np.int64))


def _joined(linked: Links, distances: Float64[np.ndarray, "n n"]) -> Links:
    """`linked` and the shortest further links that join its parts.

    A minimum spanning tree in which present links cost nothing takes exactly those.
    """
    joined: Links = linked.copy()
    graph = nx.from_numpy_array(np.ones_like(distances))
    for first, second, edge in graph.edges(data=True):
        edge["weight"] = 0.0 if linked[first, second] else distances[first, second]
    for first, second in nx.minimum_spanning_edges(graph, data=False):
        joined[first, second] = joined[second, first] = first != second
    return joined


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
