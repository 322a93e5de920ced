"""What sparse experts cost before anybody has drawn a mask."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Float64, Int64

from meshtune.engine.ledger import Messages, empty_library, is_published, with_new_masks
from meshtune.engine.mesh import Links, Mesh
from meshtune.engine.methods.gates import SIGNATURES
from meshtune.engine.methods.shared.facts import all_heard, b_trained, by_weights
from meshtune.engine.methods.shared.told import signature_values
from meshtune.engine.methods.so_lora.books import (
    Books,
    expected_union,
    library_slots,
    partners,
    prices,
)
from meshtune.engine.methods.so_lora.config import SoLora
from meshtune.engine.methods.so_lora.masks import draws_masks, is_masked, kept_entries
from meshtune.engine.methods.terms import Cluster, Costs, Terms


def costs(rule: SoLora, terms: Terms) -> Costs:
    """Own experts to partners in every round, copies for everybody now and then."""
    sent = max(1, round(min(rule.density, rule.density_sent) * terms.values_b))

    def densities(cluster: Cluster) -> Float64[np.ndarray, " n"]:
        return kept_entries(rule, terms.shapes, terms.rank, cluster) / terms.values_b

    def publishes(round_index: int) -> bool:
        return is_published(round_index, terms.rounds, rule.library_every)

    return Costs(
        accounts=_accounts(rule, terms),
        message_bits=terms.value_bits * sent,
        work=b_trained(terms),
        warm_up_steps=partial(warm_up_steps, rule),
        occasion=publishes,
        relays=publishes,
        introduces=True,
        density=rule.density,
        densities=densities if is_masked(rule) else None,
        partners=partial(partners, rule, terms.own),
        averaged=by_weights(terms) if rule.mode == "stack" else all_heard,
        answers=partial(_answers, rule, terms),
        gate=rule.gate if rule.gate in SIGNATURES else None,
        spectral=rule.density_by == "spectral",
    )


def warm_up_steps(rule: SoLora, round_index: int) -> int:
    """Steps of dense training that choose masks before a round."""
    return rule.mask_warmup_steps if draws_masks(rule, round_index) else 0


@dataclass(frozen=True)
class SparseExperts:
    """The books of sparse experts whose masks nobody has seen yet."""

    books: Books
    kept: Callable[[Int64[np.ndarray, " n"]], Int64[np.ndarray, " n"]]  # by cluster
    exact: bool

    def sent(self, mesh: Mesh, round_index: int) -> Messages:
        return self._drawn(mesh, round_index).sent(mesh)

    def after(self, mesh: Mesh, heard: Links, round_index: int) -> "SparseExperts":
        books = self._drawn(mesh, round_index).after(mesh, heard, round_index)
        return replace(self, books=books)

    def relayed(self, mesh: Mesh) -> Messages:
        return self.books.relayed(mesh)

    def after_relay(self, mesh: Mesh, heard: Links) -> "SparseExperts":
        return replace(self, books=self.books.after_relay(mesh, heard))

    def _drawn(self, mesh: Mesh, round_index: int) -> Books:
        """The books after the warm-up of this round, if there is one."""
        books = self.books
        if not draws_masks(books.rule, round_index):
            return books
        kept, disjoint = self.kept(mesh.cluster), books.rule.mask == "disjoint"
        return replace(
            books,
            kept=kept,
            union=partial(expected_union, kept, books.prices.entries, disjoint),
            library=with_new_masks(books.library),
        )


def _accounts(rule: SoLora, terms: Terms) -> SparseExperts:
    told = signature_values(rule.gate, terms.shapes, terms.samples)
    price, n = prices(rule, terms, told), terms.devices
    everything = np.full(n, price.entries)
    books = Books(
        rule=rule,
        task=terms.own,
        rounds=terms.rounds,
        prices=price,
        kept=everything,
        union=partial(expected_union, everything, price.entries, False),
        library=empty_library(n, library_slots(rule, terms.own)),
        cluster=np.zeros(n, dtype=np.int64),
        spent=np.zeros(3, dtype=np.int64),
    )
    kept = partial(kept_entries, rule, terms.shapes, terms.rank)
    return SparseExperts(books, kept, _is_exact(rule, terms))


def _is_exact(rule: SoLora, terms: Terms) -> bool:
    """Whether no message depends on which entries the masks hold."""
    if not is_masked(rule):
        return True
    if rule.density_by == "spectral":
        return False
    if rule.mode == "stack" or not terms.clustered:
        return True  # no means of clusters travel
    return rule.mask == "disjoint" and terms.fixed


def _answers(rule: SoLora, terms: Terms, rounds_done: int) -> float:
    """Distinct answers to a question.

    Each device answers with what it has. Once experts are published and the gate picks one of them,
    most devices pick the same: those of the question's task have their own, the others a common
    copy; twice as many were counted, since gates err. A gate that blends costs twice (our fit).
    """
    picks = rule.gate_blend == "hard" and rule.gate_level != "token" and not rule.top_ranks
    if not picks or rule.gate in ("none", "prompt_loss"):
        return 2.0 * terms.devices
    if rounds_done < min(rule.library_every, terms.rounds):
        return float(terms.devices)
    return min(float(terms.devices), 2.0 + 2.0 * terms.devices / terms.tasks_held)
