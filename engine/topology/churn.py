"""Devices that leave and return, and links that are down: functions of seed and round (M26)."""

from functools import lru_cache

import numpy as np
from jaxtyping import Bool

from meshtune.engine import config as c
from meshtune.engine.rng import stream

# Rounds are computed in blocks, each from the last round of the one before.
BLOCK = 256

Links = Bool[np.ndarray, "n n"]


def present(churn: c.Churn, seed: int, devices: int, round_index: int) -> Bool[np.ndarray, " n"]:
    """Devices within reach in a round: a two-state Markov chain per device.

        P(absent | present before) = leave_prob,    P(present | absent before) = return_prob

    Everybody is present in round 0. In the long run a device is present for the share
    `return_prob / (leave_prob + return_prob)` of the rounds, and a round so many rounds away
    correlates with this one by `(1 - leave_prob - return_prob)^rounds`.

    Device i draws the same however many there are. Source: Gilbert, Capacity of a Burst-Noise
    Channel (1960), whose two states these are. M26; the array is read-only.
    """
    block, row = divmod(round_index, BLOCK)
    rows = _present(churn.leave_prob, churn.return_prob, seed, devices, block)
    here: Bool[np.ndarray, " n"] = rows[row]
    return here


def links_up(churn: c.Churn, seed: int, devices: int, round_index: int) -> Bool[np.ndarray, "n n"]:
    """Links that can be used in a round, each with `link_up_prob`, anew in every round (M26).

    Symmetric: what blocks a link blocks both directions. The diagonal is False: nobody is linked
    to itself. A pair draws the same however many devices there are.
    """
    rows, columns = np.tril_indices(devices, -1)
    draws = stream(seed, "churn", "links", round_index).random(len(rows))
    up = np.zeros((devices, devices), dtype=np.bool_)
    up[rows, columns] = draws < churn.link_up_prob
    links: Links = up | up.T
    return links


def reachable(
    linked: Bool[np.ndarray, "n n"], churn: c.Churn, seed: int, round_index: int
) -> Bool[np.ndarray, "n n"]:
    """Links of the mesh that are up in a round and whose ends are both present (M26).

    `linked` itself, the same object, if the config lets nothing come or go. Row = receiver,
    column = sender.
    """
    if churn.link_up_prob == 1.0 and churn.leave_prob == 0.0:
        return linked
    devices = len(linked)
    here = present(churn, seed, devices, round_index)
    links: Links = linked & here[:, None] & here[None, :]
    if churn.link_up_prob < 1.0:
        links &= links_up(churn, seed, devices, round_index)
    return links


@lru_cache(maxsize=64)
def _present(
    leave_prob: float, return_prob: float, seed: int, devices: int, block: int
) -> Bool[np.ndarray, "rounds n"]:
    """Presence in the rounds of one block."""
    rows = np.ones((BLOCK, devices), dtype=np.bool_)
    if leave_prob > 0.0:
        # One row of draws per device, so that more devices move nobody's draws.
        draws = stream(seed, "churn", "devices", block).random((devices, BLOCK)).T
        before = rows[0]
        if block:
            before = _present(leave_prob, return_prob, seed, devices, block - 1)[-1]
        for row in range(BLOCK):
            if block or row:
                rows[row] = np.where(before, draws[row] >= leave_prob, draws[row] < return_prob)
            before = rows[row]
    rows.setflags(write=False)
    return rows
