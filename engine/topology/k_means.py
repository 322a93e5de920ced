"""Groups of near devices: k-means on the map, without empty groups."""

import numpy as np
from jaxtyping import Float64, Int64

from meshtune.engine.mesh import Places

# Ends in far fewer steps on at most 256 devices; a bound against going round in circles.
STEPS_MAX = 100

Labels = Int64[np.ndarray, " n"]


def near_groups(places: Places, groups: int, rng: np.random.Generator) -> Labels:
    """Group of every device, by k-means: groups numbered in the order of their lowest members.

        group_i = argmin_k |x_i - m_k|,    m_k = mean of the places in group k,   until none changes

    Starts from places drawn far from each other. Ties go to the first centre; a group that runs
    empty gets the device farthest from its centre (our choice). Sources: Lloyd, Least Squares
    Quantization in PCM (1982), for the steps; Arthur & Vassilvitskii, k-means++ (2007), section
    2.2, for the start.

    Args:
        places: where the devices stand, in metres.
        groups: how many groups, at most one per device.
        rng: draws the start.
    """
    centres = _spread_out(places, groups, rng)
    group = _filled(_squares(places, centres))
    for _ in range(STEPS_MAX):
        centres = np.array([places[group == k].mean(axis=0) for k in range(groups)])
        closer = _filled(_squares(places, centres))
        if (closer == group).all():
            break
        group = closer
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    numbers: Labels = first.argsort().argsort()[inverse]
    return numbers


def _spread_out(
    places: Places, groups: int, rng: np.random.Generator
) -> Float64[np.ndarray, "k 2"]:
    """Places of devices, each drawn with a chance that grows as the square of its distance."""
    chosen = [int(rng.integers(len(places)))]
    while len(chosen) < groups:
        chance = _squares(places, places[chosen]).min(axis=1)
        if not chance.any():  # all others stand where a chosen one does
            chance[:] = 1.0
            chance[chosen] = 0.0
        chosen.append(int(rng.choice(len(places), p=chance / chance.sum())))
    return places[chosen]


def _squares(places: Places, centres: Float64[np.ndarray, "k 2"]) -> Float64[np.ndarray, "n k"]:
    offsets = places[:, None, :] - centres[None, :, :]
    squares: Float64[np.ndarray, "n k"] = (offsets**2).sum(axis=2)
    return squares


def _filled(squares: Float64[np.ndarray, "n k"]) -> Labels:
    """Nearest centre of every device; an empty centre takes the farthest that is not alone."""
    group: Labels = squares.argmin(axis=1)
    devices = np.arange(len(group))
    for k in range(squares.shape[1]):
        if not (group == k).any():
            alone = np.bincount(group, minlength=squares.shape[1])[group] == 1
            group[np.where(alone, -1.0, squares[devices, group]).argmax()] = k
    return group
