"""Places on the map: distances between devices."""

import math

import numpy as np
from jaxtyping import Float64

FAR_M = 100_000.0  # places further out are no places on a map of ours
MEAN_LEG = 128.0 / (45.0 * math.pi)  # mean distance of two uniform points in a disc of radius one


def distances_m(positions: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n n"]:
    """Euclidean distance of every pair of devices, in metres; symmetric, zero diagonal."""
    offsets = positions[:, None, :] - positions[None, :, :]
    distances: Float64[np.ndarray, "n n"] = np.hypot(offsets[..., 0], offsets[..., 1])
    return distances


def centred(
    places: Float64[np.ndarray, "*s 2"],
) -> tuple[Float64[np.ndarray, "*s 2"], tuple[float, float] | None]:
    """Places near zero, and the middle that was taken off; None where nothing was.

    Maps count metres from far away (UTM: some 500 km and 5000 km). If any place is more than 100 km
    from zero on an axis, the middle of the box around all of them becomes zero.

    Raises:
        ValueError: they span more than 200 km.
    """
    if np.abs(places).max(initial=0.0) <= FAR_M:
        return places, None
    flat = places.reshape(-1, 2)
    middle = flat.min(axis=0) / 2.0 + flat.max(axis=0) / 2.0  # the sum may overflow
    near: Float64[np.ndarray, "*s 2"] = places - middle
    if np.abs(near).max() > FAR_M:
        raise ValueError(
            f"places span {2.0 * float(np.abs(near).max()):.6g} m, but at most {2.0 * FAR_M:.0f} "
            "fit; give them in metres"
        )
    return near, (float(middle[0]), float(middle[1]))
