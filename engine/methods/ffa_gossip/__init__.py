"""Frozen-A LoRA on a graph."""

from meshtune.engine.methods.ffa_gossip.config import FfaGossip
from meshtune.engine.methods.kind import Look, MethodKind, never

METHOD = MethodKind(
    config=FfaGossip,
    costs="meshtune.engine.methods.ffa_gossip.costs:costs",
    rules="meshtune.engine.methods.ffa_gossip.rules:FfaGossipRules",
    look=Look(
        title="Frozen-A LoRA gossip", short="Frozen A", color=("#0EA5A4", "#2DD4BF"), dash="solid"
    ),
    averaging="directed",
    needs_mesh=True,
    whole=False,
    names_places=False,
    free_start=False,
    deals_by_cluster=never,
)
