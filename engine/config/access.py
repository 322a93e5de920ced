"""Who sends when, and what breaks a message."""

from typing import Annotated, Literal

from pydantic import Field

from meshtune.engine.fields import (
    OUR_CHOICE,
    Decibel,
    Metres,
    Part,
    matters_if,
)

BandUse = Literal["own", "shared"]


class Ofdma(Part):
    """All send at once; a sender gives each of its receivers an equal part of its band."""

    kind: Literal["ofdma"] = "ofdma"
    band: BandUse = Field(
        "own",
        title="Band of a sender",
        description="Own: senders do not disturb each other (the paper). Shared: all in one band, "
        "so that every other sender interferes.",
    )


class Broadcast(Part):
    """All send at once; a sender sends one message for all, at the rate of its worst neighbour."""

    kind: Literal["broadcast"] = "broadcast"
    band: BandUse = Field(
        "own",
        title="Band of a sender",
        description="Own: senders do not disturb each other. Shared: all in one band, so that "
        "every other sender interferes.",
    )


class Tdma(Part):
    """One band, slots one after another; who would disturb whom gets different slots."""

    kind: Literal["tdma"] = "tdma"
    cast: Literal["unicast", "broadcast"] = Field(
        "unicast",
        title="A slot carries",
        description="One message to one receiver, or one message to all neighbours.",
        json_schema_extra=OUR_CHOICE,
    )
    reuse: Literal["none", "spatial"] = Field(
        "none",
        title="Reuse of a slot",
        description="None: one sender at a time. Spatial: senders farther from each other's "
        "receivers than the interference range share a slot, and interfere a little.",
    )
    interference_range_m: Metres = Field(
        200.0,
        gt=0,
        le=200_000,
        title="Interference range",
        description="A sender nearer than this to somebody else's receiver gets another slot.",
        json_schema_extra={**OUR_CHOICE, **matters_if("reuse", one_of=("spatial",))},
    )


Access = Annotated[Ofdma | Broadcast | Tdma, Field(discriminator="kind")]


class DeadlineOnly(Part):
    """The rate follows the fading, which both ends know: only the deadline loses messages."""

    kind: Literal["deadline"] = "deadline"


class Waterfall(Part):
    """The rate follows the fading, and packets break by chance: q = 1 - exp(-m / SINR)."""

    kind: Literal["waterfall"] = "waterfall"
    threshold_db: Decibel = Field(
        0.023,
        ge=-30,
        le=30,
        title="Waterfall threshold m",
        description="SINR at which 63 % of the packets break. 0.023 dB is common in the field.",
    )


class Outage(Part):
    """The sender knows the mean only: a link that fades below the chosen rate loses the message."""

    kind: Literal["outage"] = "outage"
    margin_db: Decibel = Field(
        6.0,
        ge=-20,
        le=40,
        title="Fading margin",
        description="How far below the mean SINR the rate is chosen. More margin is slower and "
        "loses less.",
        json_schema_extra=OUR_CHOICE,
    )


Loss = Annotated[DeadlineOnly | Waterfall | Outage, Field(discriminator="kind")]
