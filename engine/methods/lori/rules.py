"""LoRI on a graph: a random frozen A per task, a masked B averaged with all neighbours.

Source: Zhang et al., "LoRI: Reducing Cross-Task Interference in Multi-Task Low-Rank Adaptation"
(arXiv 2504.07448); it is the baseline "LoRI with random topology" of arXiv 2602.20492, Table I.
Density 1 is LoRI-D. Below it is LoRI-S: a short dense training, of which the largest |B| over all
layers become the mask and the values are forgotten.
LoRI itself merges finished experts in one place. On a graph we average B over all neighbours heard,
which is our reading of Table I: as each task has its own A, the mean mixes columns of B that
belong to different projections, and little of a device's own update survives.
"""

from dataclasses import dataclass

import numpy as np
import torch

from meshtune.engine.adapters.masks import top_masks
from meshtune.engine.adapters.stack import Adapters, Factor, Masks
from meshtune.engine.adapters.static_a import static_a
from meshtune.engine.ledger import Messages, value_cost_bits
from meshtune.engine.mesh import Mesh
from meshtune.engine.methods.lori.config import Lori
from meshtune.engine.methods.lori.costs import introduction_bits, warm_up_steps
from meshtune.engine.methods.rules import Bank, Heard, Memory, NoRelay, Setup, single_bank
from meshtune.engine.methods.shared.averaging import averaged, averaging_start


@dataclass(frozen=True)
class LoriRules(NoRelay):
    """B_i <- M_i o sum_j w_ij (M_j o B_j) with the weights of the run (model.md M6, M27, M28).

    Sends q nnz(M) bits per link and round. On first contact, repeated until it is heard, the seed
    of A and, if masked, the mask as a bitmap of nB bits come on top. Memory: met (n, n), whether a
    receiver (row) knows A and mask of a sender; mask.* (n, d_out, r) below density 1; that of
    `averaging_start`. Push-sum with masks is read entry by entry like any rule: what a receiver
    does not hold is dropped there, so the total of x shrinks below density 1.
    """

    setup: Setup
    rule: Lori
    trained: frozenset[Factor] = frozenset({"b"})
    pooled: bool = False

    def warm_up_steps(self, round_index: int) -> int:
        return warm_up_steps(self.rule, round_index)

    def start(self) -> tuple[Adapters, Memory]:
        setup, n = self.setup, self.setup.devices
        a = static_a(self.rule.a_init, setup.seed, setup.shapes, setup.rank, setup.tasks, setup.own)
        b = {name: torch.zeros(n, d_out, setup.rank) for name, (d_out, _) in setup.shapes.items()}
        memory = {"met": torch.eye(n, dtype=torch.bool)}
        return Adapters(a, b), memory | averaging_start(setup, Adapters({}, b))

    def after_warm_up(
        self, warmed: Adapters, memory: Memory, mesh: Mesh, round_index: int
    ) -> Memory:
        masks = top_masks(warmed.b, self.rule.density, "global")
        return {**memory, **{f"mask.{name}": mask for name, mask in masks.items()}}

    def masks(self, memory: Memory) -> Masks | None:
        # In network order, which a checkpoint does not keep.
        names = [name for name in self.setup.shapes if f"mask.{name}" in memory]
        found = {name: memory[f"mask.{name}"] for name in names}
        return found or None

    def sent(self, memory: Memory, mesh: Mesh, round_index: int) -> Messages:
        setup, masks = self.setup, self.masks(memory)
        values = [setup.values_b] * setup.devices
        if masks is not None:
            counts = torch.stack([mask.flatten(1).sum(dim=1) for mask in masks.values()])
            values = counts.sum(dim=0).tolist()
        bits = [value_cost_bits(kept, setup.ranks, setup.value_bits) for kept in values]
        own = np.array(bits) + setup.mixing.message_bits
        identity = introduction_bits(self.rule, setup, values[0])
        first = np.where(memory["met"].numpy(), 0, identity)
        kept = np.where(mesh.linked, np.array(values)[None, :], 0)
        return Messages(np.where(mesh.linked, own[None, :] + first, 0), kept)

    def combine(
        self, trained: Adapters, memory: Memory, mesh: Mesh, heard: Heard, round_index: int
    ) -> tuple[Adapters, Memory]:
        masks = self.masks(memory)
        mixed, memory = averaged(self.setup, Adapters({}, trained.b), memory, heard, masks)
        met = memory["met"] | torch.from_numpy(heard)
        return Adapters(trained.a, mixed.b), {**memory, "met": met}

    def bank(self, adapters: Adapters, memory: Memory) -> Bank:
        return single_bank(adapters, self.setup)

    def diagnostics(self, memory: Memory) -> dict[str, float]:
        return {}
