"""What happens to a signal on its way: path loss, shadowing, fading."""

from typing import Annotated, Literal

from pydantic import Field

from meshtune.engine.fields import (
    OUR_CHOICE,
    Decibel,
    Finite,
    InputName,
    Metres,
    Part,
    Sha256,
    matters_if,
)

SHADOWED = matters_if("shadowing", one_of=("model",))


class FreeSpace(Part):
    """Nothing in the way: d^-2, as the paper has it, with the gain at one metre."""

    kind: Literal["free_space"] = "free_space"


class LogDistance(Part):
    """Free space up to one metre, then a power of the distance."""

    kind: Literal["log_distance"] = "log_distance"
    exponent: Finite = Field(
        3.0,
        ge=1,
        le=8,
        title="Exponent n",
        description="2 in the open, 3 to 4 among houses: received power falls as d^-n.",
        json_schema_extra=OUR_CHOICE,
    )
    shadowing_db: Decibel = Field(
        6.0,
        ge=0,
        le=20,
        title="Shadowing",
        description="Standard deviation of what walls and trees take away or give.",
        json_schema_extra={**OUR_CHOICE, **SHADOWED},
    )
    decorrelation_m: Metres = Field(
        20.0,
        gt=0,
        le=10_000,
        title="Decorrelation distance",
        description="After moving so far, shadowing still correlates by 1/e.",
        json_schema_extra={**OUR_CHOICE, **SHADOWED},
    )


class InhOffice(Part):
    """Indoor office of 3GPP TR 38.901, made for a ceiling station: between desks it is kind."""

    kind: Literal["inh_office"] = "inh_office"
    office: Literal["mixed", "open"] = Field(
        "mixed", title="Office", description="Rooms and halls, or one open hall."
    )


class UmiStreetCanyon(Part):
    """Urban street canyon of 3GPP TR 38.901, made for one low station: kind between phones."""

    kind: Literal["umi_street_canyon"] = "umi_street_canyon"
    high_end_m: Metres = Field(
        10.0,
        gt=1,
        le=50,
        title="Height of one end",
        description="The higher antenna; the model is made for a station at 10 m.",
        json_schema_extra=OUR_CHOICE,
    )
    low_end_m: Metres = Field(
        1.5,
        gt=1,
        le=50,
        title="Height of the other end",
        description="The lower antenna: a phone in the hand.",
        json_schema_extra=OUR_CHOICE,
    )


class SidelinkUrban(Part):
    """Device to device in streets, both antennas low: 3GPP TR 37.885 urban."""

    kind: Literal["sidelink_urban"] = "sidelink_urban"


class SidelinkHighway(Part):
    """Device to device along a road, both antennas low: 3GPP TR 37.885 highway."""

    kind: Literal["sidelink_highway"] = "sidelink_highway"


class GainTable(Part):
    """Gains of a file, per round and link, for instance from a ray tracer."""

    kind: Literal["gain_table"] = "gain_table"
    name: InputName = Field(
        "gains",
        title="Table",
        description="Name of an npz or CSV file in the folder inputs/gains (docs/gain-tables.md).",
    )
    sha256: Sha256 = Field(
        "", title="SHA-256", description="Refuse another file of that name; empty takes any."
    )


PathLoss = Annotated[
    FreeSpace
    | LogDistance
    | InhOffice
    | UmiStreetCanyon
    | SidelinkUrban
    | SidelinkHighway
    | GainTable,
    Field(discriminator="kind"),
]


class NoFading(Part):
    """The mean gain in every round."""

    kind: Literal["none"] = "none"


class Rayleigh(Part):
    """Many echoes and no direct ray: the power gain is exponential."""

    kind: Literal["rayleigh"] = "rayleigh"


class Rician(Part):
    """A direct ray among echoes."""

    kind: Literal["rician"] = "rician"
    k_db: Decibel = Field(
        6.0,
        ge=-20,
        le=40,
        title="K factor",
        description="Power of the direct ray over that of the echoes. High is calm.",
        json_schema_extra=OUR_CHOICE,
    )


class Nakagami(Part):
    """A family from worse than Rayleigh (m below 1) over Rayleigh (1) to calm (large m)."""

    kind: Literal["nakagami"] = "nakagami"
    m: Finite = Field(
        2.0,
        ge=0.5,
        le=100,
        title="Shape m",
        description="1 is Rayleigh; larger is calmer.",
        json_schema_extra=OUR_CHOICE,
    )


Fading = Annotated[NoFading | Rayleigh | Rician | Nakagami, Field(discriminator="kind")]
