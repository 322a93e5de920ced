"""Sparse-and-orthogonal LoRA: static A, masked B, clusters, experts picked without a router.

Source: Yang, Wang, Huan, Chen, Quek, Yin, "Wireless Federated Multi-Task LLM Fine-Tuning via
Sparse-and-Orthogonal LoRA" (arXiv 2602.20492). Three modes (docs/model.md M9): `literal` computes
the paper's equations as printed, only made shape-correct; `repaired` divides by the senders that
hold an entry and puts a device's own mask back at inference; `stack` never averages B between
devices with different A, which is what the paper's theory needs.
We deviate where the paper is open or its equations fail: masks are taken from |B|, copies between
clusters follow our schedule (library.py), partial sending keeps what is unsent at the sender.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int, Int64
from torch import Tensor

from meshtune.engine.adapters.masks import (
    active_union_mean,
    disjoint_masks,
    largest_changes,
    plain_mean,
    top_masks,
)
from meshtune.engine.adapters.stack import Adapters, Factor, Factors, Masks
from meshtune.engine.adapters.static_a import static_a
from meshtune.engine.backbone.spectral import layer_densities
from meshtune.engine.ledger import Messages, is_published, with_new_masks
from meshtune.engine.mesh import Mesh
from meshtune.engine.methods.rules import Bank, Gate, Heard, Memory, Setup
from meshtune.engine.methods.shared import signatures  # whole, as it imports this package itself
from meshtune.engine.methods.shared.library import (
    empty_memory,
    known_fraction,
    library_of,
    remembered,
)
from meshtune.engine.methods.shared.precision import on_air
from meshtune.engine.methods.so_lora.books import Books, library_slots, prices
from meshtune.engine.methods.so_lora.config import SoLora
from meshtune.engine.methods.so_lora.costs import warm_up_steps
from meshtune.engine.methods.so_lora.masks import is_masked


@dataclass(frozen=True)
class SoLoraRules:
    """The rules. Sends q nnz(M) bits per round to those it averages with; copies come on top.

    A first contact costs A (its seed or all of it), the mask, and what the gate needs. Who knows
    whom and who holds what is kept in the books (the ledger), which a plan keeps as well.
    """

    setup: Setup
    rule: SoLora
    trained: frozenset[Factor] = frozenset({"b"})
    pooled: bool = False

    def warm_up_steps(self, round_index: int) -> int:
        return warm_up_steps(self.rule, round_index)

    def start(self) -> tuple[Adapters, Memory]:
        setup, n = self.setup, self.setup.devices
        a = static_a(self.rule.a_init, setup.seed, setup.shapes, setup.rank, setup.tasks, setup.own)
        b = {name: torch.zeros(n, d_out, setup.rank) for name, (d_out, _) in setup.shapes.items()}
        memory = empty_memory(setup, library_slots(self.rule, setup.own)) | {
            "ledger": torch.zeros(3, dtype=torch.int64),
            "cluster": torch.zeros(n, dtype=torch.int64),
        }
        if not is_masked(self.rule):
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
        memory = remembered(memory, with_new_masks(library_of(memory)))
        return memory | {f"mask.{name}": mask for name, mask in masks.items()}

    def masks(self, memory: Memory) -> Masks | None:
        return self._of(memory, "mask") or None

    def sent(self, memory: Memory, mesh: Mesh, round_index: int) -> Messages:
        return self._books(memory).sent(mesh)

    def combine(
        self, trained: Adapters, memory: Memory, mesh: Mesh, heard: Heard, round_index: int
    ) -> tuple[Adapters, Memory]:
        before = self._books(memory)
        after = before.after(mesh, heard, round_index)
        mixed, memory = self._mixed(trained, memory, before.partners(mesh) & heard)
        if is_published(round_index, self.setup.rounds, self.rule.library_every):
            expert = mixed.b if self.rule.mode == "stack" else self._of(memory, "mean")
            new = on_air(Adapters({}, expert), self.setup.value_bits).b
            return mixed, self._entered(memory, after, new)
        return mixed, self._entered(memory, after)

    def relayed(self, memory: Memory, mesh: Mesh) -> Messages:
        return self._books(memory).relayed(mesh)

    def relay(self, memory: Memory, mesh: Mesh, heard: Heard) -> Memory:
        return self._entered(memory, self._books(memory).after_relay(mesh, heard))

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

    # What the books say.

    @property
    def _sends_part(self) -> bool:
        return self.rule.density_sent < self.rule.density

    def _books(self, memory: Memory) -> Books:
        """The books as they stand in the memory, with the masks that were drawn."""
        setup = self.setup
        masks = [mask.flatten(1) for mask in self._of(memory, "mask").values()]
        # Modules that share an input share what is told of it: it is sent once.
        told = {id(v): v for kinds in setup.signatures.values() for v in kinds.values()}
        told_values = sum(value[0].numel() for value in told.values())

        def union(members: Bool[np.ndarray, "n n"]) -> Int64[np.ndarray, " n"]:
            row = torch.from_numpy(members).float()
            held = [(row @ mask.float()).count_nonzero(dim=1) for mask in masks]
            return torch.stack(held).sum(dim=0).numpy()

        return Books(
            rule=self.rule,
            task=setup.own,
            rounds=setup.rounds,
            prices=prices(self.rule, setup, told_values),
            # Asked for in every hop, and NumPy counts flags faster.
            kept=np.sum([np.count_nonzero(mask.numpy(), axis=1) for mask in masks], axis=0),
            union=union,
            library=library_of(memory),
            cluster=memory["cluster"].numpy(),
            spent=memory["ledger"].numpy(),
        )

    def _entered(self, memory: Memory, books: Books, new: Factors | None = None) -> Memory:
        """The memory after one step of the books; `new` are the experts that it published."""
        return remembered(memory, books.library, new) | {
            "ledger": torch.from_numpy(books.spent),
            "cluster": torch.from_numpy(books.cluster),
        }

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
            weights = torch.from_numpy(self.setup.weights(heard)).float()
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
        members = torch.from_numpy(self._books(memory).members)
        mean = self._of(memory, "mean")
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
        told = {
            kind: signatures.once_per_input(lambda value: value[source], parts)
            for kind, parts in self.setup.signatures.items()
        }
        a = {name: value[source] for name, value in adapters.a.items()}
        task = torch.from_numpy(self.setup.own)[source]
        return Bank(Adapters(a, b), held, task, self._gate, told)


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
