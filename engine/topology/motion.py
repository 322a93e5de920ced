"""Devices that move: places in every round, a function of the seed and the round alone (M25)."""

from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar, assert_never, runtime_checkable

import numpy as np
from jaxtyping import Complex128, Float64

from meshtune.engine import config as c
from meshtune.engine.inputs import input_path
from meshtune.engine.topology.disc import BLOCK, Disc, plane_of
from meshtune.engine.topology.gauss_markov import GaussMarkovLaw
from meshtune.engine.topology.traces import SUFFIXES, read_trace
from meshtune.engine.topology.waypoint import WaypointLaw, check_legs

# Drawn devices may all stand close together; they get room to walk.
DRAWN_RADIUS_MIN_M = 10.0
# So many rounds back, places are at hand without computing.
RECENT = 4

Places = Float64[np.ndarray, "n 2"]  # in metres


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
    radius_m = max(radius_m, float(np.abs(plane_of(start) - centre).max()))
    disc = Disc(plane_of(start), centre, radius_m)
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
            check_legs(waypoint)
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
