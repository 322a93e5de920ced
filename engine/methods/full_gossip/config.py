"""Config of full fine-tuning on a graph."""

from typing import Literal

from meshtune.engine.methods.kind import MethodPart


class FullGossip(MethodPart):
    """Full fine-tuning, merged: every linear layer is trained and averaged with the neighbours."""

    kind: Literal["full_gossip"] = "full_gossip"
