"""What training in one place costs."""

from dataclasses import replace

from meshtune.engine.ledger import Steady
from meshtune.engine.methods.centralised.config import Centralised
from meshtune.engine.methods.shared.facts import both_trained, gossip, no_links
from meshtune.engine.methods.terms import Costs, Terms


def costs(rule: Centralised, terms: Terms) -> Costs:
    """Nothing on air; the reach of plain LoRA, which it is compared with."""
    dense = terms.values_a + terms.values_b
    plain = gossip(terms, values=dense, scales=0, work=both_trained(terms), every=1)
    return replace(plain, accounts=Steady(0, 0, 1), partners=no_links)
