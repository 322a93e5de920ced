"""The paper's clusters: merged bottom-up while devices collide little and power lasts.

Source: arXiv 2602.20492, section IV-C. AGNES (agglomerative nesting) is Kaufman & Rousseeuw,
Finding Groups in Data (1990), chapter 5, with the collision rate for the distance.
"""

import heapq
import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import combinations
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64

from meshtune.engine.channels import Channel, Radio
from meshtune.engine.mesh import Merge
from meshtune.engine.topology.collision import collision_rate, packed_collision, packed_masks
from meshtune.engine.topology.power import deadline_snr, noise_over_gain_w

Members = tuple[int, ...]  # of one cluster, in rising order
Labels = Int64[np.ndarray, " n"]


def agnes(
    reach: Bool[np.ndarray, "n n"],
    feasible_power: Callable[[Members], float],
    collision: Callable[[Members], float],
    collision_max: float,
) -> tuple[Labels, tuple[Merge, ...]]:
    """Clusters by merging, again and again, the pair that collides least (M18).

    Starts with single devices. Two clusters may merge if a device of one is within reach of a
    device of the other, the power suffices, and the merged cluster collides at most
    `collision_max`. Ties go to the pair that needs less power, then to the lowest members (our
    choice). Ends when no pair may merge. Source: arXiv 2602.20492, section IV-C.

    Args:
        reach: pairs that can talk at all; symmetric.
        feasible_power: watts that the neediest member needs; infinite if it has not got them.
        collision: collision rate of a cluster, 0 to 1.
        collision_max: the largest rate allowed.

    Returns:
        The cluster of every device, numbered in the order of their lowest members, and the merges
        in their order.
    """
    clusters: set[Members] = {(device,) for device in range(len(reach))}
    # Rates and powers never change while both clusters live: each pair is computed once.
    pairs: list[tuple[float, float, Members, Members]] = []
    # Sets of devices as bits, because thousands of pairs ask.
    within = [_bits(np.flatnonzero(row).tolist()) for row in reach]
    others = {cluster: _bits(cluster) for cluster in clusters}

    def offer(one: Members, other: Members) -> None:
        if not any(within[device] & others[other] for device in one):
            return
        union = tuple(sorted(one + other))
        power_w = _rounded(feasible_power(union))
        if math.isinf(power_w):
            return
        rate = _rounded(collision(union))
        if rate <= collision_max:
            heapq.heappush(pairs, (rate, power_w, min(one, other), max(one, other)))

    for one, other in combinations(sorted(clusters), 2):
        offer(one, other)
    merges = []
    while pairs:
        rate, power_w, left, right = heapq.heappop(pairs)
        if left not in clusters or right not in clusters:
            continue
        merges.append(Merge(left, right, rate, power_w))
        clusters -= {left, right}
        union = tuple(sorted(left + right))
        others[union] = _bits(union)
        for other in sorted(clusters):
            offer(union, other)
        clusters.add(union)
    return cluster_labels(sorted(clusters)), tuple(merges)


def cluster_labels(clusters: Sequence[Sequence[int]]) -> Labels:
    """Index of the cluster that holds each device."""
    cluster = np.zeros(sum(map(len, clusters)), dtype=np.int64)
    for index, members in enumerate(clusters):
        cluster[list(members)] = index
    return cluster


def cluster_power(
    channel: Channel, positions: Float64[np.ndarray, "n 2"], bits: int
) -> Callable[[Members], float]:
    """Watts that the neediest member spends on reaching all others of a cluster (M18).

        max_j sum_i p_ij(u),   u = members - 1;   infinite above the transmit power

    p as in `deadline_power_w`. A member's powers together stay within its budget (arXiv
    2602.20492, Eq. 11b). Every member sends to every other: the paper does not say so, it is our
    choice. Zero over a medium without a radio, and for a device alone.
    """
    if not isinstance(channel, Radio):
        return lambda _: 0.0
    radio = channel
    needed_snr = cache(partial(deadline_snr, radio, bits))
    noise_w = noise_over_gain_w(radio, positions)
    np.fill_diagonal(noise_w, 0.0)

    def feasible(members: Members) -> float:
        others = len(members) - 1
        if not others:
            return 0.0
        rows = np.array(members)
        farthest_w = float(noise_w[rows[:, None], rows].sum(axis=0).max())
        spent_w = farthest_w / others * needed_snr(others)
        return spent_w if spent_w <= radio.tx_power_w else math.inf

    return feasible


def cluster_collision(
    kind: Literal["analytic", "empirical", "across_tasks"],
    densities: Float64[np.ndarray, "n layers"],
    masks: Bool[np.ndarray, "n p"] | None,
    task: Int64[np.ndarray, " n"],
) -> Callable[[Members], float]:
    """Collision rate of a cluster, counted as the config asks (M18); mean over layers.

    `analytic` is Eq. 19 with the density of every member: it knows nothing of tasks. `empirical`
    counts entries in real masks, and is `analytic` as long as there are none. `across_tasks` is
    Eq. 19 over the tasks in the cluster, each with the mean density of its members: devices of
    one task share an expert, so they agree where they overlap. The mean over layers and the last
    two kinds are our choice. `task`: index of each device's task.
    """
    rate = _remembered_rate()
    if kind == "empirical" and masks is not None:
        packed, entries = packed_masks(masks), masks.shape[1]
        return lambda members: packed_collision(packed[list(members)], entries)
    if kind == "across_tasks":
        holds = (np.arange(task.max() + 1)[:, None] == task).astype(np.float64)
        return lambda members: rate(_by_task(holds, densities, list(members)))
    return lambda members: rate(densities[list(members)])


def _by_task(
    holds: Float64[np.ndarray, "k n"], densities: Float64[np.ndarray, "n layers"], own: list[int]
) -> Float64[np.ndarray, "present layers"]:
    """Mean density of each task that the devices `own` hold; `holds[k, i]`: device i has task k."""
    held = holds[:, own]
    members = held.sum(axis=1)
    present = members > 0
    total = held[present] @ densities[own]
    mean: Float64[np.ndarray, "present layers"] = total / members[present, None]
    return mean


def _remembered_rate() -> Callable[[Float64[np.ndarray, "m layers"]], float]:
    """`_mean_rate`, computed once for equal densities: most clusters of one size have them."""
    known: dict[bytes, float] = {}

    def rate(densities: Float64[np.ndarray, "m layers"]) -> float:
        key = densities.tobytes()
        if key not in known:
            known[key] = _mean_rate(densities)
        return known[key]

    return rate


def _mean_rate(densities: Float64[np.ndarray, "m layers"]) -> float:
    return float(collision_rate(densities).mean())


def _bits(devices: Sequence[int]) -> int:
    return sum(1 << device for device in devices)


def _rounded(value: float) -> float:
    """The value to twelve digits, so that rounding errors of a sum's order make no difference."""
    return float(f"{value:.11e}")
