"""What frozen-A gossip costs."""

from meshtune.engine.methods.ffa_gossip.config import FfaGossip
from meshtune.engine.methods.shared.facts import b_trained, gossip
from meshtune.engine.methods.terms import Costs, Terms


def costs(rule: FfaGossip, terms: Terms) -> Costs:
    """B over every link in every round; A is drawn from the seed of the run."""
    return gossip(terms, values=terms.values_b, scales=terms.ranks, work=b_trained(terms), every=1)
