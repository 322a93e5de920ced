"""What plain LoRA gossip costs."""

from meshtune.engine.methods.lora_gossip.config import LoraGossip
from meshtune.engine.methods.shared.facts import both_factors
from meshtune.engine.methods.terms import Costs, Terms


def costs(rule: LoraGossip, terms: Terms) -> Costs:
    """A and B over every link in every round."""
    return both_factors(terms, every=1)
