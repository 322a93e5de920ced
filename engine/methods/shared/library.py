"""The library: copies of other groups' experts, which serve inference and never enter training.

Every few rounds, and in the last, experts are published and then copied hop by hop in the same
round: a device that sees a newer expert at a neighbour asks one neighbour for it, so nobody
receives an expert twice. The paper (arXiv 2602.20492, section IV-C) says that clusters exchange
what they store "after several inner iterations"; schedule, hops and requests are our choice.
Who holds what is counted in meshtune.engine.ledger, which knows no values; here are the values.
"""

import numpy as np
import torch
from jaxtyping import Int

from meshtune.engine.adapters.stack import Factors
from meshtune.engine.ledger import NOTHING, Library, empty_library
from meshtune.engine.methods.rules import Memory, Setup


def empty_memory(setup: Setup, slots: int) -> Memory:
    """The memory of devices that hold nothing yet, with `slots` places each.

    held (n, slots), copy_source, copy_round, copy_values (c,), copy_members (c, n) and met (n, n)
    are those of `Library`. copy.* (c, d_out, r) are the copies, stored once however many hold them.
    """
    copies = {
        f"copy.{name}": torch.zeros(0, d_out, setup.rank)
        for name, (d_out, _) in setup.shapes.items()
    }
    return remembered(copies, empty_library(setup.devices, slots))


def library_of(memory: Memory) -> Library:
    """The library that a memory holds, as views of its tensors."""
    source = memory["copy_source"].numpy()
    return Library(
        held=memory["held"].numpy(),
        source=source,
        version=memory["copy_round"].numpy(),
        values=memory["copy_values"].numpy(),
        members=memory["copy_members"].numpy(),
        met=memory["met"].numpy(),
        origin=np.arange(len(source)),
    )


def remembered(memory: Memory, library: Library, new: Factors | None = None) -> Memory:
    """The memory with a library that comes one step after its own.

    Args:
        memory: What was remembered before that step.
        library: The library after it.
        new: Experts of all devices, if the step published them.
    """
    names = [name for name in memory if name.startswith("copy.")]
    copies = {name: memory[name] for name in names}
    if new is not None:
        copies = {k: torch.cat([v, new[k.removeprefix("copy.")]]) for k, v in copies.items()}
    if not np.array_equal(library.origin, np.arange(len(copies[names[0]]))):
        kept = torch.from_numpy(library.origin)
        copies = {name: value[kept] for name, value in copies.items()}
    return {
        **memory,
        **copies,
        "held": torch.from_numpy(library.held),
        "copy_source": torch.from_numpy(library.source),
        "copy_round": torch.from_numpy(library.version),
        "copy_values": torch.from_numpy(library.values),
        "copy_members": torch.from_numpy(library.members),
        "met": torch.from_numpy(library.met),
    }


def known_fraction(memory: Memory, slot: Int[np.ndarray, " n"]) -> float:
    """Share of the places for other groups' experts that are filled, over all devices."""
    held = memory["held"] != NOTHING
    others = torch.ones_like(held)
    others[torch.arange(len(held)), torch.from_numpy(slot)] = False
    return float(held[others].float().mean()) if others.any() else 1.0
