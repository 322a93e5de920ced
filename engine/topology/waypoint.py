"""Random waypoint: devices that walk from point to point."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Complex128, Float64, Int64

from meshtune.engine.errors import ConfigMismatch
from meshtune.engine.geometry import MEAN_LEG
from meshtune.engine.rng import stream
from meshtune.engine.topology.disc import BLOCK, Disc, direction

# Devices that cross the whole disc more often between two rounds stand anywhere: time wasted.
LEGS_PER_INTERVAL_MAX = 100.0


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
        target = self.disc.centre + self.disc.radius_m * math.sqrt(out) * direction(turn)
        return target, self.speed_min_m_s + pace * (self.speed_max_m_s - self.speed_min_m_s)

    def _first_leg(self, device: int) -> tuple[complex, float, float]:
        """Target, arrival and departure time of what a device is doing when the run starts.

        Given its place at distance x from the centre of a disc of radius R, it rests with odds

            pause  :  E[1/v] 4 R (R^2 - x^2) E(x^2 / R^2) / (pi R^2)      E: complete elliptic

        and has a uniform share of the pause left. Otherwise its leg runs along a chord, which the
        place cuts into a ahead and b behind: of all directions with weight a + b, the rest r of the
        leg with density proportional to r + b / 2 on (0, a), the speed with density 1 / v.
        """
        from scipy import special

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
            ahead = direction(rng.random())
            along = (offset * ahead.conjugate()).real
            half_m = math.sqrt(max(0.0, radius_m**2 - x_m**2 + along**2))
            if rng.random() * radius_m <= half_m:
                break
        a_m, b_m = max(0.0, half_m - along), max(0.0, half_m + along)
        rest_m = (math.sqrt(b_m**2 + 4.0 * rng.random() * a_m * (a_m + b_m)) - b_m) / 2.0
        ratio = self.speed_max_m_s / self.speed_min_m_s
        arrive_s = rest_m / (self.speed_min_m_s * ratio ** rng.random())
        return start + rest_m * ahead, arrive_s, arrive_s + self.pause_s


def check_legs(law: WaypointLaw) -> None:
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
