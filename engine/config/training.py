"""Adapter, exchange, training and evaluation."""

from operator import not_
from typing import Literal

from pydantic import Field

from meshtune.engine.config.model import SEEN_ONLY
from meshtune.engine.fields import OUR_CHOICE, Finite, Part, matters_if, unit
from meshtune.engine.methods.registry import METHODS

# Methods that train whole matrices, and those that send some entries of a matrix only.
WHOLE = tuple(method.name for method in METHODS.rows() if method.whole)
MASKED = tuple(method.name for method in METHODS.rows() if method.names_places)


class Adapter(Part):
    """The low-rank adapter that every device trains."""

    rank: int = Field(
        8,
        ge=1,
        le=256,
        title="Rank r",
        description="Rank of the update B A of every linear layer. More rank, more bits.",
        json_schema_extra=matters_if("method.kind", none_of=WHOLE),
    )
    alpha: Finite = Field(
        16.0,
        gt=0,
        le=1024,
        title="Alpha",
        description="The update is scaled by alpha / r.",
        json_schema_extra={**OUR_CHOICE, **matters_if("method.kind", none_of=WHOLE)},
    )
    value_bits: Literal[32, 16, 8, 4] = Field(
        16,
        title="Precision on air",
        description="Bits per value sent. Values are rounded to it before sending; 8 and 4 share a "
        "16-bit scale per rank.",
        json_schema_extra={**unit("bit"), **OUR_CHOICE},
    )
    places: Literal["least", "bitmap", "numbers", "entropy"] = Field(
        "least",
        title="Places travel as",
        description="How a message says which entries it holds: a bitmap, their numbers, the "
        "smaller of the two, or as few bits as an entropy code needs.",
        json_schema_extra={**OUR_CHOICE, **matters_if("method.kind", one_of=MASKED)},
    )
    # Left out of text and hash where it says nothing: see `least_version`.
    start_from: str = Field(
        "",
        max_length=500,
        pattern=SEEN_ONLY,
        title="Start from",
        description="PEFT folder whose A and B all devices start with: its whole path, or its name "
        "below adapters/ of the state folder. Empty: fresh ones.",
        exclude_if=not_,
    )


class Mixing(Part):
    """How much a device believes its neighbours when it averages."""

    rule: Literal["metropolis", "max_degree", "uniform", "data", "push_sum"] = Field(
        "metropolis",
        title="Weights",
        description="Metropolis and max_degree: links that worked both ways, the mean over devices "
        "is kept. Uniform and data: all that was heard, alike or by its samples; the mean drifts "
        "when losses are one-sided. Push_sum: keeps the mean over directed links.",
        json_schema_extra=OUR_CHOICE,
    )
    lazy: Finite = Field(
        0.0,
        ge=0,
        lt=1,
        title="Laziness",
        description="Share of its own value that a device keeps before it averages the rest.",
        json_schema_extra={**unit("share"), **OUR_CHOICE},
    )


class Training(Part):
    """How a device learns between two exchanges."""

    local_steps: int = Field(
        10,
        ge=1,
        le=10_000,
        title="Local steps",
        description="Optimizer steps between two exchanges. More steps talk less and drift more.",
        json_schema_extra={**unit("steps"), **OUR_CHOICE},
    )
    batch_size: int = Field(
        16,
        ge=1,
        le=1024,
        title="Batch size",
        description="Samples per device and step.",
        json_schema_extra=OUR_CHOICE,
    )
    optimizer: Literal["adamw", "sgd"] = Field(
        "adamw",
        title="Optimizer",
        description="AdamW adapts the step per value; SGD is the paper's plain gradient step.",
        json_schema_extra=OUR_CHOICE,
    )
    learning_rate: Finite = Field(
        3e-3,
        gt=0,
        le=100,
        title="Learning rate",
        description="Step size. Too high ends the run as diverged.",
        json_schema_extra=OUR_CHOICE,
    )
    weight_decay: Finite = Field(
        0.0,
        ge=0,
        le=1,
        title="Weight decay",
        description="Decoupled decay of the adapter values per step, times the learning rate.",
    )
    clip_norm: Finite = Field(
        1.0,
        ge=0,
        le=1000,
        title="Gradient clip",
        description="Largest gradient norm of a device; 0 switches clipping off.",
    )
    warmup_steps: int = Field(
        10,
        ge=0,
        le=100_000,
        title="Warm-up",
        description="Steps over which the learning rate rises from zero.",
        json_schema_extra=unit("steps"),
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        title="Precision",
        description="Of the matrix products; adapters stay float32. Auto takes bfloat16 where the "
        "processor multiplies it in hardware.",
    )


class Evaluation(Part):
    """How accuracy is measured."""

    samples_per_task: int = Field(
        48,
        ge=1,
        le=10_000,
        title="Test samples per task",
        description="Every device answers this many unseen samples of every task. "
        "48 give a standard error of 7 points at most, per device and task.",
    )
    every_rounds: int = Field(
        1,
        ge=1,
        le=10_000,
        title="Evaluate every",
        description="Rounds between two evaluations; the last round is always evaluated.",
        json_schema_extra=unit("rounds"),
    )
