"""Channels: what happens to messages on air, and what it costs."""

from typing import Annotated, Literal

from pydantic import Field

from meshtune.engine.fields import (
    OUR_CHOICE,
    DBm,
    Decibel,
    Finite,
    Hertz,
    InputName,
    Metres,
    Part,
    Seconds,
    Sha256,
    Watts,
    matters_if,
    unit,
)


class IdealChannel(Part):
    """Every message arrives; airtime and energy are zero. A bound, not a radio."""

    kind: Literal["ideal"] = "ideal"


class Band(Part):
    """What every radio has: a band, a power, a noise, a cap and a deadline."""

    bandwidth_hz: Hertz = Field(
        20e6,
        gt=0,
        le=1e11,
        title="Bandwidth",
        description="Band of one sender, split equally among its receivers. Half the band doubles "
        "the airtime.",
        json_schema_extra=OUR_CHOICE,
    )
    carrier_hz: Hertz = Field(
        3.5e9,
        ge=1e6,
        le=1e12,
        title="Carrier",
        description="Carrier frequency; sets the reference gain at one metre. Higher carriers "
        "reach less far.",
        json_schema_extra=OUR_CHOICE,
    )
    tx_power_dbm: DBm = Field(
        23.0,
        ge=-50,
        le=60,
        title="Transmit power",
        description="Power budget of a sender; more power reaches farther and costs more joules.",
        json_schema_extra=OUR_CHOICE,
    )
    noise_figure_db: Decibel = Field(
        9.0,
        ge=0,
        le=40,
        title="Noise figure",
        description="How much the receiver adds to thermal noise (-174 dBm/Hz).",
        json_schema_extra=OUR_CHOICE,
    )
    spectral_efficiency_max: Finite = Field(
        7.4,
        gt=0,
        le=30,
        title="Spectral-efficiency cap",
        description="No link is faster than this, however good it is.",
        json_schema_extra={**unit("bit/s/Hz"), **OUR_CHOICE},
    )
    deadline_s: Seconds = Field(
        10.0,
        gt=0,
        le=86_400,
        title="Deadline",
        description="A message that would take longer is lost. Tight deadlines lose far devices.",
        json_schema_extra=OUR_CHOICE,
    )


class PaperChannel(Band):
    """The paper's radio: d^-2 path loss, Rayleigh block fading, bandwidth split among receivers.

    Reference gain and spectral-efficiency cap are our repairs (docs/model.md).
    """

    kind: Literal["paper"] = "paper"
    fading: Literal["rayleigh", "none"] = Field(
        "rayleigh",
        title="Fading",
        description="Rayleigh: the gain of a link is drawn anew each round. None: the mean gain.",
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


class RadioChannel(Band):
    """A radio put together from published parts: path loss, fading, access, loss, power."""

    kind: Literal["radio"] = "radio"
    path_loss: PathLoss = Field(default_factory=SidelinkUrban, title="Path loss")
    shadowing: Literal["model", "none"] = Field(
        "model",
        title="Shadowing",
        description="As the path-loss model has it (correlated in space, the same in both "
        "directions), or none.",
        json_schema_extra=matters_if("path_loss.kind", none_of=("free_space", "gain_table")),
    )
    fading: Fading = Field(default_factory=Rayleigh, title="Fading")
    coherence: Literal["round", "doppler"] = Field(
        "round",
        title="Fading lasts",
        description="A new gain every round, or one that changes as fast as devices move: "
        "correlation J0(2 pi v f T / c) from round to round.",
        json_schema_extra=OUR_CHOICE,
    )
    access: Access = Field(default_factory=Ofdma, title="Access")
    duplex: Literal["full", "half"] = Field(
        "full",
        title="Duplex",
        description="Half: nobody receives while it sends, so neighbours take turns. Slots of TDMA "
        "are always half duplex.",
        json_schema_extra=matters_if("access.kind", none_of=("tdma",)),
    )
    power: Literal["split", "per_link", "deadline"] = Field(
        "split",
        title="Power control",
        description="Split the power among receivers; the full power for each of them; or the "
        "least power that meets the deadline (the paper's Lemma 1), within the budget.",
    )
    rate: Literal["shannon", "mcs"] = Field(
        "shannon",
        title="Rate",
        description="Capacity less the gap, or the best of the fifteen steps of 3GPP's CQI table.",
        json_schema_extra=OUR_CHOICE,
    )
    snr_gap_db: Decibel = Field(
        0.0,
        ge=0,
        le=30,
        title="Gap to capacity",
        description="How much more SINR a real code needs than Shannon's.",
        json_schema_extra=OUR_CHOICE,
    )
    loss: Loss = Field(default_factory=DeadlineOnly, title="Loss")
    tries: int = Field(
        1,
        ge=1,
        le=16,
        title="Tries",
        description="How often a broken message is sent at most (hybrid ARQ); then it is dropped.",
        json_schema_extra={**OUR_CHOICE, **matters_if("loss.kind", none_of=("deadline",))},
    )
    deadline_covers: Literal["message", "round"] = Field(
        "message",
        title="Deadline covers",
        description="The time of a message on air (the paper), or the round so far: computing, "
        "waiting for the turn, and sending.",
        json_schema_extra=OUR_CHOICE,
    )
    rx_power_w: Watts = Field(
        0.3,
        ge=0,
        le=100,
        title="Receive power",
        description="What a receiver draws while a message for it is on air.",
        json_schema_extra=OUR_CHOICE,
    )
    header_bits: int = Field(
        0,
        ge=0,
        le=100_000,
        title="Header",
        description="Bits in front of every message.",
        json_schema_extra={**unit("bit"), **OUR_CHOICE},
    )


Channel = Annotated[PaperChannel | RadioChannel | IdealChannel, Field(discriminator="kind")]
