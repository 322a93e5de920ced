"""Gauss-Markov motion: devices that keep part of their velocity."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Complex128, Float64

from meshtune.engine.rng import stream
from meshtune.engine.topology.disc import BLOCK, Disc, Plane, direction


@dataclass(frozen=True)
class Drift:
    """Places, velocities and mean velocities (m/s) of the Gauss-Markov law."""

    place: Complex128[np.ndarray, " n"]
    velocity: Complex128[np.ndarray, " n"]
    mean: Complex128[np.ndarray, " n"]


@dataclass(frozen=True)
class GaussMarkovLaw:
    """Gauss-Markov motion: a velocity that is remembered in part and drawn in part.

        v_{t+1} = a v_t + (1 - a) vbar + sqrt(1 - a^2) sigma w_t,    w_t ~ N(0, I) in the plane

    once per interval, with a = `memory`; in between devices go straight. Every device has a mean
    velocity vbar of its own, in a uniform direction. Where a path meets the edge of the disc it is
    reflected there like light, velocity and mean velocity alike, as often as it takes: turning both
    leaves the law of the speed as it was. `|vbar| = sigma` is our choice; the speed then follows
    Rice's law with mean

        1.5486 sigma,   1.5486 = sqrt(pi / 2) (1.5 I0(1/4) + 0.5 I1(1/4)) e^(-1/4)

    and sigma is set so that this is `speed_m_s`, from the first round on.

    Source: Liang, Haas, Predictive Distance-Based Mobility Management for PCS Networks (1999), in
    the vector form; the turn at the border is after Camp, Boleng, Davies, A Survey of Mobility
    Models for Ad Hoc Network Research (2002), who bend the mean direction instead.
    """

    disc: Disc
    speed_m_s: float
    memory: float
    interval_s: float
    seed: int

    @property
    def sigma_m_s(self) -> float:
        """Deviation of a velocity component around its mean."""
        from scipy import special

        rice = 1.5 * float(special.i0e(0.25)) + 0.5 * float(special.i1e(0.25))
        return self.speed_m_s / (math.sqrt(math.pi / 2.0) * rice)

    def first(self) -> Drift:
        """Velocities in their stationary law."""
        draws = [
            stream(self.seed, "motion", device, "first") for device in range(len(self.disc.start))
        ]
        mean = self.sigma_m_s * np.array([direction(rng.random()) for rng in draws])
        noise = np.array([complex(*rng.standard_normal(2)) for rng in draws])
        return Drift(self.disc.start, mean + self.sigma_m_s * noise, mean)

    def following(self, state: Drift, round_index: int) -> Drift:
        """See `Law`."""
        place, velocity, mean = reflected(
            self.disc, state.place, state.velocity, state.mean, self.interval_s
        )
        block, row = divmod(round_index, BLOCK)
        noise = _noise(self.seed, len(place), block)[row]
        kept = self.memory
        fresh = math.sqrt(1.0 - kept**2) * self.sigma_m_s
        return Drift(place, kept * velocity + (1.0 - kept) * mean + fresh * noise, mean)


def reflected(
    disc: Disc,
    place: Complex128[np.ndarray, " n"],
    velocity: Complex128[np.ndarray, " n"],
    mean: Complex128[np.ndarray, " n"],
    interval_s: float,
) -> tuple[Plane, Plane, Plane]:
    """Places, velocities and mean velocities after going straight on for `interval_s`.

    At the edge of the disc all three are reflected. After the first bounce the path is a polygon of
    equal chords in a circle, so that any number of bounces is one rotation.
    """
    speed = np.abs(velocity)
    length_m = speed * interval_s
    ahead = np.ones_like(velocity)
    np.divide(velocity, speed, out=ahead, where=speed > 0.0)
    offset = place - disc.centre
    along = (offset * ahead.conj()).real
    room = disc.radius_m**2 - np.abs(offset) ** 2 + along**2
    until_m = np.sqrt(np.maximum(room, 0.0)) - along
    hits = length_m > np.maximum(until_m, 0.0)
    if not hits.any():
        return place + velocity * interval_s, velocity, mean

    # Where the path meets the edge, as a unit vector from the centre, and how it goes on.
    edge = offset + np.maximum(until_m, 0.0) * ahead
    edge = np.where(hits, edge / np.maximum(np.abs(edge), np.finfo(np.float64).tiny), 1.0)
    turned = -ahead.conj() * edge**2
    # The part of the new direction that points inwards; never outwards by rounding.
    inward = np.maximum(-(turned * edge.conj()).real, 0.0)
    chord_m = 2.0 * disc.radius_m * inward
    left_m = length_m - np.maximum(until_m, 0.0)
    more = np.zeros_like(length_m)
    np.divide(left_m, chord_m, out=more, where=chord_m > 0.0)
    bounces = np.floor(more)
    # Each chord turns the picture by the angle that it spans at the centre.
    spun = np.exp(1j * bounces * np.angle(1.0 + 2.0 * inward * turned / edge))
    last_m = np.where(chord_m > 0.0, left_m - bounces * chord_m, 0.0)
    end = spun * (disc.radius_m * edge + last_m * turned)
    end *= np.minimum(1.0, disc.radius_m / np.maximum(np.abs(end), disc.radius_m))
    gone = turned * spun
    # One bounce, or an odd number, mirrors the plane; an even number turns it.
    mirrored = np.where(bounces % 2 == 0, mean.conj() * ahead, mean * ahead.conj()) * gone
    return (
        np.where(hits, disc.centre + end, place + velocity * interval_s),
        np.where(hits, speed * gone, velocity),
        np.where(hits, mirrored, mean),
    )


@lru_cache(maxsize=8)
def _noise(seed: int, devices: int, block: int) -> Complex128[np.ndarray, "rounds n"]:
    """Standard normal draws in the plane for 64 rounds, every device from a stream of its own."""
    draws = (
        stream(seed, "motion", device, "turns", block).standard_normal((BLOCK, 2))
        for device in range(devices)
    )
    return _columns(draws)


def _columns(
    draws: Iterable[Float64[np.ndarray, "rounds 2"]],
) -> Complex128[np.ndarray, "rounds n"]:
    return np.stack([pairs[:, 0] + 1j * pairs[:, 1] for pairs in draws], axis=1)
