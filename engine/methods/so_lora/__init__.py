"""Sparse-and-orthogonal LoRA: experts that stay apart, picked without a router."""

from meshtune.engine.methods.kind import Look, MethodKind
from meshtune.engine.methods.so_lora.config import SoLora

METHOD = MethodKind(
    config=SoLora,
    costs="meshtune.engine.methods.so_lora.costs:costs",
    rules="meshtune.engine.methods.so_lora.rules:SoLoraRules",
    look=Look(
        title="Sparse-and-orthogonal LoRA",
        short="SO-LoRA",
        color=("#4F46E5", "#818CF8"),
        dash="solid",
    ),
    averaging="links",
    needs_mesh=True,
    whole=False,
    names_places=True,
    free_start=False,
    deals_by_cluster=lambda rule: rule.mask == "disjoint",
)
