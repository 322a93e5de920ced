"""What hard-routing experts cost."""

from dataclasses import replace

from meshtune.engine.methods.oracle_experts.config import OracleExperts
from meshtune.engine.methods.oracle_experts.trees import expert_trees
from meshtune.engine.methods.shared.facts import all_trained, gossip, no_links
from meshtune.engine.methods.terms import Costs, Terms


def costs(rule: OracleExperts, terms: Terms) -> Costs:
    """One expert of each task over a tree of links, in the last round only."""
    plain = gossip(terms, values=terms.frozen_weights, scales=0, work=all_trained(terms), every=1)
    return replace(
        plain,
        accounts=expert_trees(terms.shapes, terms.value_bits, terms.own, terms.rounds),
        occasion=lambda t: int(t + 1 == terms.rounds),
        partners=no_links,
    )
