"""Devices that move: places in every round, a function of the seed and the round alone (M25)."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Generic, Protocol, TypeVar, assert_never, runtime_checkable

import numpy as np
from jaxtyping import Complex128, Float64, Int64
from scipy import special

from meshtune.engine import config as c
from meshtune.engine.errors import ConfigMismatch
from meshtune.engine.geometry import MEAN_LEG
from meshtune.engine.inputs import input_path
from meshtune.engine.rng import stream
from meshtune.engine.topology.traces import SUFFIXES, read_trace

# Drawn devices may all stand close together; they get room to walk.
DRAWN_RADIUS_MIN_M = 10.0
# Devices that cross the whole disc more often between two rounds stand anywhere: time wasted.
LEGS_PER_INTERVAL_MAX = 100.0
# Draws and states are kept in blocks of so many rounds (or legs); no number depends on it, but the
# names of the streams do.
BLOCK = 64
# So many rounds back, places are at hand without computing.
RECENT = 4

Places = Float64[np.ndarray, "n 2"]  # in metres
Plane = Complex128[np.ndarray, " n"]  # points and velocities, x + i y: turning is multiplying


@runtime_checkable
class Motion(Protocol):
    """Where the devices are. The same for every method at the same seed."""

    def places(self, round_index: int) -> Float64[np.ndarray, "n 2"]:
        """Places in that round, in metres. Rounds may be asked for in any order."""
        ...


def build_motion(
    mobility: c.Mobility,
    start: Float64[np.ndarray, "n 2"],
    radius_m: float,
    seed: int,
    centre_m: tuple[float, float] = (0.0, 0.0),
) -> Motion:
    """The motion that `mobility` asks for, from the places `start`.

    Args:
        mobility: the law of motion.
        start: places in round 0, in metres; a trace brings its own.
        radius_m: of the disc that devices keep to; widened if a start lies outside.
        seed: of the run. Device i draws from streams of its own.
        centre_m: of that disc.

    Raises:
        AssetMissing: no trace of that name, or another one than its hash says.
        ConfigMismatch: the trace does not fit the devices, or devices would cross the disc more
            than a hundred times between two rounds.
    """
    centre = complex(*centre_m)
    radius_m = max(radius_m, float(np.abs(_plane(start) - centre).max()))
    disc = Disc(_plane(start), centre, radius_m)
    match mobility:
        case c.Static():
            return Standing(start)
        case c.RandomWaypoint():
            waypoint = WaypointLaw(
                disc,
                mobility.speed_min_m_s,
                mobility.speed_max_m_s,
                mobility.pause_s,
                mobility.interval_s,
                seed,
            )
            _check_legs(waypoint)
            return Moving(waypoint)
        case c.GaussMarkov():
            return Moving(
                GaussMarkovLaw(disc, mobility.speed_m_s, mobility.memory, mobility.interval_s, seed)
            )
        case c.Trace():
            file = input_path("traces", mobility.name, SUFFIXES, mobility.sha256)
            return read_trace(file, len(start), mobility.interval_s)
        case _:
            assert_never(mobility)


def area_of(
    topology: c.Topology, places: Float64[np.ndarray, "n 2"]
) -> tuple[float, tuple[float, float]]:
    """Radius and centre of the disc that devices of `topology` move in, in metres."""
    return area_radius_m(topology, places), area_centre_m(topology, places)


def area_radius_m(topology: c.Topology, places: Float64[np.ndarray, "n 2"]) -> float:
    """Radius of the disc that devices of `topology` move in, in metres.

    That of the area; of a drawn mesh the disc around its centroid that holds all devices, at least
    10 m (our choice).
    """
    if not isinstance(topology, c.Drawn):
        return topology.radius_m
    offsets = places - places.mean(axis=0)
    return max(DRAWN_RADIUS_MIN_M, float(np.hypot(offsets[:, 0], offsets[:, 1]).max()))


def area_centre_m(topology: c.Topology, places: Float64[np.ndarray, "n 2"]) -> tuple[float, float]:
    """Centre of that disc, in metres: the origin, or the centroid of a drawn mesh."""
    if not isinstance(topology, c.Drawn):
        return (0.0, 0.0)
    return (float(places[:, 0].mean()), float(places[:, 1].mean()))


@dataclass(frozen=True)
class Standing:
    """Nobody moves: the start itself, the same object each time."""

    start: Float64[np.ndarray, "n 2"]

    def places(self, round_index: int) -> Float64[np.ndarray, "n 2"]:
        """See `Motion`."""
        return self.start


@dataclass(frozen=True)
class Disc:
    """Where devices start, and the disc that they keep to."""

    start: Complex128[np.ndarray, " n"]
    centre: complex
    radius_m: float


@runtime_checkable
class Located(Protocol):
    """What a law carries from round to round: at least the places."""

    @property
    def place(self) -> Complex128[np.ndarray, " n"]:
        """Where the devices are, x + i y in metres."""
        ...


State = TypeVar("State", bound=Located)


@runtime_checkable
class Law(Protocol[State]):
    """A motion step by step. Pure: draws are named by device and round, or leg."""

    def first(self) -> State:
        """State of round 0."""
        ...

    def following(self, state: State, round_index: int) -> State:
        """State of `round_index`, from that of the round before."""
        ...


@dataclass(frozen=True)
class Moving(Generic[State]):
    """Motion by a law that goes from round to round.

    Some states are kept, so that the next round costs one step and any other at most 64 once its
    surroundings were visited; what is kept never changes a number.
    """

    law: Law[State]
    _kept: dict[int, tuple[State, Places]] = field(default_factory=dict, repr=False, compare=False)

    def places(self, round_index: int) -> Float64[np.ndarray, "n 2"]:
        """See `Motion`. The array is read-only."""
        if not self._kept:
            self._keep(0, self.law.first())
        known = max(index for index in self._kept if index <= round_index)
        for index in range(known + 1, round_index + 1):
            self._keep(index, self.law.following(self._kept[index - 1][0], index))
        return self._kept[round_index][1]

    def _keep(self, round_index: int, state: State) -> None:
        places = np.stack([state.place.real, state.place.imag], axis=1)
        places.setflags(write=False)
        self._kept[round_index] = state, places
        old = round_index - RECENT
        if old % BLOCK:
            self._kept.pop(old, None)


@dataclass(frozen=True)
class Legs:
    """The leg that every device is on: from `origin` at `depart_s` to `target` at `arrive_s`.

    It rests there until `leave_s`; `number` counts the legs of a device.
    """

    number: Int64[np.ndarray, " n"]
    origin: Complex128[np.ndarray, " n"]
    target: Complex128[np.ndarray, " n"]
    depart_s: Float64[np.ndarray, " n"]
    arrive_s: Float64[np.ndarray, " n"]
    leave_s: Float64[np.ndarray, " n"]
    place: Complex128[np.ndarray, " n"]


@dataclass(frozen=True)
class WaypointLaw:
    """Random waypoint: straight legs to uniform points of the disc, each at a speed of its own.

    The clock is exact: in round k all devices are where their path has led after k intervals,
    however many legs that took. A leg's speed is uniform between the bounds. Because slow legs last
    longer, the mean speed over time is (v_max - v_min) / ln(v_max / v_min), and walks that begin
    with a uniform speed slow down towards it. Ours begin in the stationary law, given the place
    (M25): only the places do not, since the topology says where devices start; they gather towards
    the middle in the course of some legs.

    Source: Johnson, Maltz, Dynamic Source Routing in Ad Hoc Wireless Networks (1996); Yoon, Liu,
    Noble, Random Waypoint Considered Harmful (2003); Navidi, Camp, Stationary Distributions for the
    Random Waypoint Mobility Model (2004).
    """

    disc: Disc
    speed_min_m_s: float
    speed_max_m_s: float
    pause_s: float
    interval_s: float
    seed: int

    def first(self) -> Legs:
        """Every device in the midst of a leg or of a rest at its start."""
        legs = [self._first_leg(device) for device in range(len(self.disc.start))]
        origin = self.disc.start
        target = np.array([target for target, _, _ in legs], dtype=np.complex128)
        arrive_s = np.array([arrive_s for _, arrive_s, _ in legs])
        leave_s = np.array([leave_s for _, _, leave_s in legs])
        zero = np.zeros(len(origin))
        number = np.zeros(len(origin), dtype=np.int64)
        return Legs(number, origin, target, zero, arrive_s, leave_s, origin)

    def following(self, state: Legs, round_index: int) -> Legs:
        """See `Law`."""
        now_s = round_index * self.interval_s
        number, origin, target = state.number.copy(), state.origin.copy(), state.target.copy()
        depart_s, arrive_s = state.depart_s.copy(), state.arrive_s.copy()
        leave_s = state.leave_s.copy()
        over = np.flatnonzero(leave_s < now_s)
        while len(over):
            for device in over:
                goal, speed_m_s = self._leg(int(device), int(number[device]))
                number[device] += 1
                origin[device], target[device] = target[device], goal
                depart_s[device] = leave_s[device]
                arrive_s[device] = depart_s[device] + abs(goal - origin[device]) / speed_m_s
                leave_s[device] = arrive_s[device] + self.pause_s
            over = over[leave_s[over] < now_s]
        walk_s = arrive_s - depart_s
        walked = np.ones_like(walk_s)  # who had nowhere to go has arrived
        np.divide(now_s - depart_s, walk_s, out=walked, where=walk_s > 0.0)
        place = origin + (target - origin) * np.minimum(walked, 1.0)
        return Legs(number, origin, target, depart_s, arrive_s, leave_s, place)

    def slowness_s_m(self) -> float:
        """Mean of 1 / speed over legs, in seconds per metre."""
        low, high = self.speed_min_m_s, self.speed_max_m_s
        # log1p keeps its digits where the bounds are close.
        return math.log1p((high - low) / low) / (high - low) if high > low else 1.0 / low

    def _leg(self, device: int, number: int) -> tuple[complex, float]:
        """Target and speed of a leg after the first."""
        block, row = divmod(number, BLOCK)
        out, turn, pace = (float(u) for u in _leg_draws(self.seed, device, block)[row])
        target = self.disc.centre + self.disc.radius_m * math.sqrt(out) * _unit(turn)
        return target, self.speed_min_m_s + pace * (self.speed_max_m_s - self.speed_min_m_s)

    def _first_leg(self, device: int) -> tuple[complex, float, float]:
        """Target, arrival and departure time of what a device is doing when the run starts.

        Given its place at distance x from the centre of a disc of radius R, it rests with odds

            pause  :  E[1/v] 4 R (R^2 - x^2) E(x^2 / R^2) / (pi R^2)      E: complete elliptic

        and has a uniform share of the pause left. Otherwise its leg runs along a chord, which the
        place cuts into a ahead and b behind: of all directions with weight a + b, the rest r of the
        leg with density proportional to r + b / 2 on (0, a), the speed with density 1 / v.
        """
        rng = stream(self.seed, "motion", device, "first")
        start = complex(self.disc.start[device])
        radius_m = self.disc.radius_m
        offset = start - self.disc.centre
        x_m = min(abs(offset), radius_m)
        walking_s = (
            self.slowness_s_m()
            * 4.0
            * radius_m
            * (radius_m**2 - x_m**2)
            * float(special.ellipe((x_m / radius_m) ** 2))
            / (math.pi * radius_m**2)
        )
        if rng.random() * (self.pause_s + walking_s) < self.pause_s:
            return start, 0.0, rng.random() * self.pause_s
        while True:
            ahead = _unit(rng.random())
            along = (offset * ahead.conjugate()).real
            half_m = math.sqrt(max(0.0, radius_m**2 - x_m**2 + along**2))
            if rng.random() * radius_m <= half_m:
                break
        a_m, b_m = max(0.0, half_m - along), max(0.0, half_m + along)
        rest_m = (math.sqrt(b_m**2 + 4.0 * rng.random() * a_m * (a_m + b_m)) - b_m) / 2.0
        ratio = self.speed_max_m_s / self.speed_min_m_s
        arrive_s = rest_m / (self.speed_min_m_s * ratio ** rng.random())
        return start + rest_m * ahead, arrive_s, arrive_s + self.pause_s


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
        rice = 1.5 * float(special.i0e(0.25)) + 0.5 * float(special.i1e(0.25))
        return self.speed_m_s / (math.sqrt(math.pi / 2.0) * rice)

    def first(self) -> Drift:
        """Velocities in their stationary law."""
        draws = [
            stream(self.seed, "motion", device, "first") for device in range(len(self.disc.start))
        ]
        mean = self.sigma_m_s * np.array([_unit(rng.random()) for rng in draws])
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


def _check_legs(law: WaypointLaw) -> None:
    """Refuse walks that would take many legs between two rounds."""
    leg_s = MEAN_LEG * law.disc.radius_m * law.slowness_s_m() + law.pause_s
    legs = law.interval_s / leg_s
    if legs > LEGS_PER_INTERVAL_MAX:
        raise ConfigMismatch(
            f"devices would walk {legs:.0f} legs between two rounds; shorten mobility.interval_s "
            f"to {LEGS_PER_INTERVAL_MAX * leg_s:.2g} s or less, slow them down, or give them a "
            "larger area"
        )


@lru_cache(maxsize=1024)
def _leg_draws(seed: int, device: int, block: int) -> Float64[np.ndarray, "legs 3"]:
    """Uniform draws of one device for 64 legs: how far out, which direction, how fast."""
    return stream(seed, "motion", device, "legs", block).random((BLOCK, 3))


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


def _plane(places: Float64[np.ndarray, "n 2"]) -> Plane:
    plane: Plane = places[:, 0] + 1j * places[:, 1]
    return plane


def _unit(turn: float) -> complex:
    """Direction after a share of a full turn."""
    return complex(math.cos(2.0 * math.pi * turn), math.sin(2.0 * math.pi * turn))
