"""Config of CHOCO-SGD on a graph."""

from typing import Literal

from pydantic import Field

from meshtune.engine.fields import OUR_CHOICE, Finite, unit
from meshtune.engine.methods.kind import MethodPart


class ChocoGossip(MethodPart):
    """CHOCO-SGD: devices send only what changed most; neighbours keep a public copy of each."""

    kind: Literal["choco_gossip"] = "choco_gossip"
    density: Finite = Field(
        0.25,
        gt=0,
        le=1,
        title="Density sent",
        description="Share of all values of A and B sent per round. Values that changed most go "
        "first, the others wait.",
        json_schema_extra={**unit("share"), **OUR_CHOICE},
    )
    gamma: Finite = Field(
        0.5,
        gt=0,
        le=1,
        title="Step towards neighbours",
        description="How far a device moves towards the mean of the public copies. 1 is plain "
        "gossip; few values sent want a smaller step.",
        json_schema_extra={**unit("share"), **OUR_CHOICE},
    )
