"""LoRI on a graph: random frozen A, masked B."""

from meshtune.engine.methods.kind import Look, MethodKind, never
from meshtune.engine.methods.lori.config import Lori

METHOD = MethodKind(
    config=Lori,
    costs="meshtune.engine.methods.lori.costs:costs",
    rules="meshtune.engine.methods.lori.rules:LoriRules",
    look=Look(
        title="LoRI",
        short="LoRI",
        color=("#A16207", "#D9A441"),
        dash="solid",
    ),
    averaging="directed",
    needs_mesh=True,
    whole=False,
    names_places=True,
    free_start=False,
    deals_by_cluster=never,
)
