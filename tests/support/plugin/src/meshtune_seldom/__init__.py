"""A method that lives outside: plain LoRA gossip in every 25th round."""

from typing import Literal

from meshtune.engine.methods.kind import Look, MethodKind, MethodPart, never


class Seldom(MethodPart):
    """Both factors are averaged with the neighbours, every 25 rounds."""

    kind: Literal["seldom"] = "seldom"


METHOD = MethodKind(
    config=Seldom,
    costs="meshtune_seldom.costs:costs",
    rules="meshtune_seldom.rules:SeldomRules",
    look=Look(title="Seldom gossip", short="Seldom", color=None, dash="solid"),
    averaging="directed",
    needs_mesh=True,
    whole=False,
    names_places=False,
    free_start=True,
    deals_by_cluster=never,
)
