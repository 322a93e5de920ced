"""Local training: no exchange."""

from meshtune.engine.methods.kind import Look, MethodKind, never
from meshtune.engine.methods.local.config import Local

METHOD = MethodKind(
    config=Local,
    costs="meshtune.engine.methods.local.costs:costs",
    rules="meshtune.engine.methods.local.rules:LocalRules",
    look=Look(
        title="Local only",
        short="Local only",
        color=("#94A3B8", "#7C8AA0"),
        dash="dot",
    ),
    averaging="none",
    needs_mesh=False,
    whole=False,
    names_places=False,
    free_start=True,
    deals_by_cluster=never,
)
