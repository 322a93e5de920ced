"""Collision rates: how often devices write the same entry of B, by formula and by count.

All functions take the devices along the leading axis `m`. Rates are shares of 0 to 1.
"""

import numpy as np
from jaxtyping import Bool, Float64, UInt8

Densities = Float64[np.ndarray, "m *layers"]


def collision_rate(densities: Densities) -> Float64[np.ndarray, "*layers"]:
    """Probability that at least two devices hold an entry, entries drawn independently (M15).

        S = 1 - prod_j (1 - s_j) - sum_j s_j prod_{z != j} (1 - s_z)
          = sum_j s_j [1 - prod_{z < j} (1 - s_z)] prod_{z > j} (1 - s_z)

    The second form sums over the last device that holds the entry. All its terms are positive, so
    nothing cancels at small densities. `densities[j]`: s_j of device j, 0 to 1; one rate per
    layer. Zero for one device. Source: arXiv 2602.20492, Eq. 19.
    """
    free = _log_free(densities)
    held_before = 0.0 - np.expm1(_sum_before(free))
    free_after = np.exp(_sum_after(free))
    rate: Float64[np.ndarray, "*layers"] = (densities * held_before * free_after).sum(axis=0)
    # The sum may pass 1 by a rounding error.
    return np.asarray(np.minimum(rate, 1.0))


def own_collision(densities: Densities) -> Densities:
    """Probability that somebody else holds an entry that device i holds (M16).

        c_i = 1 - prod_{j != i} (1 - s_j)

    This is what a device feels: Eq. 19 counts over all entries, also those that nobody holds, and
    so reads far less. Our addition to arXiv 2602.20492.
    """
    free = _log_free(densities)
    rate: Densities = 0.0 - np.expm1(_sum_before(free) + _sum_after(free))
    return rate


def empirical_collision(masks: Bool[np.ndarray, "m p"]) -> float:
    """Share of the p entries that at least two devices hold; what Eq. 19 estimates."""
    return packed_collision(packed_masks(masks), masks.shape[1])


def own_overlap(masks: Bool[np.ndarray, "m p"]) -> Float64[np.ndarray, " m"]:
    """Share of each device's own entries that somebody else holds as well; 0 if it holds none."""
    shared = masks.sum(axis=0) >= 2
    overlap: Float64[np.ndarray, " m"] = (masks & shared).sum(axis=1) / np.maximum(
        masks.sum(axis=1), 1
    )
    return overlap


def packed_masks(masks: Bool[np.ndarray, "m p"]) -> UInt8[np.ndarray, "m q"]:
    """Masks with eight entries to the byte, for counting many sets of the same devices."""
    return np.packbits(masks, axis=1)


def packed_collision(packed: UInt8[np.ndarray, "m q"], entries: int) -> float:
    """`empirical_collision` of packed masks of `entries` bits each."""
    held_before = np.bitwise_or.accumulate(packed[:-1], axis=0)
    twice = np.bitwise_or.reduce(packed[1:] & held_before, axis=0)
    return int(np.bitwise_count(twice).sum()) / entries


def _log_free(densities: Densities) -> Densities:
    """Logarithm of the probability that a device leaves an entry free; minus infinity at 1."""
    with np.errstate(divide="ignore"):
        free: Densities = np.log1p(-densities)
    return free


def _sum_before(values: Densities) -> Densities:
    # Shifted sums, not a total minus the own term: minus infinity cannot be taken away again.
    sums = np.zeros_like(values)
    np.cumsum(values[:-1], axis=0, out=sums[1:])
    return sums


def _sum_after(values: Densities) -> Densities:
    after: Densities = _sum_before(values[::-1])[::-1]
    return after
