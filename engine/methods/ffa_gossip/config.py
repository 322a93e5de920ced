"""Config of frozen-A LoRA on a graph."""

from typing import Literal

from meshtune.engine.methods.kind import MethodPart


class FfaGossip(MethodPart):
    """Frozen-A gossip: one common A is never trained, B is averaged with the neighbours heard."""

    kind: Literal["ffa_gossip"] = "ffa_gossip"
