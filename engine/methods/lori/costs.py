"""What LoRI on a graph costs."""

from dataclasses import replace

import numpy as np

from meshtune.engine.ledger import SEED_BITS, Introduced, places_bits, value_cost_bits
from meshtune.engine.methods.lori.config import Lori
from meshtune.engine.methods.shared.facts import b_trained, gossip
from meshtune.engine.methods.terms import Cluster, Costs, Terms


def costs(rule: Lori, terms: Terms) -> Costs:
    """The entries that the mask keeps; on first contact the seed of A and the mask."""
    kept = max(1, round(rule.density * terms.values_b))
    bits = value_cost_bits(kept, terms.ranks, terms.value_bits) + terms.mixing.message_bits
    met = np.eye(terms.devices, dtype=np.bool_)

    def densities(cluster: Cluster) -> np.ndarray:
        return np.full(len(cluster), rule.density)

    return replace(
        gossip(terms, values=kept, scales=terms.ranks, work=b_trained(terms), every=1),
        accounts=Introduced(bits, kept, introduction_bits(rule, terms, kept), met),
        warm_up_steps=lambda t: warm_up_steps(rule, t),
        introduces=True,
        density=rule.density,
        densities=densities if rule.density < 1.0 else None,
    )


def warm_up_steps(rule: Lori, round_index: int) -> int:
    """Masks are drawn once, before the first exchange."""
    return rule.mask_warmup_steps if round_index == 0 and rule.density < 1 else 0


def introduction_bits(rule: Lori, terms: Terms, kept: int) -> int:
    """Bits on first contact: the seed of A, and a mask of `kept` entries if there is one."""
    mask = places_bits(kept, terms.values_b, terms.places) if rule.density < 1 else 0
    return SEED_BITS + mask
