"""The library: who holds which copy, and who asks whom for one (docs/model.md, library)."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int64

from meshtune.engine.mesh import Links

OFFER_BITS = 64  # name and round of an expert, in an offer and in a request
LOOKED_AT = 2**20  # places of neighbours that are compared at once
NOTHING = -1
STRANGER, OLD_MASK, KNOWN = 0, 1, 2  # what a receiver knows of a source: nothing, only its A, all


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


def is_published(round_index: int, rounds: int, every: int) -> bool:
    """Whether experts are published in this round; a run ends with what it learned."""
    done = round_index + 1
    return done % every == 0 or done == rounds
