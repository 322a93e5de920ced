"""CHOCO-SGD on a graph: the largest changes only."""

from meshtune.engine.methods.choco_gossip.config import ChocoGossip
from meshtune.engine.methods.kind import Look, MethodKind, never

METHOD = MethodKind(
    config=ChocoGossip,
    costs="meshtune.engine.methods.choco_gossip.costs:costs",
    rules="meshtune.engine.methods.choco_gossip.rules:ChocoGossipRules",
    look=Look(
        title="CHOCO gossip",
        short="CHOCO",
        color=("#5B6270", "#9AA3B2"),
        dash="dash",
    ),
    averaging="copies",
    needs_mesh=True,
    whole=False,
    names_places=True,
    free_start=True,
    deals_by_cluster=never,
)
