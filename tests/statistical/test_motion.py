"""Drawn motion and churn against their laws. Bounds are four standard errors."""

import math
from itertools import pairwise

import numpy as np
import pytest

from meshtune.engine import config as c
from meshtune.engine.topology.churn import links_up, present
from meshtune.engine.topology.gauss_markov import GaussMarkovLaw
from meshtune.engine.topology.motion import Motion, Moving, build_motion
from meshtune.engine.topology.waypoint import WaypointLaw

WIDE_M = 1e6


def disc_places(devices: int, radius_m: float) -> np.ndarray:
    rng = np.random.default_rng(devices)
    out, turn = radius_m * np.sqrt(rng.random(devices)), 2.0 * np.pi * rng.random(devices)
    return np.stack([out * np.cos(turn), out * np.sin(turn)], axis=1)


def velocities(walk: Motion, rounds: int, interval_s: float) -> np.ndarray:
    """What devices cover between two rounds, in m/s, along the straight line."""
    places = np.stack([walk.places(k) for k in range(rounds + 1)])
    return np.diff(places, axis=0) / interval_s


@pytest.mark.parametrize("memory", [0.0, 0.8, 0.95])
def test_the_mean_speed_is_the_configured_one_in_early_and_in_late_rounds(memory):
    devices, rounds = 400, 300
    mobility = c.GaussMarkov(memory=memory, speed_m_s=1.4)
    walk = build_motion(mobility, disc_places(devices, 100.0), WIDE_M, 3)
    speed = np.linalg.norm(velocities(walk, rounds, 10.0), axis=2)
    # Devices are independent; their means over time say how far the mean can err.
    for part in (speed[:20], speed[-20:], speed):
        error = part.mean(axis=0).std() / math.sqrt(devices)
        assert error < 0.03 * 1.4
        assert abs(part.mean() - 1.4) < 4.0 * error
    assert abs(speed.mean() - 1.4) < 0.03 * 1.4


def test_bouncing_at_the_edge_leaves_the_law_of_the_speed_as_it_was():
    devices = 400
    walk = build_motion(c.GaussMarkov(), disc_places(devices, 30.0), 30.0, 3)
    assert isinstance(walk, Moving)
    law = walk.law
    assert isinstance(law, GaussMarkovLaw)
    state, squares = law.first(), []
    for k in range(1, 200):
        state = law.following(state, k)
        squares.append(np.abs(state.velocity) ** 2)
    # |vbar|^2 + 2 sigma^2.
    found = np.array(squares)
    error = found.mean(axis=0).std() / math.sqrt(devices)
    assert abs(found.mean() - 3.0 * law.sigma_m_s**2) < 4.0 * error
    assert error < 0.03 * found.mean()


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_velocity_forgets_by_the_memory_per_round(memory):
    devices, rounds = 400, 200
    mobility = c.GaussMarkov(memory=memory)
    walk = build_motion(mobility, disc_places(devices, 100.0), WIDE_M, 7)
    assert isinstance(walk, Moving)
    assert isinstance(walk.law, GaussMarkovLaw)
    mean = walk.law.first().mean
    sigma = walk.law.sigma_m_s
    around = velocities(walk, rounds, 10.0) - np.stack([mean.real, mean.imag], axis=1)
    for lag in (0, 1, 2, 5):
        product = (around[lag:] * around[: rounds - lag]).sum(axis=2).mean(axis=0)
        error = product.std() / math.sqrt(devices)
        assert abs(product.mean() - 2.0 * sigma**2 * memory**lag) < 4.0 * error
        assert error < 0.05 * sigma**2


@pytest.mark.parametrize("pause_s", [0.0, 60.0])
def test_a_walk_to_waypoints_begins_as_it_goes_on(pause_s):
    # Places as a long walk leaves them; from there a new one: speed, rest and places stay in law.
    devices = 1000
    mobility = c.RandomWaypoint(
        speed_min_m_s=0.2, speed_max_m_s=4.0, interval_s=2.0, pause_s=pause_s
    )
    hasty = mobility.model_copy(update={"interval_s": 1500.0})
    start = build_motion(hasty, disc_places(devices, 100.0), 100.0, 1).places(1)
    walk = build_motion(mobility, start, 100.0, 2)
    speeds, outs = [], []
    for first in (0, 40, 300):
        pace = [
            np.hypot(*(walk.places(k + 1) - walk.places(k)).T) / 2.0
            for k in range(first, first + 5)
        ]
        speeds.append(np.mean(pace, axis=0))
        outs.append((walk.places(first) ** 2).sum(axis=1) / 1e4)
    # Mean over time of a walk: path per leg over time per leg.
    leg_m = 128.0 * 100.0 / (45.0 * math.pi)
    leg_s = leg_m * math.log(20.0) / 3.8 + pause_s
    for speed in speeds:
        # Turns within the two seconds shorten the way by less than 1 %.
        bound = 4.0 * speed.std() / math.sqrt(devices) + 0.01 * leg_m / leg_s
        assert abs(speed.mean() - leg_m / leg_s) < bound
    for early, late in pairwise(outs):
        error = math.hypot(early.std(), late.std()) / math.sqrt(devices)
        assert abs(early.mean() - late.mean()) < 4.0 * error
    if pause_s:
        return
    # The known density without rests gives a mean square distance of 11/35 R^2 (uniform: 1/2).
    for out in outs:
        assert abs(out.mean() - 11.0 / 35.0) < 4.0 * out.std() / math.sqrt(devices)


def test_first_legs_follow_long_chords_and_long_remainders():
    # Everybody at 0.9 of the radius; angles from the outward direction, by quadrature.
    devices = 4000
    start = np.tile([90.0, 0.0], (devices, 1))
    walk = build_motion(c.RandomWaypoint(), start, 100.0, 5)
    assert isinstance(walk, Moving)
    assert isinstance(walk.law, WaypointLaw)
    legs = walk.law.first()
    ahead = (legs.target - legs.origin) / 100.0
    angle = 2.0 * np.pi * np.arange(4096) / 4096
    half = np.sqrt(1.0 - 0.81 * np.sin(angle) ** 2)
    a, b = half - 0.9 * np.cos(angle), half + 0.9 * np.cos(angle)
    # Rest r of density (r + b / 2) 2 / (a (a + b)) on (0, a), direction of density a + b.
    rest = (2.0 * a**2 / 3.0 + a * b / 2.0) / (a + b)
    weight = half / half.sum()
    for found, law in (
        ((ahead.real / np.abs(ahead)) ** 2, np.cos(angle) ** 2),
        (ahead.real / np.abs(ahead), np.cos(angle)),
        (np.abs(ahead), rest),
        (ahead.real, rest * np.cos(angle)),
    ):
        error = found.std() / math.sqrt(devices)
        assert abs(found.mean() - (weight * law).sum()) < 4.0 * error


@pytest.mark.parametrize(("leave", "back"), [(0.05, 0.5), (0.2, 0.1), (0.7, 0.6)])
def test_the_share_of_time_present_is_that_of_the_chain(leave, back):
    churn = c.Churn(leave_prob=leave, return_prob=back)
    devices, rounds, settled = 60, 1000, 50
    here = np.stack([present(churn, 3, devices, k) for k in range(rounds + settled)])[settled:]
    share, memory = back / (leave + back), 1.0 - leave - back
    # Rounds correlate by memory^lag, which stretches the variance of their mean.
    stretch = (1.0 + memory) / (1.0 - memory)
    error = math.sqrt(share * (1.0 - share) * stretch / (devices * rounds))
    assert abs(here.mean() - share) < 4.0 * error
    # Moves, one by one.
    left, stayed = (here[:-1] & ~here[1:]).sum(), here[:-1].sum()
    assert abs(left / stayed - leave) < 4.0 * math.sqrt(leave * (1.0 - leave) / stayed)
    came, away = (~here[:-1] & here[1:]).sum(), (~here[:-1]).sum()
    assert abs(came / away - back) < 4.0 * math.sqrt(back * (1.0 - back) / away)


def test_links_are_up_as_often_as_configured_and_independently():
    churn = c.Churn(link_up_prob=0.7)
    pairs = np.tril_indices(8, -1)
    up = np.stack([links_up(churn, 3, 8, k)[pairs] for k in range(3000)]).astype(np.float64)
    assert np.abs(up.mean(axis=0) - 0.7).max() < 4.0 * math.sqrt(0.21 / 3000)
    between = np.corrcoef(up.T)[~np.eye(28, dtype=bool)]
    # The largest of 378 correlations, at five standard errors.
    assert np.abs(between).max() < 5.0 / math.sqrt(3000)
    after = ((up[1:] - 0.7) * (up[:-1] - 0.7)).mean() / 0.21
    assert abs(after) < 4.0 / math.sqrt(28 * 2999)
