"""Config of sparse-and-orthogonal LoRA."""

from typing import Literal, get_args

from pydantic import Field, model_validator

from meshtune.engine.fields import OUR_CHOICE, Finite, matters_if, unit
from meshtune.engine.methods.gates import GateLevel, GateName
from meshtune.engine.methods.kind import MethodPart

BY_INPUT = matters_if(
    "gate",
    one_of=("prototype", "subspace", "gaussian", "projection_norm", "output_norm", "arrow"),
)
RANKED = matters_if(
    "gate", one_of=tuple(g for g in get_args(GateName) if g not in ("none", "oracle"))
)


class SoLora(MethodPart):
    """Sparse-and-orthogonal LoRA: static A, masked B, clusters, and a gate without a router."""

    kind: Literal["so_lora"] = "so_lora"
    mode: Literal["stack", "repaired", "literal"] = Field(
        "stack",
        title="Mode",
        description="Stack: experts stay apart, only devices of one task average. Repaired: B is "
        "averaged in the cluster over those that hold an entry. Literal: the paper's equations as "
        "printed.",
        json_schema_extra=OUR_CHOICE,
    )
    density: Finite = Field(
        0.5,
        gt=0,
        le=1,
        title="Density s",
        description="Share of B that is trained. Lower density sends fewer bits and learns less.",
        json_schema_extra=unit("share"),
    )
    density_by: Literal["uniform", "spectral"] = Field(
        "uniform",
        title="Density per layer",
        description="The same in every layer, or more where the frozen layer's response to the "
        "task has a flatter spectrum, at the same total.",
        json_schema_extra=matters_if("density", below=1.0),
    )
    density_sent: Finite = Field(
        1.0,
        gt=0,
        le=1,
        title="Density sent",
        description="Share of B sent per round, at most the density. Entries that changed most go "
        "first, the others wait.",
        json_schema_extra={**unit("share"), **OUR_CHOICE},
    )
    mask: Literal["layer", "global", "column", "disjoint"] = Field(
        "layer",
        title="Mask",
        description="Largest entries per layer, over all layers, whole columns of B, or entries "
        "dealt out in the cluster beforehand so that nobody collides.",
        json_schema_extra=OUR_CHOICE,
    )
    mask_warmup_steps: int = Field(
        20,
        ge=1,
        le=1000,
        title="Mask warm-up",
        description="Steps of dense training that pick the entries to keep. Too few pick noise.",
        json_schema_extra={**unit("steps"), **OUR_CHOICE},
    )
    mask_every: int = Field(
        0,
        ge=0,
        le=10_000,
        title="Draw masks again",
        description="Every so many rounds, after another warm-up; 0 keeps the first masks.",
        json_schema_extra={**unit("rounds"), **OUR_CHOICE},
    )
    a_init: Literal["orthonormal", "task", "device", "common"] = Field(
        "orthonormal",
        title="Static A",
        description="Exactly orthogonal rows per task, Gaussian rows per task, Gaussian rows per "
        "device (the paper), or the same rows for all: then all tasks share one B.",
        json_schema_extra=OUR_CHOICE,
    )
    a_sent: Literal["seed", "matrix"] = Field(
        "seed",
        title="A travels as",
        description="A 64-bit seed from which the receiver draws it again, or the matrix itself.",
        json_schema_extra=OUR_CHOICE,
    )
    library_every: int = Field(
        5,
        ge=1,
        le=10_000,
        title="Library exchange",
        description="Every so many rounds devices publish their experts, which neighbours then "
        "copy hop by hop. They serve inference only, so seldom is cheap.",
        json_schema_extra={**unit("rounds"), **OUR_CHOICE},
    )
    gate: GateName = Field(
        "prototype",
        title="Gate",
        description="How a device picks experts at inference without a router and without being "
        "told the task: by similarity of the prompt to each task (prototype, subspace, gaussian), "
        "by the size of an expert's response (projection or output norm, arrow), or by the loss "
        "on the prompt. Oracle is told the task (a bound); none lets all answer at once.",
        json_schema_extra=OUR_CHOICE,
    )
    gate_level: GateLevel = Field(
        "prompt",
        title="Gate decides per",
        description="Once per prompt and layer, anew for every token, or once per prompt for the "
        "whole network, by the mean of the scores of its layers.",
        json_schema_extra={**OUR_CHOICE, **BY_INPUT},
    )
    gate_blend: Literal["hard", "soft"] = Field(
        "hard",
        title="Gate picks",
        description="Hard: the best expert answers alone. Soft: experts answer in proportion to "
        "their score, the best at full strength.",
        json_schema_extra={**OUR_CHOICE, **RANKED},
    )
    top_ranks: int = Field(
        0,
        ge=0,
        le=4096,
        title="Ranks kept",
        description="Keep only so many of the largest coordinates of A x (the paper's top-k); 0 "
        "keeps all.",
        json_schema_extra=OUR_CHOICE,
    )
    top_ranks_over: Literal["all", "expert"] = Field(
        "all",
        title="Ranks compete over",
        description="All experts together, or within each expert.",
        json_schema_extra={**OUR_CHOICE, **matters_if("top_ranks", above=0.0)},
    )

    @model_validator(mode="after")
    def _one_rule_per_layer(self) -> "SoLora":
        if self.density_by == "spectral" and self.mask in ("global", "disjoint"):
            raise ValueError(
                f"density_by is spectral but mask is {self.mask}, which settles the share of each "
                "layer itself; set density_by to uniform or mask to layer"
            )
        return self
