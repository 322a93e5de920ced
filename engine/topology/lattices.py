"""Links that the number of devices alone decides: lines, rings, lattices, powers of two."""

import math

import numpy as np

from meshtune.engine.mesh import Links


def linked_pairs(devices: int, pairs: tuple[tuple[int, int], ...] | list[tuple[int, int]]) -> Links:
    """The links of `pairs`, in both directions."""
    linked = np.zeros((devices, devices), dtype=np.bool_)
    if pairs:
        first, second = np.array(pairs, dtype=np.int64).T
        linked[first, second] = linked[second, first] = True
    return linked


def line(devices: int) -> Links:
    """Every device with the next."""
    return linked_pairs(devices, [(device, device + 1) for device in range(devices - 1)])


def ring(devices: int) -> Links:
    """A line whose ends are linked, if there are more than two devices."""
    # One device would be linked to itself; two devices share one link.
    return linked_pairs(devices, [(i, (i + 1) % devices) for i in range(devices) if devices > 1])


def full(devices: int) -> Links:
    """Every pair."""
    linked: Links = ~np.eye(devices, dtype=np.bool_)
    return linked


def star(devices: int) -> Links:
    """Device 0 with all others."""
    return linked_pairs(devices, [(0, device) for device in range(1, devices)])


def lattice_columns(devices: int) -> int:
    """Columns of the lattice, numbered row by row: the least whose square holds all devices.

    Rows and columns so differ by one at most; the last row may be short (our choice, so that
    every number of devices has a lattice).
    """
    return math.isqrt(devices - 1) + 1


def grid(devices: int) -> Links:
    """Every device with those beside, above and below."""
    columns = lattice_columns(devices)
    beside = [(i, i + 1) for i in range(devices - 1) if (i + 1) % columns]
    below = [(i, i + columns) for i in range(devices - columns)]
    return linked_pairs(devices, beside + below)


def torus(devices: int) -> Links:
    """A grid in which the ends of every row, and of every column, are linked as well.

    Four links per device as soon as all rows and columns have three devices or more. A row of two
    has one link, not two, and a row of one none.
    """
    columns = lattice_columns(devices)
    linked = grid(devices)
    for first in range(0, devices, columns):
        last = min(first + columns, devices) - 1
        linked[first, last] = linked[last, first] = first != last
    for top in range(columns):
        bottom = top + (devices - 1 - top) // columns * columns
        linked[top, bottom] = linked[bottom, top] = top != bottom
    return linked


def exponential(devices: int, powers: range, *, both: bool) -> Links:
    """Every device i with i + 2^k around the circle, for the `powers` k; 2^k < devices.

    One way, i sends to i + 2^k only; `both` ways, i + 2^k sends to i as well. Source: Ying, Yuan,
    Chen, Hu, Pan & Yin, Exponential Graph is Provably Efficient for Decentralized Deep Training
    (2021), section 3: all powers make the static graph, one power per round the one-peer graph.
    """
    linked = np.zeros((devices, devices), dtype=np.bool_)
    senders = np.arange(devices)
    for power in powers:
        linked[(senders + 2**power) % devices, senders] = True
    return linked | linked.T if both else linked
