"""What DeCAF gossip costs."""

from meshtune.engine.methods.decaf_gossip.config import DecafGossip
from meshtune.engine.methods.shared.facts import both_factors
from meshtune.engine.methods.terms import Costs, Terms


def costs(rule: DecafGossip, terms: Terms) -> Costs:
    """A and B over every link in every round."""
    return both_factors(terms, every=1)
