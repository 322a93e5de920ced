"""What changes between rounds: devices that move, links that fade out, devices that leave."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from meshtune.engine.fields import (
    OUR_CHOICE,
    Finite,
    InputName,
    MetresPerSecond,
    Part,
    Probability,
    Seconds,
    Sha256,
    matters_if,
    unit,
)


class Static(Part):
    """Nobody moves."""

    kind: Literal["static"] = "static"


class Moving(Part):
    """Base of devices that move. A clock, not the airtime, says how far: all methods meet alike."""

    interval_s: Seconds = Field(
        10.0,
        gt=0,
        le=86_400,
        title="Time between rounds",
        description="How long devices move between two rounds, whatever the round takes on air, "
        "so that runs of different methods meet the same places.",
        json_schema_extra=OUR_CHOICE,
    )
    relink_every: int = Field(
        1,
        ge=0,
        le=10_000,
        title="Form links anew",
        description="Every so many rounds, where links depend on places; 0 keeps the first ones.",
        json_schema_extra={**unit("rounds"), **OUR_CHOICE},
    )


class RandomWaypoint(Moving):
    """Each device walks to a random place, rests, and walks on."""

    kind: Literal["random_waypoint"] = "random_waypoint"
    speed_min_m_s: MetresPerSecond = Field(
        0.5, gt=0, le=1000, title="Slowest", description="Lower bound of the speed of a leg."
    )
    speed_max_m_s: MetresPerSecond = Field(
        2.0, gt=0, le=1000, title="Fastest", description="Upper bound of the speed of a leg."
    )
    pause_s: Seconds = Field(
        0.0, ge=0, le=86_400, title="Rest", description="Time at a place before walking on."
    )

    @model_validator(mode="after")
    def _ordered(self) -> "RandomWaypoint":
        if self.speed_min_m_s > self.speed_max_m_s:
            raise ValueError(
                f"speed_min_m_s is {self.speed_min_m_s:g} but speed_max_m_s is "
                f"{self.speed_max_m_s:g}; the slowest cannot be faster than the fastest"
            )
        return self


class GaussMarkov(Moving):
    """Each device keeps much of its velocity and changes it a little: smooth paths."""

    kind: Literal["gauss_markov"] = "gauss_markov"
    speed_m_s: MetresPerSecond = Field(
        1.4, gt=0, le=1000, title="Mean speed", description="Walking is about 1.4 m/s."
    )
    memory: Finite = Field(
        0.8,
        ge=0,
        lt=1,
        title="Memory",
        description="How much of its velocity a device keeps from round to round: 0 draws it anew "
        "around the device's own direction, near 1 goes straight.",
    )


class Trace(Moving):
    """Places of a file, round by round."""

    kind: Literal["trace"] = "trace"
    name: InputName = Field(
        "trace",
        title="Trace",
        description="Name of a file in the folder inputs/traces: CSV with columns round, device, "
        "x_m, y_m, FCD output of SUMO, or movements of ns-2.",
    )
    sha256: Sha256 = Field(
        "", title="SHA-256", description="Refuse another file of that name; empty takes any."
    )


Mobility = Annotated[Static | RandomWaypoint | GaussMarkov | Trace, Field(discriminator="kind")]


class Churn(Part):
    """Links and devices that come and go. The same for every method at the same seed."""

    link_up_prob: Probability = Field(
        1.0,
        title="Links up",
        description="Chance that a link can be used in a round at all.",
        json_schema_extra=OUR_CHOICE,
    )
    leave_prob: Probability = Field(
        0.0,
        title="Devices leave",
        description="Chance per round that a present device goes out of reach. It trains on alone.",
        json_schema_extra=OUR_CHOICE,
    )
    return_prob: Probability = Field(
        0.5,
        title="Devices return",
        description="Chance per round that an absent device comes back.",
        json_schema_extra={**OUR_CHOICE, **matters_if("leave_prob", above=0.0)},
    )
