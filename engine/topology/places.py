"""Where the devices stand at the start, per topology."""

import math
from typing import cast

import numpy as np

from meshtune.engine import config as c
from meshtune.engine.kinds import TOPOLOGIES, Area
from meshtune.engine.mesh import Places
from meshtune.engine.registry import load
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
    place = load(TOPOLOGIES[config.topology.kind].places)
    places: Places = place(config, stream(config.seed, "positions"))
    return places


# What topologies name as their places.


def circle(config: c.RunConfig, rng: np.random.Generator) -> Places:
    """Evenly on the circle."""
    return _circle(config.fleet.devices, _radius_m(config))


def row(config: c.RunConfig, rng: np.random.Generator) -> Places:
    """Evenly on a line."""
    devices = config.fleet.devices
    return _lattice(devices, devices, _radius_m(config))


def lattice(config: c.RunConfig, rng: np.random.Generator) -> Places:
    """In rows and columns."""
    devices = config.fleet.devices
    return _lattice(devices, lattice_columns(devices), _radius_m(config))


def disc(config: c.RunConfig, rng: np.random.Generator) -> Places:
    """At random."""
    return _disc(config.fleet.devices, _radius_m(config), rng)


def around(config: c.RunConfig, rng: np.random.Generator) -> Places:
    """At random around device 0, which stands in the centre."""
    return _disc(config.fleet.devices, _radius_m(config), rng, centred=True)


def groups(config: c.RunConfig, rng: np.random.Generator) -> Places:
    """At random within groups that stand on a circle."""
    return _grouped(device_groups(config), config.fleet.devices, _radius_m(config), rng)


def drawn(config: c.RunConfig, rng: np.random.Generator) -> Places:
    """Where a person put them."""
    topology = cast("c.Drawn", config.topology)
    return np.array([(p.x_m, p.y_m) for p in topology.positions], dtype=np.float64)


def _radius_m(config: c.RunConfig) -> float:
    return cast("Area", config.topology).radius_m


def device_groups(config: c.RunConfig) -> list[list[int]]:
    """Members of every cluster: one group per present task, or an equal random deal."""
    devices, topology = config.fleet.devices, cast("c.Clusters", config.topology)
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
