"""Config of DeCAF on a graph."""

from typing import Literal

from meshtune.engine.methods.kind import MethodPart


class DecafGossip(MethodPart):
    """DeCAF: products B A are averaged with the neighbours heard, then cut back to rank r."""

    kind: Literal["decaf_gossip"] = "decaf_gossip"
