"""What CHOCO gossip costs."""

from dataclasses import replace

import numpy as np

from meshtune.engine.ledger import Steady, places_bits, value_cost_bits
from meshtune.engine.mesh import Links
from meshtune.engine.methods.choco_gossip.config import ChocoGossip
from meshtune.engine.methods.shared.facts import both_trained, gossip
from meshtune.engine.methods.terms import Costs, Terms


def costs(rule: ChocoGossip, terms: Terms) -> Costs:
    """The values that changed most, and their places."""
    dense = terms.values_a + terms.values_b
    kept = max(1, round(rule.density * dense))
    plain = gossip(terms, values=kept, scales=2 * terms.ranks, work=both_trained(terms), every=1)
    bits = value_cost_bits(kept, 2 * terms.ranks, terms.value_bits)
    accounts = Steady(bits + places_bits(kept, dense, terms.places), kept, 1)
    return replace(plain, accounts=accounts, averaged=pulled)


def pulled(linked: Links, heard: Links) -> Links:
    """Links whose two copies both advance: one stands still unless all neighbours heard of it."""
    fresh = (heard | ~linked).all(axis=0)
    return np.asarray(linked & fresh[:, None] & fresh[None, :])
