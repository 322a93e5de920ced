"""What local training costs."""

from meshtune.engine.methods.local.config import Local
from meshtune.engine.methods.shared.facts import silent
from meshtune.engine.methods.terms import Costs, Terms


def costs(rule: Local, terms: Terms) -> Costs:
    """Nothing on air."""
    return silent(terms)
