"""DeCAF on a graph: products are averaged and refactored."""

from meshtune.engine.methods.decaf_gossip.config import DecafGossip
from meshtune.engine.methods.kind import Look, MethodKind, never

METHOD = MethodKind(
    config=DecafGossip,
    costs="meshtune.engine.methods.decaf_gossip.costs:costs",
    rules="meshtune.engine.methods.decaf_gossip.rules:DecafGossipRules",
    look=Look(
        title="DeCAF",
        short="DeCAF",
        color=("#0EA5A4", "#2DD4BF"),
        dash="dash",
    ),
    averaging="links",
    needs_mesh=True,
    whole=False,
    names_places=False,
    free_start=True,
    deals_by_cluster=never,
)
