"""Where the devices stand at the start, per topology."""

import math
from typing import assert_never

import numpy as np

from meshtune.engine import config as c
from meshtune.engine.mesh import Places
from meshtune.engine.rng import stream
from meshtune.engine.topology.lattices import lattice_columns

# Random places keep this distance: closer, path loss says nothing (antennas would couple).
SPACING_M = 1.0
# Groups sit on a circle of this share of the radius, each within a disc of this share of it.
GROUP_CIRCLE = 0.6
GROUP_DISC = 0.35


def start_places(config: c.RunConfig) -> Places:
    """Places of all devices before anybody moves, in metres, within the radius of the topology.

    Drawn from `stream(seed, "positions")`, so every method sees the same places.
    """
    topology, devices = config.topology, config.fleet.devices
    rng = stream(config.seed, "positions")
    match topology:
        case c.Ring() | c.WattsStrogatz() | c.Exponential():
            return _circle(devices, topology.radius_m)
        case c.Line():
            return _lattice(devices, devices, topology.radius_m)
        case c.Grid() | c.Torus():
            return _lattice(devices, lattice_columns(devices), topology.radius_m)
        case c.Clusters():
            return _grouped(device_groups(config, topology), devices, topology.radius_m, rng)
        case c.Drawn():
            return np.array([(p.x_m, p.y_m) for p in topology.positions], dtype=np.float64)
        case (
            c.Star()
            | c.Full()
            | c.Geometric()
            | c.KNearest()
            | c.SpanningTree()
            | c.Random()
            | c.ErdosRenyi()
            | c.BarabasiAlbert()
            | c.KMeans()
            | c.Agnes()
        ):
            centred = isinstance(topology, c.Star)
            return _disc(devices, topology.radius_m, rng, centred=centred)
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


def _lattice(devices: int, columns: int, radius_m: float) -> Places:
    """Row by row, from the top left; the corners of the whole lattice lie on the circle."""
    if devices == 1:
        return np.zeros((1, 2))
    rows = math.ceil(devices / columns)
    spacing_m = 2.0 * radius_m / math.hypot(rows - 1, columns - 1)
    row, column = np.divmod(np.arange(devices), columns)
    return spacing_m * np.stack([column - (columns - 1) / 2, (rows - 1) / 2 - row], axis=1)


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
