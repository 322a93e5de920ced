"""Config of plain LoRA on a graph."""

from typing import Literal

from meshtune.engine.methods.kind import MethodPart


class LoraGossip(MethodPart):
    """Plain LoRA on a graph: both factors are averaged with the neighbours that were heard."""

    kind: Literal["lora_gossip"] = "lora_gossip"
