"""Path loss over distance, and how likely two devices see each other: laws of published reports.

Each model is a frozen dataclass with `los_prob`, `loss_db` and the shadowing of its two states, in
sight (LOS) and out of sight (NLOS). Laws are for powers averaged over fading. None of them is made
for two low antennas except the sidelink ones; a distance or carrier outside its range is computed
all the same (our choice), so the range stands in each docstring.
"""

import math
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64

from meshtune.engine.units import LIGHT_SPEED_M_S

# The far-field law has no meaning closer than this, and would amplify at zero distance.
NEAREST_M = 1.0
# The height that TR 38.901 takes off both antennas in streets: cars and people fill it.
CLUTTER_HEIGHT_M = 1.0


@dataclass(frozen=True)
class Shadowing:
    """How much shadowing scatters, and after what distance it has decorrelated to 1/e."""

    sigma_db: float
    decorrelation_m: float


@runtime_checkable
class PathLossModel(Protocol):
    """A law of distance with two states; `los` and `nlos` are the shadowing of each."""

    @property
    def los(self) -> Shadowing:
        """Shadowing of pairs in sight."""
        ...

    @property
    def nlos(self) -> Shadowing:
        """Shadowing of pairs out of sight."""
        ...

    def los_prob(self, distance_m: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
        """Probability that two devices so far apart see each other."""
        ...

    def loss_db(
        self, distance_m: Float64[np.ndarray, "*s"], los: Bool[np.ndarray, "*s"]
    ) -> Float64[np.ndarray, "*s"]:
        """Mean path loss, without shadowing, of pairs that are in sight or not."""
        ...


def reference_gain(carrier_hz: float) -> float:
    """Linear power gain of free space at one metre: (lambda / (4 pi))^2 (docs/model.md M3).

    Source: Friis, A Note on a Simple Transmission Formula, Proc. IRE (1946).
    """
    wavelength_m = LIGHT_SPEED_M_S / carrier_hz
    return (wavelength_m / (4.0 * math.pi)) ** 2


def free_space_gain(
    distance_m: Float64[np.ndarray, "*s"], carrier_hz: float
) -> Float64[np.ndarray, "*s"]:
    """Linear power gain of free space (docs/model.md M3).

        g = min((lambda / (4 pi))^2 d^-2, 1)

    Distances below one metre count as one metre, and nobody receives more than was sent (both our
    choice).
    """
    # Not by way of decibels: runs of the paper's radio must keep every bit of their numbers.
    gain: Float64[np.ndarray, "*s"] = np.minimum(
        reference_gain(carrier_hz) / np.maximum(distance_m, NEAREST_M) ** 2, 1.0
    )
    return gain


@dataclass(frozen=True)
class LogDistance:
    """Free space up to one metre, then a power of the distance (docs/model.md M19).

        PL = 20 log10(4 pi f 1m / c) + 10 n log10(d)

    One state: every pair counts as in sight. Any carrier and distance. Source: Rappaport, Wireless
    Communications, 2nd ed. (2002), section 4.9.1; reference at one metre is our choice.
    """

    carrier_hz: float
    exponent: float
    los: Shadowing

    @property
    def nlos(self) -> Shadowing:
        """As in sight; no pair is in this state."""
        return self.los

    def los_prob(self, distance_m: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
        """One: there is no second state."""
        return np.ones_like(distance_m)

    def loss_db(
        self, distance_m: Float64[np.ndarray, "*s"], los: Bool[np.ndarray, "*s"]
    ) -> Float64[np.ndarray, "*s"]:
        """Mean loss; `los` changes nothing."""
        at_one_metre_db = -10.0 * math.log10(reference_gain(self.carrier_hz))
        return at_one_metre_db + 10.0 * self.exponent * _decades(distance_m)


@dataclass(frozen=True)
class InhOffice:
    """Indoor office (docs/model.md M19).

        LOS   32.4 + 17.3 log10 d + 20 log10 f
        NLOS  max(LOS, 17.3 + 38.3 log10 d + 24.9 log10 f)        d in m, f in GHz

    Made for 0.5 to 100 GHz, 1 to 150 m and a station under the ceiling at 3 m; between two desks it
    is kind. d is the distance on the floor, as if both ends had one height (our choice).
    Source: 3GPP TR 38.901, tables 7.4.1-1 (loss, scatter), 7.4.2-1 (sight), 7.5-6 (decorrelation).
    """

    carrier_hz: float
    office: Literal["mixed", "open"]
    los: Shadowing = Shadowing(3.0, 10.0)
    nlos: Shadowing = Shadowing(8.03, 6.0)

    def los_prob(self, distance_m: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
        """Probability of sight, which is 1 close by, falls, and has a long tail.

        mixed: 1 to 1.2 m, exp(-(d - 1.2) / 4.7) below 6.5 m, then 0.32 exp(-(d - 6.5) / 32.6);
        open: 1 to 5 m, exp(-(d - 5) / 70.8) to 49 m, then 0.54 exp(-(d - 49) / 211.7).
        """
        if self.office == "mixed":
            near = np.exp(-np.maximum(distance_m - 1.2, 0.0) / 4.7)
            return np.where(distance_m < 6.5, near, 0.32 * np.exp(-(distance_m - 6.5) / 32.6))
        near = np.exp(-np.maximum(distance_m - 5.0, 0.0) / 70.8)
        return np.where(distance_m <= 49.0, near, 0.54 * np.exp(-(distance_m - 49.0) / 211.7))

    def loss_db(
        self, distance_m: Float64[np.ndarray, "*s"], los: Bool[np.ndarray, "*s"]
    ) -> Float64[np.ndarray, "*s"]:
        """Mean loss of each pair in its state."""
        decades, carrier = _decades(distance_m), _ghz_decades(self.carrier_hz)
        in_sight_db = 32.4 + 17.3 * decades + 20.0 * carrier
        return _by_state(los, in_sight_db, 17.3 + 38.3 * decades + 24.9 * carrier)


@dataclass(frozen=True)
class UmiStreetCanyon:
    """Urban street canyon with one low station (docs/model.md M19).

        d3 = sqrt(d^2 + (h1 - h2)^2),    dB = 4 (h1 - 1) (h2 - 1) carrier_hz / c
        LOS   32.4 + 20 log10 f + 21 log10 d3                                    as long as d <= dB
              32.4 + 20 log10 f + 40 log10 d3 - 9.5 log10(dB^2 + (h1 - h2)^2)              beyond
        NLOS  max(LOS, 22.4 + 21.3 log10 f + 35.3 log10 d3 - 0.3 (h2 - 1.5))    d in m, f in GHz

    Made for 0.5 to 100 GHz, 10 m to 5 km, a station at 10 m and phones at 1.5 to 22.5 m. With two
    phones it is kind. Source: 3GPP TR 38.901, tables 7.4.1-1 and its note 1, 7.4.2-1, 7.5-6.
    """

    carrier_hz: float
    high_end_m: float
    low_end_m: float
    los: Shadowing = Shadowing(4.0, 10.0)
    nlos: Shadowing = Shadowing(7.82, 13.0)

    def los_prob(self, distance_m: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
        """Probability of sight: min(1, 18/d) (1 - exp(-d/36)) + exp(-d/36)."""
        far = np.exp(-distance_m / 36.0)
        near = np.minimum(1.0, 18.0 / np.maximum(distance_m, NEAREST_M))
        prob: Float64[np.ndarray, "*s"] = near * (1.0 - far) + far
        return prob

    def loss_db(
        self, distance_m: Float64[np.ndarray, "*s"], los: Bool[np.ndarray, "*s"]
    ) -> Float64[np.ndarray, "*s"]:
        """Mean loss of each pair in its state."""
        drop_m = self.high_end_m - self.low_end_m
        decades = _decades(np.hypot(np.maximum(distance_m, NEAREST_M), drop_m))
        carrier = _ghz_decades(self.carrier_hz)
        clear_m = (self.high_end_m - CLUTTER_HEIGHT_M) * (self.low_end_m - CLUTTER_HEIGHT_M)
        break_m = 4.0 * clear_m * self.carrier_hz / LIGHT_SPEED_M_S
        beyond_db = 40.0 * decades - 9.5 * math.log10(break_m**2 + drop_m**2)
        in_sight_db = (
            32.4 + 20.0 * carrier + np.where(distance_m <= break_m, 21.0 * decades, beyond_db)
        )
        height_db = 0.3 * (self.low_end_m - 1.5)
        return _by_state(los, in_sight_db, 22.4 + 35.3 * decades + 21.3 * carrier - height_db)


@dataclass(frozen=True)
class SidelinkUrban:
    """Device to device in streets, both antennas low (docs/model.md M19).

        LOS   38.77 + 16.7 log10 d + 18.2 log10 f
        NLOS  max(LOS, 36.85 + 30 log10 d + 18.9 log10 f)         d in m, f in GHz

    The report has three states: in sight, blocked by a vehicle, behind a corner. It draws the first
    two with the probability below for cars in one street, and takes the third from the map. We have
    neither vehicles nor a map: whoever is not in sight is behind a corner (our choice; it loses
    more than a vehicle would take). The maximum keeps pairs closer than 2 m in order (our choice).
    Made for cars at about 6 GHz (and 63 GHz), antennas at 1.6 m; the report gives no range.
    Source: 3GPP TR 37.885, tables 6.2.1-1 (loss, scatter) and 6.2-1 (sight); decorrelation of
    3GPP TR 36.885, section A.1.4.
    """

    carrier_hz: float
    los: Shadowing = Shadowing(3.0, 10.0)
    nlos: Shadowing = Shadowing(4.0, 10.0)

    def los_prob(self, distance_m: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
        """Probability of sight: min(1, 1.05 exp(-0.0114 d))."""
        return np.minimum(1.0, 1.05 * np.exp(-0.0114 * distance_m))

    def loss_db(
        self, distance_m: Float64[np.ndarray, "*s"], los: Bool[np.ndarray, "*s"]
    ) -> Float64[np.ndarray, "*s"]:
        """Mean loss of each pair in its state."""
        decades, carrier = _decades(distance_m), _ghz_decades(self.carrier_hz)
        in_sight_db = 38.77 + 16.7 * decades + 18.2 * carrier
        return _by_state(los, in_sight_db, _behind_a_corner_db(decades, carrier))


@dataclass(frozen=True)
class SidelinkHighway:
    """Device to device along a road, both antennas low (docs/model.md M19).

        LOS   32.4 + 20 log10 d + 20 log10 f                      d in m, f in GHz
        NLOS  as in streets

    On the report's road nothing blocks but vehicles; we leave these out and let whoever is not in
    sight have the loss of streets (our choice, on the safe side). Made as the urban model is.
    Source: 3GPP TR 37.885, tables 6.2.1-1 and 6.2-1; decorrelation of TR 36.885, section A.1.4.
    """

    carrier_hz: float
    los: Shadowing = Shadowing(3.0, 25.0)
    nlos: Shadowing = Shadowing(4.0, 25.0)

    def los_prob(self, distance_m: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
        """Probability of sight.

        min(1, 2.1013e-6 d^2 - 0.002 d + 1.0193) to 475 m, then max(0, 0.54 - 0.001 (d - 475)).
        """
        near = np.minimum(1.0, (2.1013e-6 * distance_m - 0.002) * distance_m + 1.0193)
        far = np.maximum(0.0, 0.54 - 0.001 * (distance_m - 475.0))
        return np.where(distance_m <= 475.0, near, far)

    def loss_db(
        self, distance_m: Float64[np.ndarray, "*s"], los: Bool[np.ndarray, "*s"]
    ) -> Float64[np.ndarray, "*s"]:
        """Mean loss of each pair in its state."""
        decades, carrier = _decades(distance_m), _ghz_decades(self.carrier_hz)
        in_sight_db = 32.4 + 20.0 * decades + 20.0 * carrier
        return _by_state(los, in_sight_db, _behind_a_corner_db(decades, carrier))


def _behind_a_corner_db(
    decades: Float64[np.ndarray, "*s"], carrier: float
) -> Float64[np.ndarray, "*s"]:
    return 36.85 + 30.0 * decades + 18.9 * carrier


def _by_state(
    los: Bool[np.ndarray, "*s"],
    in_sight_db: Float64[np.ndarray, "*s"],
    out_of_sight_db: Float64[np.ndarray, "*s"],
) -> Float64[np.ndarray, "*s"]:
    """Loss of the state that each pair is in; out of sight never loses less than in sight."""
    return np.where(los, in_sight_db, np.maximum(in_sight_db, out_of_sight_db))


def _decades(distance_m: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
    decades: Float64[np.ndarray, "*s"] = np.log10(np.maximum(distance_m, NEAREST_M))
    return decades


def _ghz_decades(carrier_hz: float) -> float:
    return math.log10(carrier_hz / 1e9)
