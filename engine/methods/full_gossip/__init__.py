"""Full fine-tuning on a graph."""

from meshtune.engine.methods.full_gossip.config import FullGossip
from meshtune.engine.methods.kind import Look, MethodKind, never

METHOD = MethodKind(
    config=FullGossip,
    costs="meshtune.engine.methods.full_gossip.costs:costs",
    rules="meshtune.engine.methods.full_gossip.rules:FullGossipRules",
    look=Look(
        title="Full fine-tuning gossip",
        short="Full tuning",
        color=("#B45309", "#FBBF24"),
        dash="solid",
    ),
    averaging="directed",
    needs_mesh=True,
    whole=True,
    names_places=False,
    free_start=False,
    deals_by_cluster=never,
)
