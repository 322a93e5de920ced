"""The disc that devices keep to, as a part of the plane of complex numbers."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex128, Float64

# Draws and states are kept in blocks of so many rounds (or legs); no number depends on it, but the
# names of the streams do.
BLOCK = 64
Plane = Complex128[np.ndarray, " n"]  # points and velocities, x + i y: turning is multiplying


@dataclass(frozen=True)
class Disc:
    """Where devices start, and the disc that they keep to."""

    start: Complex128[np.ndarray, " n"]
    centre: complex
    radius_m: float


def plane_of(places: Float64[np.ndarray, "n 2"]) -> Plane:
    plane: Plane = places[:, 0] + 1j * places[:, 1]
    return plane


def direction(turn: float) -> complex:
    """Direction after a share of a full turn."""
    return complex(math.cos(2.0 * math.pi * turn), math.sin(2.0 * math.pi * turn))
