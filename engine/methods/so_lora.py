"""Sparse-and-orthogonal LoRA: static A, masked B, clusters, experts picked without a router.

Source: Yang, Wang, Huan, Chen, Quek, Yin, "Wireless Federated Multi-Task LLM Fine-Tuning via
Sparse-and-Orthogonal LoRA" (arXiv 2602.20492). Three modes (docs/model.md M9): `literal` computes
the paper's equations as printed, only made shape-correct; `repaired` divides by the senders that
hold an entry and puts a device's own mask back at inference; `stack` never averages B between
devices with different A, which is what the paper's theory needs.
We deviate where the paper is open or its equations fail: masks are taken from |B|, copies between
clusters follow our schedule (library.py), partial sending keeps what is unsent at the sender.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from engine import config as c
from engine.adapters import Adapters, Factor, Factors, Masks
from engine.methods.base import Bank, Bits, Gate, Heard, Memory, Setup
from engine.methods.library import (
    Pull,
    copied,
    empty_library,
    is_published,
    known_fraction,
    published,
    pulls,
    strangers,
)
from engine.precision import on_air, value_cost_bits
from engine.signatures import once_per_input
from engine.sparsity import (
    active_union_mean,
    disjoint_masks,
    largest_changes,
    plain_mean,
    top_masks,
)
from engine.spectral import layer_densities
from engine.static_a import SEED_BITS, static_a
from engine.topology import Mesh, metropolis_weights


@dataclass(frozen=True)
class SoLoraMethod:
    """The rules. Sends q nnz(M) bits per round to those it averages with; copies come on top.

    A first contact costs A (its seed or all of it), the mask as a bitmap, and what the gate needs.
    """

    setup: Setup
    rule: c.SoLora
    trained: frozenset[Factor] = frozenset({"b"})
    pooled: bool = False

    def warm_up_steps(self, round_index: int) -> int:
        every = self.rule.mask_every
        due = round_index == 0 or (every > 0 and round_index % every == 0)
        return self.rule.mask_warmup_steps if due and self._is_masked else 0

    def start(self) -> tuple[Adapters, Memory]:
        setup, n = self.setup, self.setup.devices
        a = static_a(self.rule.a_init, setup.seed, setup.shapes, setup.rank, setup.tasks, setup.own)
        b = {name: torch.zeros(n, d_out, setup.rank) for name, (d_out, _) in setup.shapes.items()}
        slots = len(setup.tasks) if self.rule.mode == "stack" else n
        memory = empty_library(setup, slots) | {
            "ledger": torch.zeros(3, dtype=torch.int64),
            "cluster": torch.zeros(n, dtype=torch.int64),
        }
        if not self._is_masked:
            memory |= {f"mask.{k}": torch.ones_like(v, dtype=torch.bool) for k, v in b.items()}
        if self.rule.mode != "stack":
            memory |= {f"mean.{k}": v for k, v in b.items()}
        if self._sends_part:
            memory |= {f"sent.{k}": v for k, v in b.items()}
        return Adapters(a, b), memory

    def after_warm_up(
        self, warmed: Adapters, memory: Memory, mesh: Mesh, round_index: int
    ) -> Memory:
        rule, setup = self.rule, self.setup
        if rule.mask == "disjoint":
            cluster = mesh.cluster
            place = np.array([(cluster[:i] == cluster[i]).sum() for i in range(setup.devices)])
            most = int(np.bincount(cluster).max())
            masks = disjoint_masks(warmed.b, rule.density, place, most)
        elif rule.density_by == "spectral":
            share = layer_densities(setup.entropies, setup.shapes, setup.rank, rule.density)
            masks = top_masks(warmed.b, share, rule.mask)
        else:
            masks = top_masks(warmed.b, rule.density, rule.mask)
        # Whoever knew the old mask of a device still knows its A.
        met = memory["met"].clamp(max=1).fill_diagonal_(2)
        return {**memory, "met": met, **{f"mask.{name}": mask for name, mask in masks.items()}}

    def masks(self, memory: Memory) -> Masks | None:
        return self._of(memory, "mask") or None

    def payload_bits(self, memory: Memory, mesh: Mesh, round_index: int) -> Bits:
        bits = np.zeros_like(mesh.linked, dtype=np.int64)
        for receiver, sender, costs in self._own_messages(memory, mesh):
            bits[receiver, sender] = sum(costs)
        return bits

    def combine(
        self, trained: Adapters, memory: Memory, mesh: Mesh, heard: Heard, round_index: int
    ) -> tuple[Adapters, Memory]:
        partners = self._partners(mesh) & heard
        costs = [cost for _, _, cost in self._own_messages(memory, mesh)]
        met = memory["met"].clone()
        met[torch.from_numpy(partners)] = 2
        memory = memory | {
            "met": met,
            "ledger": _total(costs),
            "cluster": torch.from_numpy(mesh.cluster),
        }
        mixed, memory = self._mixed(trained, memory, partners)
        if is_published(round_index, self.setup.rounds, self.rule.library_every):
            b, values, members = self._expert(mixed, memory)
            memory = published(memory, b, values, members, self._slot(mesh), round_index)
        return mixed, memory

    def relay_bits(self, memory: Memory, mesh: Mesh) -> Bits:
        bits = np.zeros_like(mesh.linked, dtype=np.int64)
        for pull in pulls(memory, mesh, self._slot(mesh)):
            bits[pull.receiver, pull.sender] += sum(self._copy_costs(memory, pull))
        return bits

    def relay(self, memory: Memory, mesh: Mesh, heard: Heard) -> Memory:
        asked = pulls(memory, mesh, self._slot(mesh))
        costs = [self._copy_costs(memory, pull) for pull in asked]
        met = memory["met"].clone()
        for pull in asked:
            if heard[pull.receiver, pull.sender]:
                met[pull.receiver, memory["copy_members"][pull.copy]] = 2
        ledger = memory["ledger"] + _total(costs)
        return copied(memory, asked, heard) | {"met": met, "ledger": ledger}

    def bank(self, adapters: Adapters, memory: Memory) -> Bank:
        stacked = self.rule.mode == "stack"
        return self._stacked(adapters, memory) if stacked else self._clustered(adapters, memory)

    def diagnostics(self, memory: Memory) -> dict[str, float]:
        own_bits, library_bits, first_contact_bits = memory["ledger"].tolist()
        if self.rule.mode == "stack":
            known = known_fraction(memory, self.setup.own)
        else:
            cluster, held = memory["cluster"], memory["held"]
            present = cluster.unique()
            others = present[None, :] != cluster[:, None]
            known = float((held[:, present] >= 0)[others].float().mean()) if others.any() else 1.0
        return {
            "library_fraction": known,
            "own_bits": own_bits,
            "library_bits": library_bits,
            "first_contact_bits": first_contact_bits,
        }

    def _of(self, memory: Memory, kind: str) -> dict[str, Tensor]:
        """The tensors of one kind by module, in network order; {} if there are none."""
        names = {name: f"{kind}.{name}" for name in self.setup.shapes}
        return {name: memory[key] for name, key in names.items() if key in memory}

    # Who talks to whom, and what it costs.

    @property
    def _is_masked(self) -> bool:
        return self.rule.density < 1 or self.rule.mask == "disjoint"

    @property
    def _sends_part(self) -> bool:
        return self.rule.density_sent < self.rule.density

    def _slot(self, mesh: Mesh) -> Int[np.ndarray, " n"]:
        """The library place of every device: its task's, or its cluster's where B is averaged."""
        return self.setup.own if self.rule.mode == "stack" else mesh.cluster

    def _partners(self, mesh: Mesh) -> Heard:
        """Links over which devices average: in the cluster; in `stack` only where A is the same."""
        if self.rule.mode != "stack" or self.rule.a_init == "common":
            return mesh.inside
        own = self.setup.own
        if self.rule.a_init == "device":
            return np.zeros_like(mesh.linked)
        same_task = own[:, None] == own[None, :]
        return np.asarray(mesh.inside & same_task)

    def _own_messages(
        self, memory: Memory, mesh: Mesh
    ) -> Iterator[tuple[int, int, tuple[int, int, int]]]:
        """(receiver, sender, bits) of every own expert on its way to a partner.

        Bits are those of own experts, of library copies, and of first contacts.
        """
        own_bits = self._own_bits(memory)
        for receiver, sender in np.argwhere(self._partners(mesh)).tolist():
            first = self._identity_bits(int(memory["met"][receiver, sender]))
            yield receiver, sender, (own_bits[sender], 0, first)

    def _copy_costs(self, memory: Memory, pull: Pull) -> tuple[int, int, int]:
        """Bits of a library copy on its way, in the same three parts."""
        values = int(memory["copy_values"][pull.copy])
        cost = value_cost_bits(values, self._ranks, self.setup.value_bits)
        first = sum(self._identity_bits(known) for _, known in strangers(memory, pull))
        return 0, cost + pull.request_bits, first

    @property
    def _ranks(self) -> int:
        return len(self.setup.shapes) * self.setup.rank

    @property
    def _entries(self) -> int:
        return sum(d_out * self.setup.rank for d_out, _ in self.setup.shapes.values())

    def _own_bits(self, memory: Memory) -> list[int]:
        """Bits of every device's own expert in a round: its kept values, or those it sends now."""
        kept = sum(mask.flatten(1).sum(dim=1) for mask in self._of(memory, "mask").values())
        costs = []
        for held in torch.as_tensor(kept).tolist():
            values, places = int(held), 0
            if self._sends_part:
                values = min(values, round(self.rule.density_sent * self._entries))
                # Which of the kept entries: a bitmap over them, or their numbers if that is less.
                places = min(int(held), values * max(1, int(held) - 1).bit_length())
            costs.append(value_cost_bits(values, self._ranks, self.setup.value_bits) + places)
        return costs

    def _identity_bits(self, known: int) -> int:
        """Bits that introduce a device to somebody who knows this much of it (see `met`)."""
        setup = self.setup
        bitmap = self._entries if self._is_masked else 0
        if known == 2:
            return 0
        if known == 1:
            return bitmap
        a_bits = SEED_BITS
        if self.rule.a_sent == "matrix":
            a_values = sum(setup.rank * d_in for _, d_in in setup.shapes.values())
            a_bits = value_cost_bits(a_values, self._ranks, setup.value_bits)
        # Modules that share an input share what is told of it: it is sent once.
        told = {id(v): v for kinds in setup.signatures.values() for v in kinds.values()}
        # Its values keep half precision however coarse B is sent: the gate compares small angles.
        told_bits = max(16, setup.value_bits) * sum(v[0].numel() for v in told.values())
        return a_bits + bitmap + told_bits

    # What a device makes of what it heard.

    def _mixed(self, trained: Adapters, memory: Memory, heard: Heard) -> tuple[Adapters, Memory]:
        """Adapters after averaging with the partners that were heard, and what to remember."""
        masks = self._of(memory, "mask")
        sent_masks = masks
        sent = on_air(Adapters({}, trained.b), self.setup.value_bits)
        if self._sends_part:
            before = self._of(memory, "sent")
            sent_masks = largest_changes(trained.b, before, masks, self.rule.density_sent)
            now = {k: torch.where(sent_masks[k], v, before[k]) for k, v in trained.b.items()}
            memory = memory | {f"sent.{name}": value for name, value in now.items()}
        if self.rule.mode == "stack":
            weights = torch.from_numpy(metropolis_weights(heard)).float()
            mean = active_union_mean(trained, sent, masks, weights, sent_masks)
        else:
            # The device counts itself among the senders, rounded like them: one mean per cluster
            # (unless it sends a part only: what waits is still there for itself).
            weights = torch.from_numpy(heard | np.eye(len(heard), dtype=bool)).float()
            weights /= weights.sum(dim=1, keepdim=True)
            average = plain_mean if self.rule.mode == "literal" else active_union_mean
            mean = average(sent, sent, masks, weights, sent_masks)
            memory = memory | {f"mean.{name}": value for name, value in mean.items()}
        kept = {name: value * masks[name] for name, value in mean.items()}
        return Adapters(trained.a, kept), memory

    def _members(self, memory: Memory) -> Bool[Tensor, "n n"]:
        """Devices of the own cluster whose A and mask a device knows, itself included."""
        same = memory["cluster"][:, None] == memory["cluster"][None, :]
        return same & (memory["met"] == 2)

    def _expert(
        self, mixed: Adapters, memory: Memory
    ) -> tuple[Factors, Int[Tensor, " n"], Bool[Tensor, "n n"]]:
        """What every device publishes: B as on air, how many values, and whose A belong to it."""
        masks = self._of(memory, "mask")
        if self.rule.mode == "stack":
            b, members = mixed.b, torch.eye(self.setup.devices, dtype=torch.bool)
        else:
            b, members = self._of(memory, "mean"), self._members(memory)
        union = {
            name: (members.float() @ mask.flatten(1).float()).gt(0) for name, mask in masks.items()
        }
        values = torch.stack([held.sum(dim=1) for held in union.values()]).sum(dim=0)
        return on_air(Adapters({}, b), self.setup.value_bits).b, values, members

    # What answers.

    @property
    def _gate(self) -> Gate:
        rule = self.rule
        return Gate(
            rule.gate, rule.gate_level, rule.gate_blend, rule.top_ranks, rule.top_ranks_over
        )

    def _stacked(self, adapters: Adapters, memory: Memory) -> Bank:
        """Each device's own expert first, then its copies in the order of the tasks."""
        n = self.setup.devices
        copies = torch.where(memory["held"] >= 0, memory["held"] + n, -1)
        copies[torch.arange(n), torch.from_numpy(self.setup.own)] = -1
        held = torch.cat([torch.arange(n)[:, None], copies], dim=1)
        # Of the copies only those that somebody else holds can answer.
        used, place = held.unique(return_inverse=True)
        first = int(used[0] < 0)
        used = used[first:]
        b = {k: torch.cat([v, memory[f"copy.{k}"]])[used] for k, v in adapters.b.items()}
        source = torch.cat([torch.arange(n), memory["copy_source"]])[used]
        return self._bank(adapters, b, source, place.view_as(held) - first)

    def _clustered(self, adapters: Adapters, memory: Memory) -> Bank:
        """Experts (mean B of a cluster, A of a member): the own cluster's, and those copied."""
        n = self.setup.devices
        members, mean = self._members(memory), self._of(memory, "mean")
        slot = memory["cluster"]
        original = _first_equal(mean, slot)
        known: dict[tuple[int, int], int] = {}  # (row of B, member) -> expert
        rows: list[list[int]] = []
        for i in range(n):
            mates = [j for j in members[i].nonzero().flatten().tolist() if j != i]
            pairs = [(original[i], j) for j in (i, *mates)]
            for place, copy in enumerate(memory["held"][i].tolist()):
                if copy >= 0 and place != int(slot[i]):
                    sources = memory["copy_members"][copy].nonzero().flatten().tolist()
                    pairs += [(n + copy, j) for j in sources]
            rows.append([known.setdefault(pair, len(known)) for pair in pairs])
        row, member = torch.tensor(list(known)).unbind(dim=1)
        b = {k: torch.cat([mean[k], memory[f"copy.{k}"]])[row] for k in mean}
        if self.rule.mode == "repaired":
            masks = self._of(memory, "mask")
            b = {name: value * masks[name][member] for name, value in b.items()}
        held = torch.full((n, max(map(len, rows))), -1)
        for i, experts in enumerate(rows):
            held[i, : len(experts)] = torch.tensor(experts)
        return self._bank(adapters, b, member, held)

    def _bank(
        self, adapters: Adapters, b: Factors, source: Int[Tensor, " _"], held: Int[Tensor, "_ k"]
    ) -> Bank:
        signatures = {
            kind: once_per_input(lambda told: told[source], parts)
            for kind, parts in self.setup.signatures.items()
        }
        a = {name: value[source] for name, value in adapters.a.items()}
        task = torch.from_numpy(self.setup.own)[source]
        return Bank(Adapters(a, b), held, task, self._gate, signatures)


def _total(costs: Sequence[tuple[int, int, int]]) -> Int[Tensor, "3"]:
    return torch.tensor(costs, dtype=torch.int64).view(-1, 3).sum(dim=0)


def _first_equal(mean: Factors, cluster: Int[Tensor, " n"]) -> list[int]:
    """For every device the lowest-numbered one of its cluster with the same mean, to the bit."""
    first: list[int] = []
    for i in range(len(cluster)):
        same = (
            j
            for j in range(i)
            if first[j] == j
            and cluster[j] == cluster[i]
            and all(torch.equal(value[i], value[j]) for value in mean.values())
        )
        first.append(next(same, i))
    return first
