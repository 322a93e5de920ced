"""What full fine-tuning gossip costs."""

from meshtune.engine.methods.full_gossip.config import FullGossip
from meshtune.engine.methods.shared.facts import all_trained, gossip
from meshtune.engine.methods.terms import Costs, Terms


def costs(rule: FullGossip, terms: Terms) -> Costs:
    """All weights over every link in every round; scales go by column."""
    return gossip(
        terms, values=terms.frozen_weights, scales=terms.columns, work=all_trained(terms), every=1
    )
