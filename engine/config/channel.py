"""Channels: what happens to messages on air, and what it costs."""

from typing import Literal

from pydantic import Field

from meshtune.engine.config.access import Access, DeadlineOnly, Loss, Ofdma
from meshtune.engine.config.propagation import Fading, PathLoss, Rayleigh, SidelinkUrban
from meshtune.engine.fields import (
    OUR_CHOICE,
    DBm,
    Decibel,
    Finite,
    Hertz,
    Seconds,
    Watts,
    matters_if,
    unit,
)
from meshtune.engine.kinds import ChannelKind, ChannelPart


class IdealChannel(ChannelPart):
    """Every message arrives; airtime and energy are zero. A bound, not a radio."""

    kind: Literal["ideal"] = "ideal"


class Band(ChannelPart):
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


CHANNELS = (
    ChannelKind(config=PaperChannel, build="meshtune.engine.channels.radios:paper_radio"),
    ChannelKind(config=RadioChannel, build="meshtune.engine.channels.radios:full_radio"),
    ChannelKind(config=IdealChannel, build="meshtune.engine.channels.radios:ideal_medium"),
)
