"""Sparse-and-orthogonal LoRA with separate experts, in the `stack` mode of docs/model.md.

Source: Yang, Wang, Huan, Chen, Quek, Yin, "Wireless Federated Multi-Task LLM Fine-Tuning via
Sparse-and-Orthogonal LoRA" (arXiv 2602.20492): static A, masked B, exchange of experts without
averaging between groups, a gate without a router.
We deviate where the paper is open or its equations fail: A is exactly orthonormal between tasks and
shared by the devices of one task; B is averaged among devices of one task only, over the senders
that hold an entry; masks are taken from |B|; experts of other tasks are copied, every few rounds,
hop by hop, and the gate compares centred prompt means (docs/methods.md).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from engine.adapters import Adapters, Factor, Masks, select
from engine.config import TASK_NAMES
from engine.errors import ConfigMismatch
from engine.methods.base import Bank, Bits, Heard, Memory, Setup, on_air
from engine.rng import stream
from engine.sparsity import active_mean, top_masks
from engine.topology import metropolis_weights

SEED_BITS = 64  # A travels as the seed of its stream
NEVER = -1


@dataclass(frozen=True)
class Item:
    """One expert in a message: whose it is, of which round, and for which slot."""

    slot: int
    source: int
    version: int


@dataclass(frozen=True)
class SoLoraMethod:
    """The rules. Sends q nnz(M) bits per same-task link and round; copies and firsts come on top.

    A first contact costs the seed of A, the mask as a bitmap, and the prototype.
    """

    setup: Setup
    density: float
    warm_up_steps: int
    library_every: int
    gate: Literal["prototype", "oracle", "none"]
    trained: frozenset[Factor] = frozenset({"b"})

    def start(self) -> tuple[Adapters, Memory]:
        setup, n = self.setup, self.setup.devices
        a = {name: orthonormal_a(setup, name) for name in setup.shapes}
        b = {name: torch.zeros(n, d_out, setup.rank) for name, (d_out, _) in setup.shapes.items()}
        memory: Memory = {f"copy.{name}": value[:0] for name, value in b.items()}
        memory["copy_source"] = torch.zeros(0, dtype=torch.int64)
        memory["copy_round"] = torch.zeros(0, dtype=torch.int64)
        memory["held"] = torch.full((n, len(setup.tasks)), NEVER)
        memory["told"] = torch.full((n, n, len(setup.tasks)), NEVER)
        memory["met"] = torch.zeros(n, n, n, dtype=torch.bool)
        memory["ledger"] = torch.zeros(3, dtype=torch.int64)
        return Adapters(a, b), memory

    def after_warm_up(self, warmed: Adapters, memory: Memory) -> Memory:
        masks = top_masks(warmed.b, self.density)
        return {**memory, **{f"mask.{name}": mask for name, mask in masks.items()}}

    def masks(self, memory: Memory) -> Masks | None:
        masks = _part(memory, "mask.")
        return masks or None

    def payload_bits(self, memory: Memory, round_index: int) -> Bits:
        bits = np.zeros_like(self.setup.linked, dtype=np.int64)
        for receiver, sender, items in self._messages(memory, round_index):
            costs = self._costs(memory, receiver, sender, items)
            bits[receiver, sender] = sum(costs)
        return bits

    def combine(
        self, trained: Adapters, memory: Memory, heard: Heard, round_index: int
    ) -> tuple[Adapters, Memory]:
        masks = _part(memory, "mask.")
        sent = on_air(trained, self.setup.value_bits)
        weights = torch.from_numpy(metropolis_weights(heard & self._same_task())).float()
        mixed = active_mean(trained, sent, masks, weights)
        return mixed, self._received(sent, memory, heard, round_index)

    def bank(self, adapters: Adapters, memory: Memory) -> Bank:
        setup, source = self.setup, memory["copy_source"]
        everyone = torch.cat([torch.arange(setup.devices), source])
        copies = _part(memory, "copy.")
        a = select(Adapters(adapters.a, {}), everyone).a
        b = {name: torch.cat([value, copies[name]]) for name, value in adapters.b.items()}
        held = torch.where(memory["held"] == NEVER, NEVER, memory["held"] + setup.devices)
        held[torch.arange(setup.devices), torch.from_numpy(setup.own)] = torch.arange(setup.devices)
        prototypes = {name: value[everyone] for name, value in setup.prototypes.items()}
        return Bank(Adapters(a, b), held, self.gate, prototypes)

    def diagnostics(self, memory: Memory) -> dict[str, float]:
        held = memory["held"]
        own_bits, library_bits, first_contact_bits = memory["ledger"].tolist()
        slots = len(self.setup.tasks) - 1
        # Of the slots of other tasks: a device's own slot is never filled by a copy.
        known = float((held != NEVER).sum()) / (len(held) * slots) if slots else 1.0
        return {
            "library_fraction": known,
            "own_bits": own_bits,
            "library_bits": library_bits,
            "first_contact_bits": first_contact_bits,
        }

    def _same_task(self) -> Heard:
        own = self.setup.own
        return np.asarray(own[:, None] == own[None, :])

    def _library_is_due(self, round_index: int) -> bool:
        # The last round is due as well, so that a run ends with what it learned.
        done = round_index + 1
        return done % self.library_every == 0 or done == self.setup.rounds

    def _messages(
        self, memory: Memory, round_index: int
    ) -> Iterator[tuple[int, int, tuple[Item, ...]]]:
        """(receiver, sender, experts) of every message of the round; silent links are left out."""
        own, due = self.setup.own, self._library_is_due(round_index)
        held, told = memory["held"].numpy(), memory["told"].numpy()
        source, version = memory["copy_source"].numpy(), memory["copy_round"].numpy()
        for receiver, sender in zip(*np.nonzero(self.setup.linked), strict=True):
            items = []
            if due or own[receiver] == own[sender]:
                items.append(Item(int(own[sender]), int(sender), round_index))
            if due:
                news = [
                    Item(slot, int(source[copy]), int(version[copy]))
                    for slot, copy in enumerate(held[sender])
                    if copy != NEVER
                    and slot not in (own[receiver], own[sender])
                    and version[copy] > told[receiver, sender, slot]
                    and source[copy] != receiver
                ]
                items.extend(news)
            if items:
                yield int(receiver), int(sender), tuple(items)

    def _costs(
        self, memory: Memory, receiver: int, sender: int, items: tuple[Item, ...]
    ) -> tuple[int, int, int]:
        """Bits of one message: own-task expert, other tasks' experts, first contacts."""
        setup = self.setup
        entries = sum(d_out * setup.rank for d_out, _ in setup.shapes.values())
        identity = SEED_BITS + entries
        if self.gate == "prototype":
            # Modules that share an input share its mean: it is sent once.
            inputs = {id(value): value.shape[1] for value in setup.prototypes.values()}
            identity += setup.value_bits * sum(inputs.values())
        values = {True: 0, False: 0}
        first = 0
        for item in items:
            kept = sum(int(m[item.source].sum()) for m in _part(memory, "mask.").values())
            values[item.slot == int(setup.own[receiver])] += setup.value_bits * kept
            if not memory["met"][receiver, sender, item.source]:
                first += identity
        return values[True], values[False], first

    def _received(self, sent: Adapters, memory: Memory, heard: Heard, round_index: int) -> Memory:
        """Library, acquaintances and ledger after the messages that were heard."""
        told, met = memory["told"].clone(), memory["met"].clone()
        # Best known copy per device and slot: (version, -sender) decides, so ties are stable.
        best: dict[tuple[int, int], Item] = {}
        ledger = np.zeros(3, dtype=np.int64)
        for receiver, sender, items in self._messages(memory, round_index):
            ledger += self._costs(memory, receiver, sender, items)
            if not heard[receiver, sender]:
                continue
            for item in items:
                met[receiver, sender, item.source] = True
                if item.slot == int(self.setup.own[receiver]):
                    continue
                told[receiver, sender, item.slot] = item.version
                # The receiver has seen what the sender holds and need not send it back.
                back = told[sender, receiver, item.slot]
                told[sender, receiver, item.slot] = max(int(back), item.version)
                known = best.get((receiver, item.slot))
                if known is None or item.version > known.version:
                    best[receiver, item.slot] = item
        shelved = self._shelve(sent, memory, best)
        return {
            **memory,
            **shelved,
            "told": told,
            "met": met,
            "ledger": torch.from_numpy(ledger),
        }

    def _shelve(self, sent: Adapters, memory: Memory, best: dict[tuple[int, int], Item]) -> Memory:
        """The copies that are still held somewhere, old and new, each stored once."""
        old = list(zip(memory["copy_source"].tolist(), memory["copy_round"].tolist(), strict=True))
        wanted = {
            (i, k): old[copy]
            for i, row in enumerate(memory["held"].tolist())
            for k, copy in enumerate(row)
            if copy != NEVER
        }
        for place, item in best.items():
            if place not in wanted or item.version > wanted[place][1]:
                wanted[place] = (item.source, item.version)
        kept = sorted(set(wanted.values()))
        held = torch.full_like(memory["held"], NEVER)
        for (device, slot), copy in wanted.items():
            held[device, slot] = kept.index(copy)
        shelf: Memory = {
            "held": held,
            "copy_source": torch.tensor([source for source, _ in kept], dtype=torch.int64),
            "copy_round": torch.tensor([version for _, version in kept], dtype=torch.int64),
        }
        for name, copies in _part(memory, "copy.").items():
            # A copy that is not on the shelf yet is one of this round's own experts.
            rows = [
                copies[old.index(copy)] if copy in old else sent.b[name][copy[0]] for copy in kept
            ]
            shelf[f"copy.{name}"] = torch.stack(rows) if rows else copies[:0]
        return shelf


def orthonormal_a(setup: Setup, module: str) -> torch.Tensor:
    """Static A of every device for one module, (n, r, d_in), rows of length 1 (model.md M8).

    A_i A_j^T = 0 between tasks and I within: each task owns r rows of one random orthonormal
    matrix that all devices draw from the public seed. Where all tasks' rows do not fit the width,
    each task draws its own orthonormal rows, which are then only nearly orthogonal.
    Source: our exact form of arXiv 2602.20492, Eq. 16.

    Raises:
        ConfigMismatch: the rank is larger than the module's input.
    """
    _, d_in = setup.shapes[module]
    rank, slots = setup.rank, len(TASK_NAMES)
    if rank > d_in:
        raise ConfigMismatch(
            f"adapter.rank is {rank} but {module} has only {d_in} inputs; use at most {d_in}"
        )
    if slots * rank <= d_in:
        rows = _haar_rows(setup.seed, module, "shared", slots * rank, d_in)
        per_task = {name: rows[i * rank : (i + 1) * rank] for i, name in enumerate(TASK_NAMES)}
    else:
        per_task = {name: _haar_rows(setup.seed, module, name, rank, d_in) for name in setup.tasks}
    return torch.stack([per_task[setup.tasks[task]] for task in setup.own])


def _haar_rows(seed: int, module: str, name: str, rows: int, width: int) -> torch.Tensor:
    gaussian = stream(seed, "adapter", "orthonormal", module, name).normal(size=(width, rows))
    q, r = np.linalg.qr(gaussian)
    # Without the signs of R the columns would not be uniformly distributed.
    return torch.from_numpy((q * np.sign(np.diag(r))).T.copy()).float()


def _part(memory: Memory, prefix: str) -> dict[str, torch.Tensor]:
    """Tensors of the memory whose name starts with `prefix`, under the rest of their name."""
    return {k.removeprefix(prefix): v for k, v in memory.items() if k.startswith(prefix)}
