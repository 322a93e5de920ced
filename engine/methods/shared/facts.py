"""Facts that several methods state about themselves, by name."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from meshtune.engine.ledger import Steady, value_cost_bits
from meshtune.engine.mesh import Links
from meshtune.engine.methods.kind import never
from meshtune.engine.methods.terms import Cluster, Costs, Terms, Work


def no_steps(_: int) -> int:
    """No warm-up in any round."""
    return 0


def all_links(linked: Links, cluster: Cluster) -> Links:
    """Devices average over all links."""
    return linked


def no_links(linked: Links, cluster: Cluster) -> Links:
    """Devices average over no link."""
    return np.zeros_like(linked)


def all_heard(linked: Links, heard: Links) -> Links:
    """Everything that was heard enters the average."""
    return np.asarray(linked & heard)


def by_weights(terms: Terms) -> Callable[[Links, Links], Links]:
    """A link enters the average if it was heard and the weights of the run give it a share."""

    def averaged(linked: Links, heard: Links) -> Links:
        used = heard & linked
        return np.asarray((terms.mixing.weights(used) > 0.0) & used)

    return averaged


def own_answers(terms: Terms) -> Callable[[int], float]:
    """Every device answers with what it has."""
    return lambda _: float(terms.devices)


def both_trained(terms: Terms) -> Work:
    """A and B get gradients."""
    return Work(frozen=terms.frozen_weights, still=0, trained=terms.values_a + terms.values_b)


def b_trained(terms: Terms) -> Work:
    """B gets gradients, A stands still."""
    return Work(frozen=terms.frozen_weights, still=terms.values_a, trained=terms.values_b)


def all_trained(terms: Terms) -> Work:
    """All weights of the adapted modules get gradients; there is no adapter beside them."""
    return Work(frozen=0, still=0, trained=terms.frozen_weights)


def gossip(terms: Terms, *, values: int, scales: int, work: Work, every: int) -> Costs:
    """Costs of devices that send the same to all neighbours in every `every`-th round.

    They average with the weights of the run what they heard, and answer with what they have.

    Args:
        terms: Of the run.
        values: Values in a message.
        scales: Scales among them that integers need, see `value_cost_bits`.
        work: What a training step does.
        every: 1 to send in every round; 25 in the rounds 25, 50, 75 ...
    """
    bits = value_cost_bits(values, scales, terms.value_bits) + terms.mixing.message_bits
    return Costs(
        accounts=Steady(bits, values, every),
        message_bits=terms.value_bits * values,
        work=work,
        warm_up_steps=no_steps,
        occasion=lambda t: int(every > 1 and (t + 1) % every == 0),
        relays=never,
        introduces=False,
        density=1.0,
        densities=None,
        partners=all_links,
        averaged=by_weights(terms),
        answers=own_answers(terms),
        gate=None,
        spectral=False,
    )


def both_factors(terms: Terms, *, every: int) -> Costs:
    """Costs of devices that send A and B over every link in every `every`-th round."""
    return gossip(
        terms,
        values=terms.values_a + terms.values_b,
        scales=2 * terms.ranks,
        work=both_trained(terms),
        every=every,
    )


def silent(terms: Terms) -> Costs:
    """Nothing on air; the reach of plain LoRA, which such methods are compared with."""
    return replace(both_factors(terms, every=1), accounts=Steady(0, 0, 1), partners=no_links)
