"""The accounts of every method before its first round."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import assert_never

import numpy as np
from jaxtyping import Bool, Int64

from meshtune.engine import config as c
from meshtune.engine.backbone.shapes import embedded_shapes
from meshtune.engine.ledger.books import Books, expected_union, prices
from meshtune.engine.ledger.costs import (
    SEED_BITS,
    Shapes,
    draws_masks,
    is_masked,
    kept_entries,
    places_bits,
    signature_values,
    value_cost_bits,
)
from meshtune.engine.ledger.library import empty_library, with_new_masks
from meshtune.engine.ledger.messages import Accounts, Messages, OneHop, on_links
from meshtune.engine.ledger.trees import expert_trees
from meshtune.engine.mesh import Links, Mesh
from meshtune.engine.topology.mixing import mixing_rule


@dataclass(frozen=True)
class Steady(OneHop):
    """The same message on every link in every round."""

    bits: int
    values: int
    exact: bool = True

    def sent(self, mesh: Mesh, round_index: int) -> Messages:
        return on_links(mesh, self.bits, self.values)

    def after(self, mesh: Mesh, heard: Links, round_index: int) -> "Steady":
        return self

    def after_relay(self, mesh: Mesh, heard: Links) -> "Steady":
        return self


@dataclass(frozen=True)
class Introduced(OneHop):
    """The same message on every link, and something once per pair until it is heard."""

    bits: int
    values: int
    first_bits: int
    met: Bool[np.ndarray, "n n"]
    exact: bool = True

    def sent(self, mesh: Mesh, round_index: int) -> Messages:
        first = np.where(self.met, 0, self.first_bits)
        return Messages(
            np.where(mesh.linked, self.bits + first, 0),
            mesh.linked.astype(np.int64) * self.values,
        )

    def after(self, mesh: Mesh, heard: Links, round_index: int) -> "Introduced":
        return replace(self, met=self.met | heard)

    def after_relay(self, mesh: Mesh, heard: Links) -> "Introduced":
        return self


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


def accounts(config: c.RunConfig) -> Accounts:
    """The accounts of a run before its first round."""
    shapes, adapter, method = embedded_shapes(), config.adapter, config.method
    rank, value_bits, modules = adapter.rank, adapter.value_bits, len(shapes)
    rows = sum(d_out for d_out, _ in shapes.values())
    columns = sum(d_in for _, d_in in shapes.values())
    full = sum(d_out * d_in for d_out, d_in in shapes.values())
    dense = rank * (rows + columns)
    push = mixing_rule(config).message_bits
    match method:
        case c.Local() | c.Centralised():
            return Steady(0, 0)
        case c.LoraGossip() | c.DecafGossip():
            return Steady(value_cost_bits(dense, 2 * rank * modules, value_bits) + push, dense)
        case c.FfaGossip():
            kept = rank * rows
            return Steady(value_cost_bits(kept, rank * modules, value_bits) + push, kept)
        case c.FullGossip():
            return Steady(value_cost_bits(full, columns, value_bits) + push, full)
        case c.ChocoGossip():
            kept = max(1, round(method.density * dense))
            places = places_bits(kept, dense, adapter.places)
            return Steady(value_cost_bits(kept, 2 * rank * modules, value_bits) + places, kept)
        case c.Lori():
            kept = max(1, round(method.density * rank * rows))
            bits = value_cost_bits(kept, rank * modules, value_bits) + push
            first_bits = SEED_BITS
            if method.density < 1:
                first_bits += places_bits(kept, rank * rows, adapter.places)
            met = np.eye(config.fleet.devices, dtype=np.bool_)
            return Introduced(bits, kept, first_bits, met)
        case c.OracleExperts():
            return expert_trees(shapes, value_bits, _tasks(config), config.rounds)
        case c.SoLora():
            return _sparse_experts(config, method, shapes)
        case _:
            assert_never(method)


def _sparse_experts(config: c.RunConfig, rule: c.SoLora, shapes: Shapes) -> SparseExperts:
    task, n = _tasks(config), config.fleet.devices
    adapter = config.adapter
    told = signature_values(rule.gate, shapes, config.fleet.train_samples)
    costs = prices(rule, shapes, adapter.rank, adapter.value_bits, adapter.places, told)
    everything = np.full(n, costs.entries)
    books = Books(
        rule=rule,
        task=task,
        rounds=config.rounds,
        prices=costs,
        kept=everything,
        union=partial(expected_union, everything, costs.entries, False),
        library=empty_library(n, library_slots(rule, task)),
        cluster=np.zeros(n, dtype=np.int64),
        spent=np.zeros(3, dtype=np.int64),
    )
    return SparseExperts(
        books, partial(kept_entries, rule, shapes, adapter.rank), _is_exact(config, rule)
    )


def library_slots(rule: c.SoLora, task: Sequence[int] | Int64[np.ndarray, " n"]) -> int:
    """Places in a library: one per task, or as many as there can be clusters."""
    return int(max(task)) + 1 if rule.mode == "stack" else len(task)


def _is_exact(config: c.RunConfig, rule: c.SoLora) -> bool:
    """Whether no message of sparse experts depends on which entries the masks hold."""
    if not is_masked(rule):
        return True
    if rule.density_by == "spectral":
        return False
    clustered = isinstance(config.topology, c.Clusters | c.KMeans | c.Agnes)
    if rule.mode == "stack" or not clustered:
        return True  # no means of clusters travel
    return rule.mask == "disjoint" and isinstance(config.mobility, c.Static)


def _tasks(config: c.RunConfig) -> Int64[np.ndarray, " n"]:
    """Index of each device's task among those of the run."""
    present = config.fleet.present_tasks()
    return np.array([present.index(config.fleet.task_of(i)) for i in range(config.fleet.devices)])
