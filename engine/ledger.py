"""What goes on air, counted without training: bits and adapter values per link and hop (M11).

A run and its plan count with the same code: the method of sparse experts keeps its `Books` here,
and `accounts` predicts from the config alone what every method will send, given who heard whom.
Nothing here knows a tensor.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, Protocol, assert_never, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int64

from engine import config as c
from engine.backbone.shapes import embedded_shapes
from engine.topology.base import Links, Mesh
from engine.topology.mixing import mixing_rule

SCALE_BITS = 16  # of the scale that integers on air share per rank
SEED_BITS = 64  # A travels as the seed of its stream
OFFER_BITS = 64  # name and round of an expert, in an offer and in a request
# Prompts of a device behind its signature; more do not move the mean by what a cosine can see.
SIGNATURE_SAMPLES = 32
DIRECTIONS = 4  # of a subspace: more cost bits and describe single prompts (our choice)
LOOKED_AT = 2**20  # places of neighbours that are compared at once
NOTHING = -1
STRANGER, OLD_MASK, KNOWN = 0, 1, 2  # what a receiver knows of a source: nothing, only its A, all

PlacesCode = Literal["least", "bitmap", "numbers", "entropy"]
Shapes = Mapping[str, tuple[int, int]]
Hop = tuple[int, int]  # receiver, sender

# Modules of a block that read the same input, by the first of them.
SAME_INPUT = {"k_proj": "q_proj", "v_proj": "q_proj", "up_proj": "gate_proj"}


@dataclass(frozen=True)
class Messages:
    """What one hop puts on air. Row = receiver, column = sender; 0 is silence.

    Attributes:
        bits: All of it.
        values: Values of A and B, or of full updates, among these bits: the parameters sent, which
            is what the paper counts.
    """

    bits: Int64[np.ndarray, "n n"]
    values: Int64[np.ndarray, "n n"]


def silence(mesh: Mesh) -> Messages:
    """A hop in which nobody sends."""
    none = np.zeros_like(mesh.linked, dtype=np.int64)
    return Messages(none, none)


def on_links(mesh: Mesh, bits: int, values: int) -> Messages:
    """The same message on every link of the mesh."""
    linked = mesh.linked.astype(np.int64)
    return Messages(linked * bits, linked * values)


@runtime_checkable
class Accounts(Protocol):
    """Bits of a method, round after round, given who heard whom. Immutable; nothing trains."""

    @property
    def exact(self) -> bool:
        """Whether a run sends just these bits; else some depend on what is learned."""
        ...

    def sent(self, mesh: Mesh, round_index: int) -> Messages:
        """What each sender puts on air for each receiver in the first hop of a round."""
        ...

    def after(self, mesh: Mesh, heard: Links, round_index: int) -> "Accounts":
        """The accounts after that hop."""
        ...

    def relayed(self, mesh: Mesh) -> Messages:
        """The next hop of the same round over the links that did not fail; all 0 ends the round."""
        ...

    def after_relay(self, mesh: Mesh, heard: Links) -> "Accounts":
        """The accounts after that hop."""
        ...


# What things cost.


def value_cost_bits(values: int, ranks: int, bits: int) -> int:
    """Bits of `values` numbers on air, and of their `ranks` scales where integers need them (M11).

    `ranks` counts the scales: modules times rank, for each factor that is sent.
    """
    scales = ranks if bits < SCALE_BITS else 0
    return values * bits + SCALE_BITS * scales


def places_bits(values: int, entries: int, code: PlacesCode) -> int:
    """Bits that say which `values` of `entries` a message holds (M11c).

        bitmap    entries
        numbers   values ceil(log2 entries)
        least     the smaller of the two
        entropy   ceil(entries H2(values / entries)),   H2(p) = -p log2 p - (1 - p) log2(1 - p)

    Nothing if all entries are there, or none. An entropy code for independent entries of known
    density needs entries H2 bits in the mean; rounding up is our choice, as is the set of codes.
    Source: Shannon, "A Mathematical Theory of Communication" (1948), theorem 9.
    """
    if not 0 < values < entries:
        return 0
    numbers = values * (entries - 1).bit_length()
    match code:
        case "bitmap":
            return entries
        case "numbers":
            return numbers
        case "least":
            return min(entries, numbers)
        case "entropy":
            p = values / entries
            return math.ceil(-entries * (p * math.log2(p) + (1 - p) * math.log2(1 - p)))
        case _:
            assert_never(code)


def signature_values(gate: c.GateName, shapes: Shapes, samples: int) -> int:
    """Numbers that a gate must know of a device, each distinct layer input counted once (M10).

        prototype  sum d_in      gaussian  2 sum d_in      subspace  sum d_in (1 + p)
        others     0             p = min(4, d_in, samples)

    q, k and v of a block read one input, gate and up another. `samples`: prompts per device.
    """
    inputs = {}
    for name, (_, d_in) in shapes.items():
        block, _, module = name.rpartition(".")
        inputs[block, SAME_INPUT.get(module, module)] = d_in
    widths = inputs.values()
    match gate:
        case "prototype":
            return sum(widths)
        case "gaussian":
            return 2 * sum(widths)
        case "subspace":
            told = min(DIRECTIONS, SIGNATURE_SAMPLES, samples)
            return sum(width * (1 + min(told, width)) for width in widths)
        case _:
            return 0


def kept_entries(
    rule: c.SoLora, shapes: Shapes, rank: int, cluster: Int64[np.ndarray, " n"]
) -> Int64[np.ndarray, " n"]:
    """Entries of B that the mask of every device keeps, known before any training (M7, M7a).

        layer      sum_l max(1, round(s d_out r))          global  max(1, round(s sum_l d_out r))
        column     sum_l max(1, round(s r)) d_out
        disjoint   sum_l min(allowed_l, max(1, round(min(s, 1 / c) d_out r)))

    `allowed_l` are the entries dealt to the device's slot among the c of the largest cluster. A
    spectral density is taken as uniform: its total is the same up to the rounding of each layer
    (our choice).

    Args:
        rule: The method.
        shapes: (d_out, d_in) of the adapted modules.
        rank: Of the adapter.
        cluster: Cluster of each device when the masks are drawn.
    """
    rows = np.array([d_out for d_out, _ in shapes.values()])
    sizes, n = rows * rank, len(cluster)
    if not is_masked(rule):
        return np.full(n, sizes.sum())
    if rule.mask == "global":
        return np.full(n, max(1, round(rule.density * int(sizes.sum()))))
    if rule.mask == "column":
        return np.full(n, max(1, round(rule.density * rank)) * rows.sum())
    if rule.mask == "layer":
        return np.full(n, _rounded(rule.density, sizes).sum())
    slots = int(np.bincount(cluster).max())
    slot = np.array([(cluster[:i] == cluster[i]).sum() for i in range(n)])
    # Numbers below `size` that leave the remainder `slot` when divided by `slots`.
    allowed = np.maximum(0, sizes[None] - slot[:, None] + slots - 1) // slots
    kept = np.minimum(allowed, _rounded(min(rule.density, 1 / slots), sizes))
    return np.asarray(kept.sum(axis=1))


def is_masked(rule: c.SoLora) -> bool:
    """Whether some entries of B do not exist."""
    return rule.density < 1 or rule.mask == "disjoint"


def draws_masks(rule: c.SoLora, round_index: int) -> bool:
    """Whether masks are drawn before the exchange of this round."""
    every = rule.mask_every
    due = round_index == 0 or (every > 0 and round_index % every == 0)
    return due and is_masked(rule)


def is_published(round_index: int, rounds: int, every: int) -> bool:
    """Whether experts are published in this round; a run ends with what it learned."""
    done = round_index + 1
    return done % every == 0 or done == rounds


def _rounded(share: float, sizes: Int64[np.ndarray, " l"]) -> Int64[np.ndarray, " l"]:
    return np.maximum(1, np.rint(share * sizes)).astype(np.int64)


# The library: who holds which copy, who asks whom for one.


@dataclass(frozen=True)
class Library:
    """Which copies of experts the devices hold, and whom they know. Each copy is listed once.

    Attributes:
        held: (n, slots) which copy fills a place, or -1.
        source: Device that published each copy.
        version: Round in which it did.
        values: Values of B in it.
        members: Devices whose A and mask belong to it.
        met: What a receiver (row) knows of a source: 0 nothing, 1 its A but an old mask, 2 all.
        origin: Where each copy stood before the last step: in the list of then, followed by the n
            copies just published if there were any.
    """

    held: Int64[np.ndarray, "n k"]
    source: Int64[np.ndarray, " copies"]
    version: Int64[np.ndarray, " copies"]
    values: Int64[np.ndarray, " copies"]
    members: Bool[np.ndarray, "copies n"]
    met: Int64[np.ndarray, "n n"]
    origin: Int64[np.ndarray, " copies"]


@dataclass(frozen=True)
class Pulls:
    """Copies on their way, in the order of asking: each `receiver` asked `sender` for a `copy`.

    `slot` is the place it will fill, `offers` how many neighbours had something newer for it.
    """

    receiver: Int64[np.ndarray, " m"]
    sender: Int64[np.ndarray, " m"]
    slot: Int64[np.ndarray, " m"]
    copy: Int64[np.ndarray, " m"]
    offers: Int64[np.ndarray, " m"]

    @property
    def request_bits(self) -> Int64[np.ndarray, " m"]:
        return OFFER_BITS * (self.offers + 1)


def empty_library(devices: int, slots: int) -> Library:
    """Devices that hold nothing yet, with `slots` places each, and know only themselves."""
    none = np.zeros(0, dtype=np.int64)
    return Library(
        held=np.full((devices, slots), NOTHING, dtype=np.int64),
        source=none,
        version=none,
        values=none,
        members=np.zeros((0, devices), dtype=np.bool_),
        met=KNOWN * np.eye(devices, dtype=np.int64),
        origin=none,
    )


def published(
    library: Library,
    values: Int64[np.ndarray, " n"],
    members: Bool[np.ndarray, "n n"],
    slot: Int64[np.ndarray, " n"],
    round_index: int,
) -> Library:
    """The library after every device put its expert into its own slot, in place of the last one."""
    devices = np.arange(len(slot))
    held = library.held.copy()
    held[devices, slot] = len(library.source) + devices
    return _tidied(
        replace(
            library,
            held=held,
            source=np.concatenate([library.source, devices]),
            version=np.concatenate([library.version, np.full(len(slot), round_index)]),
            values=np.concatenate([library.values, values]),
            members=np.concatenate([library.members, members]),
            origin=np.arange(len(library.source) + len(slot)),
        )
    )


def pulls(library: Library, linked: Links, slot: Int64[np.ndarray, " n"]) -> Pulls:
    """The copies that are asked for in a hop: each from one neighbour with the newest version.

    Devices ask in their order, for one place after another. Among equals the sender with the fewest
    requests so far is asked, then the lowest-numbered. Nobody asks for its own `slot`.
    """
    newest = np.append(library.version, NOTHING)[library.held]
    receiver, sender, place = _news(newest, linked, slot)
    version = newest[sender, place]
    order = np.lexsort((sender, -version, place, receiver))
    receiver, sender, place, version = (x[order] for x in (receiver, sender, place, version))
    # Offers for one place of one receiver stand together now, the newest first.
    changes = (np.diff(receiver) != 0) | (np.diff(place) != 0)
    first = np.flatnonzero(np.append(len(receiver) > 0, changes))
    offers = np.diff(np.append(first, len(receiver)))
    equals = np.add.reduceat(version == np.repeat(version[first], offers), first, dtype=np.int64)
    receiver, place = receiver[first], place[first]
    chosen = np.array(_shared_out(sender, first, equals, len(newest)), dtype=np.int64)
    return Pulls(receiver, chosen, place, library.held[chosen, place], offers)


def _news(
    newest: Int64[np.ndarray, "n k"], linked: Links, slot: Int64[np.ndarray, " n"]
) -> tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " m"], Int64[np.ndarray, " m"]]:
    """(receiver, sender, place) wherever a neighbour holds something newer, but the own slot."""
    receiver, sender = np.nonzero(linked)
    parts = max(1, len(receiver) * newest.shape[1] // LOOKED_AT)  # bounds the memory
    found = []
    for i, j in zip(np.array_split(receiver, parts), np.array_split(sender, parts), strict=True):
        link, place = np.nonzero(newest[j] > newest[i])
        other = place != slot[i[link]]
        found.append((i[link[other]], j[link[other]], place[other]))
    receivers, senders, places = zip(*found, strict=True)
    return np.concatenate(receivers), np.concatenate(senders), np.concatenate(places)


def _shared_out(
    offering: Int64[np.ndarray, " m"],
    first: Int64[np.ndarray, " q"],
    equals: Int64[np.ndarray, " q"],
    devices: int,
) -> list[int]:
    """Whom each request goes to, of the `equals` devices in `offering` from its `first` on."""
    asked, among, chosen = [0] * devices, offering.tolist(), []
    for start, count in zip(first.tolist(), equals.tolist(), strict=True):
        sender = min(among[start : start + count], key=asked.__getitem__)
        asked[sender] += 1
        chosen.append(sender)
    return chosen


def copied(library: Library, asked: Pulls, heard: Links) -> Library:
    """The library after the copies that were asked for and heard, with whom they introduce."""
    arrived = heard[asked.receiver, asked.sender]
    receiver, copy = asked.receiver[arrived], asked.copy[arrived]
    held, met = library.held.copy(), library.met.copy()
    held[receiver, asked.slot[arrived]] = copy
    which, member = np.nonzero(library.members[copy])
    met[receiver[which], member] = KNOWN
    return _tidied(replace(library, held=held, met=met, origin=np.arange(len(library.source))))


def with_new_masks(library: Library) -> Library:
    """The library when all masks were drawn again: who knew a device still knows its A."""
    met = np.minimum(library.met, OLD_MASK)
    np.fill_diagonal(met, KNOWN)
    return replace(library, met=met)


def _tidied(library: Library) -> Library:
    """The library without the copies that nobody holds."""
    kept, place = np.unique(library.held, return_inverse=True)
    first = int(kept[0] == NOTHING)
    kept = kept[first:]
    return replace(
        library,
        held=place.reshape(library.held.shape) - first,
        source=library.source[kept],
        version=library.version[kept],
        values=library.values[kept],
        members=library.members[kept],
        origin=library.origin[kept],
    )


# Sparse experts.


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


def prices(
    rule: c.SoLora,
    shapes: Shapes,
    rank: int,
    value_bits: int,
    places: PlacesCode,
    told_values: int,
) -> Prices:
    """Prices of a method; `told_values` are the numbers that the gate needs of a device."""
    entries = sum(d_out * rank for d_out, _ in shapes.values())
    ranks, a_values = len(shapes) * rank, 0
    a_bits = SEED_BITS
    if rule.a_sent == "matrix":
        a_values = sum(rank * d_in for _, d_in in shapes.values())
        a_bits = value_cost_bits(a_values, ranks, value_bits)
    sends_part = rule.density_sent < rule.density
    return Prices(
        entries=entries,
        ranks=ranks,
        value_bits=value_bits,
        places=places,
        masked=is_masked(rule),
        sent_most=max(1, round(rule.density_sent * entries)) if sends_part else None,
        a_bits=a_bits,
        a_values=a_values,
        # Half precision at least, however coarse B is sent: the gate compares small angles.
        told_bits=max(16, value_bits) * told_values,
    )


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

    rule: c.SoLora
    task: Int64[np.ndarray, " n"]
    rounds: int
    prices: Prices
    kept: Int64[np.ndarray, " n"]
    union: Callable[[Bool[np.ndarray, "n n"]], Int64[np.ndarray, " n"]]
    library: Library
    cluster: Int64[np.ndarray, " n"]
    spent: Int64[np.ndarray, " 3"]

    def partners(self, mesh: Mesh) -> Links:
        """Links over which devices average: in the cluster; in `stack` only where A is the same."""
        if self.rule.mode != "stack" or self.rule.a_init == "common":
            return mesh.inside
        if self.rule.a_init == "device":
            return np.zeros_like(mesh.linked)
        return np.asarray(mesh.inside & (self.task[:, None] == self.task[None, :]))

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


# Accounts, by method.


class _OneHop:
    """Accounts of a method whose messages go to neighbours and no further."""

    def relayed(self, mesh: Mesh) -> Messages:
        return silence(mesh)


@dataclass(frozen=True)
class Steady(_OneHop):
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
class Introduced(_OneHop):
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
class Trees(_OneHop):
    """One expert per task over a tree of links, in the last round only."""

    bits: int
    values: int
    task: Int64[np.ndarray, " n"]
    rounds: int
    exact: bool = True

    def sent(self, mesh: Mesh, round_index: int) -> Messages:
        copies = np.zeros_like(mesh.linked, dtype=np.int64)
        if round_index + 1 == self.rounds:
            hops = {(task, hop) for _, task, path in expert_paths(mesh, self.task) for hop in path}
            for _, hop in hops:
                copies[hop] += 1
        return Messages(copies * self.bits, copies * self.values)

    def after(self, mesh: Mesh, heard: Links, round_index: int) -> "Trees":
        return self

    def after_relay(self, mesh: Mesh, heard: Links) -> "Trees":
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


# The trees of hard-routing experts.


def expert_trees(
    shapes: Shapes, value_bits: int, task: Int64[np.ndarray, " n"], rounds: int
) -> Trees:
    """Accounts of full updates that go to all in the last of `rounds`; scales go by column."""
    values = sum(d_out * d_in for d_out, d_in in shapes.values())
    columns = sum(d_in for _, d_in in shapes.values())
    return Trees(value_cost_bits(values, columns, value_bits), values, task, rounds)


def expert_paths(
    mesh: Mesh, task: Int64[np.ndarray, " n"]
) -> tuple[tuple[int, int, tuple[Hop, ...]], ...]:
    """(device, task, hops) of every copy that a device needs and the mesh can carry.

    A task's expert is that of its lowest-numbered device. A hop is (receiver, sender); devices of
    the task itself forward copies and need none.
    """
    paths = []
    for wanted in range(int(task.max()) + 1):
        source = int((task == wanted).argmax())
        parent, reached = breadth_first(mesh.linked, source)
        for device in np.flatnonzero(reached & (task != wanted)).tolist():
            hops, place = [], device
            while place != source:
                hops.append((place, int(parent[place])))
                place = int(parent[place])
            paths.append((device, wanted, tuple(hops)))
    return tuple(paths)


def breadth_first(
    linked: Bool[np.ndarray, "n n"], source: int
) -> tuple[Int64[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Parent of every device in a shortest-path tree from `source`, and who is in the tree.

    Among parents at equal distance the lowest-numbered of those that were reached first counts. The
    source and devices out of reach are their own parents.
    """
    parent = np.arange(len(linked))
    reached = parent == source
    front = [source]
    while front:
        further = []
        for sender in front:
            for receiver in np.flatnonzero(linked[:, sender] & ~reached).tolist():
                parent[receiver], reached[receiver] = sender, True
                further.append(receiver)
        front = further
    return parent, reached
