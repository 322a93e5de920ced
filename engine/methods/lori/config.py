"""Config of LoRI on a graph."""

from typing import Literal

from pydantic import Field

from meshtune.engine.fields import OUR_CHOICE, Finite, matters_if, unit
from meshtune.engine.methods.kind import MethodPart


class Lori(MethodPart):
    """LoRI on a graph: random frozen A per task, masked B averaged with the neighbours heard."""

    kind: Literal["lori"] = "lori"
    density: Finite = Field(
        1.0,
        gt=0,
        le=1,
        title="Density s",
        description="Share of B that is trained and sent: 1 is LoRI-D, 0.1 is LoRI-S.",
        json_schema_extra=unit("share"),
    )
    mask_warmup_steps: int = Field(
        20,
        ge=1,
        le=1000,
        title="Mask warm-up",
        description="Steps of dense training that pick the entries to keep. Unused at density 1.",
        json_schema_extra={**unit("steps"), **OUR_CHOICE, **matters_if("density", below=1.0)},
    )
    a_init: Literal["task", "common"] = Field(
        "task",
        title="Static A",
        description="Random rows per task (LoRI), or the same for all devices, as in frozen-A "
        "gossip.",
        json_schema_extra=OUR_CHOICE,
    )
