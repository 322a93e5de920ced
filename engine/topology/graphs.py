"""The mesh of a run: links between devices at given places, per topology kind."""

from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import assert_never, cast

import numpy as np
from jaxtyping import Bool, Float64, Int64

from meshtune.engine import config as c
from meshtune.engine.channels import build_channel
from meshtune.engine.costs import method_costs
from meshtune.engine.geometry import distances_m
from meshtune.engine.kinds import TOPOLOGIES
from meshtune.engine.mesh import Links, Mesh, Places
from meshtune.engine.registry import load
from meshtune.engine.rng import stream
from meshtune.engine.topology.agnes import agnes, cluster_collision, cluster_labels, cluster_power
from meshtune.engine.topology.joining import joined
from meshtune.engine.topology.k_means import near_groups
from meshtune.engine.topology.lattices import (
    exponential,
    full,
    grid,
    line,
    linked_pairs,
    ring,
    star,
    torus,
)
from meshtune.engine.topology.places import device_groups, start_places
from meshtune.engine.topology.power import within_reach

Densities = Float64[np.ndarray, "n layers"]
Masks = Bool[np.ndarray, "n p"]

# What decides the links: the number of devices alone, their places, a lot, a person.
Lattice = c.Line | c.Ring | c.Star | c.Full | c.Grid | c.Torus
ByPlace = c.Geometric | c.KNearest | c.SpanningTree | c.Random
ByLot = c.ErdosRenyi | c.WattsStrogatz | c.BarabasiAlbert
Grouped = c.Clusters | c.KMeans | c.Agnes


@dataclass(frozen=True)
class Ground:
    """What a mesh is made from: the experiment, and where its devices stand in a round.

    `densities` and `masks` as in `build_mesh`.
    """

    config: c.RunConfig
    places: Places
    round_index: int
    densities: Densities | None
    masks: Masks | None

    @property
    def topology(self) -> c.Topology:
        return self.config.topology

    def linked(self, links: Links) -> Mesh:
        """A mesh with these links, without clusters."""
        return Mesh(self.places, links, np.zeros(len(self.places), dtype=np.int64))


def build_mesh(
    config: c.RunConfig, densities: Densities | None = None, masks: Masks | None = None
) -> Mesh:
    """The mesh that `config` asks for at the start, the same for the same seed and devices.

    Positions are drawn from `stream(seed, "positions")`, so every method sees the same places.

    Args:
        config: the experiment.
        densities: share of B that each device holds, per layer, for the paper's clusters; that of
            the method in every layer if None.
        masks: entries of B that each device holds, for collisions counted empirically; before
            there are any, clusters are formed from the densities.
    """
    return mesh_at(config, start_places(config), densities=densities, masks=masks)


def mesh_at(
    config: c.RunConfig,
    places: Places,
    round_index: int = 0,
    densities: Densities | None = None,
    masks: Masks | None = None,
) -> Mesh:
    """The mesh of devices that stand at `places` in a round (M23).

    Links change only with what `depends_on_places` and `period` say. What is drawn by
    lot stays drawn: lots come from `stream(seed, "links")` in every round.

    Args:
        config: the experiment.
        places: where every device stands, in metres.
        round_index: which round, from 0.
        densities: as in `build_mesh`.
        masks: as in `build_mesh`.
    """
    ground = Ground(config, places, round_index, densities, masks)
    mesh: Mesh = load(TOPOLOGIES[config.topology.kind].mesh)(ground)
    return mesh


def depends_on_places(topology: c.Topology) -> bool:
    """Whether devices that move can be linked anew; others keep their links wherever they go."""
    return TOPOLOGIES[topology.kind].follows_places


def period(config: c.RunConfig) -> int:
    """Rounds after which the links repeat; 1 if they stay."""
    return TOPOLOGIES[config.topology.kind].period(config.topology, config.fleet.devices)


# What topologies name as their mesh.


def lattice(ground: Ground) -> Mesh:
    """Links that depend on the number of devices alone."""
    return ground.linked(_lattice(cast("Lattice", ground.topology), len(ground.places)))


def powers(ground: Ground) -> Mesh:
    """Links over distances of a power of two, all of them or one after another."""
    topology = cast("c.Exponential", ground.topology)
    return ground.linked(_exponential(topology, len(ground.places), ground.round_index))


def by_place(ground: Ground) -> Mesh:
    """Links by distance."""
    topology = cast("ByPlace", ground.topology)
    return ground.linked(_by_place(ground.config, topology, ground.places))


def by_lot(ground: Ground) -> Mesh:
    """Links by lot."""
    return ground.linked(_by_lot(ground.config, cast("ByLot", ground.topology)))


def drawn(ground: Ground) -> Mesh:
    """Links that a person drew."""
    links = cast("c.Drawn", ground.topology).links
    return ground.linked(linked_pairs(len(ground.places), links))


def grouped(ground: Ground) -> Mesh:
    """Links within clusters, and gateways between them."""
    config, places = ground.config, ground.places
    topology = cast("Grouped", ground.topology)
    return _grouped(config, topology, places, ground.densities, ground.masks)


def _lattice(topology: Lattice, devices: int) -> Links:
    match topology:
        case c.Line():
            return line(devices)
        case c.Ring():
            return ring(devices)
        case c.Star():
            return star(devices)
        case c.Full():
            return full(devices)
        case c.Grid():
            return grid(devices)
        case c.Torus():
            return torus(devices)
        case _:
            assert_never(topology)


def _exponential(topology: c.Exponential, devices: int, round_index: int) -> Links:
    powers = range(topology.distances(devices))
    if topology.variant == "one_peer" and powers:
        power = round_index % len(powers)
        powers = range(power, power + 1)
    return exponential(devices, powers, both=topology.direction == "both")


def _by_place(config: c.RunConfig, topology: ByPlace, places: Places) -> Links:
    distances = distances_m(places)
    match topology:
        case c.Geometric():
            linked = (distances < topology.range_m) & full(len(places))
        case c.KNearest():
            linked = _k_nearest(distances, topology.neighbours)
        case c.SpanningTree():
            linked = np.zeros(distances.shape, dtype=np.bool_)
        case c.Random():
            linked = _random(config, topology, places)
        case _:
            assert_never(topology)
    return joined(linked, distances)


def _k_nearest(distances: Float64[np.ndarray, "n n"], neighbours: int) -> Links:
    """Links to the nearest; of equally near devices the lower ones."""
    others = np.where(full(len(distances)), distances, np.inf)
    order = others.argsort(axis=1, kind="stable")
    chosen = np.zeros(distances.shape, dtype=np.bool_)
    np.put_along_axis(chosen, order[:, :neighbours], values=True, axis=1)
    chosen &= full(len(distances))
    return chosen | chosen.T


def _random(config: c.RunConfig, topology: c.Random, places: Places) -> Links:
    """Links to `degree` devices drawn by lot within reach.

    A device with nobody within reach draws among all. Every device puts all others in an order
    and takes the first, so that a message that reaches less far moves as few links as possible.
    """
    reach = within_reach(build_channel(config), places, method_costs(config).message_bits)
    reach[~reach.any(axis=1)] = True
    lots = np.where(
        reach & full(len(places)), stream(config.seed, "links").random(reach.shape), 1.0
    )
    chosen = (lots.argsort(axis=1).argsort(axis=1) < topology.degree) & (lots < 1.0)
    return chosen | chosen.T


def _by_lot(config: c.RunConfig, topology: ByLot) -> Links:
    """Random graphs that know no places; the shortest links of the start join their parts.

    Sources: Gilbert, Random Graphs (1959), the model with independent links that is named after
    Erdos and Renyi; Watts & Strogatz, Collective Dynamics of Small-World Networks (1998);
    Barabasi & Albert, Emergence of Scaling in Random Networks (1999).
    """
    devices = config.fleet.devices
    rng = stream(config.seed, "links")
    match topology:
        case c.ErdosRenyi():
            # One lot per pair: a larger probability only adds links.
            upper = np.triu(rng.random((devices, devices)) < topology.link_prob, k=1)
            linked = upper | upper.T
        case c.WattsStrogatz():
            import networkx as nx

            bend_prob, lot = topology.bend_prob, int(rng.integers(2**63))
            graph = nx.watts_strogatz_graph(devices, topology.neighbours, bend_prob, seed=lot)
            linked = linked_pairs(devices, list(graph.edges))
        case c.BarabasiAlbert():
            import networkx as nx

            graph = nx.barabasi_albert_graph(
                devices, topology.links_each, seed=int(rng.integers(2**63))
            )
            linked = linked_pairs(devices, list(graph.edges))
        case _:
            assert_never(topology)
    return joined(linked, distances_m(start_places(config)))


def _grouped(
    config: c.RunConfig,
    topology: Grouped,
    places: Places,
    densities: Densities | None,
    masks: Masks | None,
) -> Mesh:
    match topology:
        case c.Clusters():
            groups = device_groups(config)
            linked = _gateway_ring(groups, start_places(config))
            return Mesh(places, linked, cluster_labels(groups))
        case c.KMeans():
            lots = stream(config.seed, "k_means")
            cluster = near_groups(places, topology.clusters, lots)
            return Mesh(places, _gateway_tree(cluster, places), cluster)
        case c.Agnes():
            if densities is None:
                densities = np.full((len(places), 1), method_costs(config).density)
            return _agnes(config, topology, places, densities, masks)
        case _:
            assert_never(topology)


def clustered_places(config: c.RunConfig, topology: c.Agnes, places: Places) -> Mesh:
    """The paper's clusters of devices at `places`, with the densities of the config (M18)."""
    densities = np.full((len(places), 1), method_costs(config).density)
    return _agnes(config, topology, places, densities, None)


def _agnes(
    config: c.RunConfig,
    topology: c.Agnes,
    places: Places,
    densities: Densities,
    masks: Masks | None,
) -> Mesh:
    """The paper's clusters (M18)."""
    channel, bits = build_channel(config), method_costs(config).message_bits
    held = np.array(config.fleet.held_tasks())
    cluster, merges = agnes(
        within_reach(channel, places, bits),
        cluster_power(channel, places, bits),
        cluster_collision(topology.collision, densities, masks, held),
        topology.collision_max,
    )
    return Mesh(places, _gateway_tree(cluster, places), cluster, merges)


def _gateway_tree(cluster: Int64[np.ndarray, " n"], places: Places) -> Links:
    """Full meshes inside the clusters, joined by gateways.

    Clusters meet in their closest devices, along a minimum spanning tree (our choice). Mean gain
    falls with distance only, so these are the pairs that need the least power, every cluster meets
    its nearest, and links out of the radio's reach appear only where the mesh would fall apart.
    """
    inside = (cluster[:, None] == cluster[None, :]) & full(len(places))
    return joined(inside, distances_m(places))


def _gateway_ring(groups: list[list[int]], places: Places) -> Links:
    """Full meshes inside the groups and the closest pair between consecutive groups."""
    distances = distances_m(places)
    pairs = [pair for members in groups for pair in combinations(members, 2)]
    neighbours = list(pairwise(groups))
    if len(groups) > 2:
        neighbours.append((groups[-1], groups[0]))
    for here, there in neighbours:
        nearest = int(distances[np.ix_(here, there)].argmin())
        pairs.append((here[nearest // len(there)], there[nearest % len(there)]))
    return linked_pairs(len(places), pairs)
