"""What it costs."""

from meshtune.engine.methods.shared.facts import both_trained, gossip
from meshtune.engine.methods.terms import Costs, Terms
from meshtune_seldom import Seldom


def costs(rule: Seldom, terms: Terms) -> Costs:
    values, work = terms.values_a + terms.values_b, both_trained(terms)
    return gossip(terms, values=values, scales=2 * terms.ranks, work=work, every=25)
