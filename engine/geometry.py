"""Places on the map: distances between devices."""

import math

import numpy as np
from jaxtyping import Float64

MEAN_LEG = 128.0 / (45.0 * math.pi)  # mean distance of two uniform points in a disc of radius one


def distances_m(positions: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n n"]:
    """Euclidean distance of every pair of devices, in metres; symmetric, zero diagonal."""
    offsets = positions[:, None, :] - positions[None, :, :]
    distances: Float64[np.ndarray, "n n"] = np.hypot(offsets[..., 0], offsets[..., 1])
    return distances
