"""One LoRA on all samples in one place: a bound."""

from meshtune.engine.methods.centralised.config import Centralised
from meshtune.engine.methods.kind import Look, MethodKind, never

METHOD = MethodKind(
    config=Centralised,
    costs="meshtune.engine.methods.centralised.costs:costs",
    rules="meshtune.engine.methods.centralised.rules:CentralisedRules",
    look=Look(
        title="Centralised (bound)", short="Centralised", color=("#1F2430", "#E6E8EE"), dash="dash"
    ),
    averaging="none",
    needs_mesh=False,
    whole=False,
    names_places=False,
    free_start=True,
    deals_by_cluster=never,
)
