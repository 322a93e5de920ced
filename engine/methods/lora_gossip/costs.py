"""What plain LoRA gossip costs."""

from meshtune.engine.methods.lora_gossip.config import LoraGossip
from meshtune.engine.methods.shared.facts import both_trained, gossip
from meshtune.engine.methods.terms import Costs, Terms


def costs(rule: LoraGossip, terms: Terms) -> Costs:
    """A and B over every link in every round."""
    return gossip(
        terms,
        values=terms.values_a + terms.values_b,
        scales=2 * terms.ranks,
        work=both_trained(terms),
        every=1,
    )
