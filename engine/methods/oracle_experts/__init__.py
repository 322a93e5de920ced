"""Hard-routing experts: a bound that is told the task."""

from meshtune.engine.methods.kind import Look, MethodKind, never
from meshtune.engine.methods.oracle_experts.config import OracleExperts

METHOD = MethodKind(
    config=OracleExperts,
    costs="meshtune.engine.methods.oracle_experts.costs:costs",
    rules="meshtune.engine.methods.oracle_experts.rules:OracleExpertsRules",
    look=Look(
        title="Oracle experts (bound)", short="Oracle", color=("#1F2430", "#E6E8EE"), dash="dashdot"
    ),
    averaging="none",
    needs_mesh=True,
    whole=True,
    names_places=False,
    free_start=False,
    deals_by_cluster=never,
)
