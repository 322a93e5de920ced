"""A method that lives outside: plain LoRA gossip in every 25th round."""

from typing import Any, Literal

from meshtune.engine.methods.kind import Look, MethodKind, MethodPart, Terms
from meshtune.engine.methods.shared import facts


class Seldom(MethodPart):
    """Both factors are averaged with the neighbours, every 25 rounds."""

    kind: Literal["seldom"] = "seldom"


def costs(rule: Seldom, terms: Terms) -> Any:
    values, work = terms.values_a + terms.values_b, facts.both_trained(terms)
    return facts.gossip(terms, values=values, scales=2 * terms.ranks, work=work, every=25)


METHOD = MethodKind(
    config=Seldom,
    costs=costs,
    rules="meshtune_seldom.rules:SeldomRules",
    look=Look(title="Seldom gossip", short="Seldom", color=None, dash="solid"),
    averaging="directed",
    needs_mesh=True,
    whole=False,
    names_places=False,
    deals_by_cluster=facts.never,
)
