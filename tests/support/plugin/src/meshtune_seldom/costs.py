"""What it costs."""

from meshtune.engine.methods.shared.facts import both_factors
from meshtune.engine.methods.terms import Costs, Terms
from meshtune_seldom import Seldom


def costs(rule: Seldom, terms: Terms) -> Costs:
    return both_factors(terms, every=25)
