"""The library: copies of other groups' experts, which serve inference and never enter training.

Every few rounds, and in the last, experts are published and then copied hop by hop in the same
round: a device that sees a newer expert at a neighbour asks one neighbour for it, so nobody
receives an expert twice. The paper (arXiv 2602.20492, section IV-C) says that clusters exchange
what they store "after several inner iterations"; schedule, hops and requests are our choice.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from engine.adapters import Factors
from engine.methods.base import Heard, Memory, Setup
from engine.topology import Mesh

NOTHING = -1
OFFER_BITS = 64  # name and round of an expert, in an offer and in a request


@dataclass(frozen=True)
class Pull:
    """One copy on its way: `receiver` asked `sender`, one of `offers` neighbours that have it."""

    receiver: int
    sender: int
    slot: int
    copy: int
    offers: int

    @property
    def request_bits(self) -> int:
        return OFFER_BITS * (self.offers + 1)


def empty_library(setup: Setup, slots: int) -> Memory:
    """The memory of devices that hold nothing yet, with `slots` places each.

    held (n, slots): which copy fills a place, or -1. The copies themselves are stored once, however
    many devices hold them: copy_source, copy_round (c,), copy_values (c,) values to send, and
    copy_members (c, n) devices whose A belongs to it. met (n, n): what a receiver (row) knows of a
    source: 0 nothing, 1 its A but an old mask, 2 all.
    """
    n = setup.devices
    memory: Memory = {
        f"copy.{name}": torch.zeros(0, d_out, setup.rank)
        for name, (d_out, _) in setup.shapes.items()
    }
    return memory | {
        "copy_source": torch.zeros(0, dtype=torch.int64),
        "copy_round": torch.zeros(0, dtype=torch.int64),
        "copy_values": torch.zeros(0, dtype=torch.int64),
        "copy_members": torch.zeros(0, n, dtype=torch.bool),
        "held": torch.full((n, slots), NOTHING),
        "met": torch.eye(n, dtype=torch.int64) * 2,
    }


def is_published(round_index: int, rounds: int, every: int) -> bool:
    """Whether experts are published in this round; a run ends with what it learned."""
    done = round_index + 1
    return done % every == 0 or done == rounds


def published(
    memory: Memory,
    b: Factors,
    values: Int[Tensor, " n"],
    members: Bool[Tensor, "n n"],
    slot: Int[np.ndarray, " n"],
    round_index: int,
) -> Memory:
    """The memory after every device put its expert into its own slot, in place of the last one."""
    n = len(slot)
    first_new = len(memory["copy_source"])
    held = memory["held"].clone()
    held[torch.arange(n), torch.from_numpy(slot)] = first_new + torch.arange(n)
    grown = {
        **memory,
        "held": held,
        "copy_source": torch.cat([memory["copy_source"], torch.arange(n)]),
        "copy_round": torch.cat([memory["copy_round"], torch.full((n,), round_index)]),
        "copy_values": torch.cat([memory["copy_values"], values]),
        "copy_members": torch.cat([memory["copy_members"], members]),
    }
    grown |= {f"copy.{name}": torch.cat([memory[f"copy.{name}"], b[name]]) for name in b}
    return _tidied(grown)


def pulls(memory: Memory, mesh: Mesh, slot: Int[np.ndarray, " n"]) -> tuple[Pull, ...]:
    """The copies that are asked for in a round: each from one neighbour with the newest version.

    Among equals the sender with the fewest requests so far is asked, then the lowest-numbered.
    """
    held, version = memory["held"].numpy(), memory["copy_round"].numpy()
    newest = np.where(held == NOTHING, NOTHING, np.append(version, NOTHING)[held])
    asked = np.zeros(len(held), dtype=np.int64)
    found = []
    for receiver, neighbours in enumerate(mesh.linked):
        near = np.flatnonzero(neighbours)
        for place in range(held.shape[1]):
            offers = near[newest[near, place] > newest[receiver, place]]
            if place == slot[receiver] or len(offers) == 0:
                continue
            best = offers[newest[offers, place] == newest[offers, place].max()]
            sender = int(best[asked[best].argmin()])
            asked[sender] += 1
            copy = int(held[sender, place])
            found.append(Pull(receiver, sender, place, copy, len(offers)))
    return tuple(found)


def copied(memory: Memory, asked: tuple[Pull, ...], heard: Heard) -> Memory:
    """The memory after the copies that were asked for and heard."""
    held = memory["held"].clone()
    for pull in asked:
        if heard[pull.receiver, pull.sender]:
            held[pull.receiver, pull.slot] = pull.copy
    return _tidied({**memory, "held": held})


def strangers(memory: Memory, pull: Pull) -> Iterator[tuple[int, int]]:
    """(source, what is known of it) of the members of a copy that the receiver must hear about."""
    known = memory["met"][pull.receiver]
    for source in memory["copy_members"][pull.copy].nonzero().flatten().tolist():
        if known[source] < 2:
            yield source, int(known[source])


def known_fraction(memory: Memory, slot: Int[np.ndarray, " n"]) -> float:
    """Share of the places for other groups' experts that are filled, over all devices."""
    held = memory["held"] != NOTHING
    others = torch.ones_like(held)
    others[torch.arange(len(held)), torch.from_numpy(slot)] = False
    return float(held[others].float().mean()) if others.any() else 1.0


def _tidied(memory: Memory) -> Memory:
    """The memory without the copies that nobody holds."""
    held = memory["held"]
    kept, place = held.unique(return_inverse=True)
    first = int(kept[0] == NOTHING)
    kept = kept[first:]
    smaller = {key: value[kept] for key, value in memory.items() if key.startswith("copy")}
    return {**memory, **smaller, "held": place.view_as(held) - first}
