"""What training in one place costs."""

from meshtune.engine.methods.centralised.config import Centralised
from meshtune.engine.methods.shared.facts import silent
from meshtune.engine.methods.terms import Costs, Terms


def costs(rule: Centralised, terms: Terms) -> Costs:
    """Nothing on air."""
    return silent(terms)
