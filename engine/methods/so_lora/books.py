"""The books of sparse experts: who has met whom, what messages and copies cost."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int64

from meshtune.engine.ledger import (
    KNOWN,
    SEED_BITS,
    STRANGER,
    Library,
    Messages,
    PlacesCode,
    Pulls,
    copied,
    is_published,
    places_bits,
    published,
    pulls,
    value_cost_bits,
)
from meshtune.engine.mesh import Links, Mesh
from meshtune.engine.methods.so_lora.config import SoLora
from meshtune.engine.methods.so_lora.masks import is_masked
from meshtune.engine.methods.terms import Cluster, Terms


@dataclass(frozen=True)
class Prices:
    """What the parts of a message of sparse experts cost.

    Attributes:
        entries: Of B, all modules together.
        ranks: Scales that integers need: modules times rank.
        value_bits: Precision on air.
        places: How a message says which entries it holds.
        masked: Whether a mask has to be told.
        sent_most: Values that an own expert sends in a round at most; None for all it keeps.
        a_bits: A, told once.
        a_values: Values among them; 0 if A travels as a seed.
        told_bits: What the gate needs to know, told once.
    """

    entries: int
    ranks: int
    value_bits: int
    places: PlacesCode
    masked: bool
    sent_most: int | None
    a_bits: int
    a_values: int
    told_bits: int

    def expert_values(self, kept: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        """Values of an own expert that go on air in a round."""
        return kept if self.sent_most is None else np.minimum(kept, self.sent_most)

    def expert_bits(self, kept: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        """Bits of an own expert in a round, with the places of its values where it sends a part."""
        values = self.expert_values(kept)
        pairs = zip(values.tolist(), kept.tolist(), strict=True)
        return self.copy_bits(values) + [places_bits(v, k, self.places) for v, k in pairs]

    def copy_bits(self, values: Int64[np.ndarray, " m"]) -> Int64[np.ndarray, " m"]:
        """Bits of copies with so many values each."""
        return values * self.value_bits + value_cost_bits(0, self.ranks, self.value_bits)

    def introduction_bits(self, kept: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, "3 n"]:
        """Bits that introduce each device, by what is known of it (see `Library.met`)."""
        told = [
            places_bits(k, self.entries, self.places) if self.masked else 0 for k in kept.tolist()
        ]
        mask = np.array(told, dtype=np.int64)
        return np.stack([self.a_bits + self.told_bits + mask, mask, np.zeros_like(mask)])


def prices(rule: SoLora, terms: Terms, told_values: int) -> Prices:
    """Prices of a method; `told_values` are the numbers that the gate needs of a device."""
    a_bits, a_values = SEED_BITS, 0
    if rule.a_sent == "matrix":
        a_values = terms.values_a
        a_bits = value_cost_bits(a_values, terms.ranks, terms.value_bits)
    sends_part = rule.density_sent < rule.density
    return Prices(
        entries=terms.values_b,
        ranks=terms.ranks,
        value_bits=terms.value_bits,
        places=terms.places,
        masked=is_masked(rule),
        sent_most=max(1, round(rule.density_sent * terms.values_b)) if sends_part else None,
        a_bits=a_bits,
        a_values=a_values,
        # Half precision at least, however coarse B is sent: the gate compares small angles.
        told_bits=max(16, terms.value_bits) * told_values,
    )


def library_slots(rule: SoLora, task: Int64[np.ndarray, " n"]) -> int:
    """Places in a library: one per task, or as many as there can be clusters."""
    return int(max(task)) + 1 if rule.mode == "stack" else len(task)


@dataclass(frozen=True)
class Books:
    """Who knows whom, who holds what, and what has to be told: sparse experts without values.

    Attributes:
        rule: The method.
        task: Task of each device.
        rounds: Of the run; in the last one everything is published.
        prices: What things cost.
        kept: Entries of B that each device's mask keeps.
        union: Entries that are in the mask of at least one member, by row.
        library: Copies, and who knows whom.
        cluster: Of each device in the last exchange.
        spent: Bits of the round so far: own experts, library copies, first contacts.
    """

    rule: SoLora
    task: Int64[np.ndarray, " n"]
    rounds: int
    prices: Prices
    kept: Int64[np.ndarray, " n"]
    union: Callable[[Bool[np.ndarray, "n n"]], Int64[np.ndarray, " n"]]
    library: Library
    cluster: Int64[np.ndarray, " n"]
    spent: Int64[np.ndarray, " 3"]

    def partners(self, mesh: Mesh) -> Links:
        """Links over which devices average."""
        return partners(self.rule, self.task, mesh.linked, mesh.cluster)

    def sent(self, mesh: Mesh) -> Messages:
        """Own experts on their way to partners, with what introduces their senders."""
        own_bits, told_bits = self._own(mesh)
        values = np.broadcast_to(self.prices.expert_values(self.kept), own_bits.shape)
        told_values = self.prices.a_values * (self.library.met == STRANGER)
        return Messages(
            own_bits + told_bits, np.where(self.partners(mesh), values + told_values, 0)
        )

    def after(self, mesh: Mesh, heard: Links, round_index: int) -> "Books":
        """The books after that, and after what this round publishes."""
        own_bits, told_bits = self._own(mesh)
        met = self.library.met.copy()
        met[self.partners(mesh) & heard] = KNOWN
        after = replace(
            self,
            library=replace(self.library, met=met),
            cluster=mesh.cluster,
            spent=np.array([own_bits.sum(), 0, told_bits.sum()]),
        )
        due = is_published(round_index, self.rounds, self.rule.library_every)
        return after._published(round_index) if due else after

    def relayed(self, mesh: Mesh) -> Messages:
        """Copies on their way, with requests for them and what introduces their members."""
        asked = pulls(self.library, mesh.linked, self.slot)
        link = (asked.receiver, asked.sender)
        bits, values = np.zeros_like(self.library.met), np.zeros_like(self.library.met)
        np.add.at(bits, link, self._copy_bits(asked) + self._told_bits(asked))
        np.add.at(values, link, self.library.values[asked.copy])
        if self.prices.a_values:
            strange = self.library.met[asked.receiver] == STRANGER
            count = (strange & self.library.members[asked.copy]).sum(axis=1)
            np.add.at(values, link, self.prices.a_values * count)
        return Messages(bits, values)

    def after_relay(self, mesh: Mesh, heard: Links) -> "Books":
        """The books after that."""
        asked = pulls(self.library, mesh.linked, self.slot)
        cost = [0, self._copy_bits(asked).sum(), self._told_bits(asked).sum()]
        return replace(
            self, library=copied(self.library, asked, heard), spent=self.spent + np.array(cost)
        )

    @property
    def slot(self) -> Int64[np.ndarray, " n"]:
        """The library place of every device: its task's, or its cluster's where B is averaged."""
        return self.task if self.rule.mode == "stack" else self.cluster

    @property
    def members(self) -> Bool[np.ndarray, "n n"]:
        """Devices of the own cluster whose A and mask a device knows, itself included."""
        same = self.cluster[:, None] == self.cluster[None, :]
        return np.asarray(same & (self.library.met == KNOWN))

    def _published(self, round_index: int) -> "Books":
        values, members = self.kept, np.eye(len(self.kept), dtype=np.bool_)
        if self.rule.mode != "stack":
            members = self.members
            values = self.union(members)
        library = published(self.library, values, members, self.slot, round_index)
        return replace(self, library=library)

    def _own(self, mesh: Mesh) -> tuple[Int64[np.ndarray, "n n"], Int64[np.ndarray, "n n"]]:
        """Bits of own experts per link, and of what introduces their senders."""
        partners = self.partners(mesh)
        own = np.where(partners, self.prices.expert_bits(self.kept)[None, :], 0)
        return own, np.where(partners, self._introductions(), 0)

    def _introductions(self) -> Int64[np.ndarray, "n n"]:
        """Bits that introduce every source (column) to every receiver."""
        by_known = self.prices.introduction_bits(self.kept)
        return np.asarray(by_known[self.library.met, np.arange(len(self.kept))])

    def _copy_bits(self, asked: Pulls) -> Int64[np.ndarray, " m"]:
        return np.asarray(
            self.prices.copy_bits(self.library.values[asked.copy]) + asked.request_bits
        )

    def _told_bits(self, asked: Pulls) -> Int64[np.ndarray, " m"]:
        """Bits that introduce the members of each copy that its receiver does not know."""
        told = self._introductions()[asked.receiver] * self.library.members[asked.copy]
        return np.asarray(told.sum(axis=1))


def partners(rule: SoLora, own: Int64[np.ndarray, " n"], linked: Links, cluster: Cluster) -> Links:
    """Links over which devices average: in the cluster; in `stack` only where A is the same."""
    inside = linked & (cluster[:, None] == cluster[None, :])
    if rule.mode != "stack" or rule.a_init == "common":
        return np.asarray(inside)
    if rule.a_init == "device":
        return np.zeros_like(linked)
    return np.asarray(inside & (own[:, None] == own[None, :]))


def expected_union(
    kept: Int64[np.ndarray, " n"],
    entries: int,
    disjoint: bool,
    members: Bool[np.ndarray, "n n"],
) -> Int64[np.ndarray, " n"]:
    """Entries in the mask of at least one member (row by row), masks unseen.

        entries (1 - prod_j (1 - s_j)),   s_j = kept_j / entries;   sum_j kept_j if disjoint

    Masks are taken as independent (as in the paper's Eq. 19), which those of one task are not:
    a run sends less. Rounded to whole entries. Our choice.
    """
    if disjoint:
        return np.asarray(np.minimum(entries, (members * kept).sum(axis=1)))
    missed = np.where(members, 1 - kept / entries, 1.0).prod(axis=1)
    return np.asarray(np.rint(entries * (1 - missed)), dtype=np.int64)
