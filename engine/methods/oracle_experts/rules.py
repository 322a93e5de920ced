"""Hard-routing experts: full fine-tuning alone, then everybody holds one expert of every task.

Source: the baseline "Hard-routing MoE" of arXiv 2602.20492: its row in Table I equals the
single-task full fine-tuning of Table II, so nothing is averaged and the router is told the task.
How experts travel is our choice, as the paper does not say: in the last round the expert of each
task's lowest-numbered device goes once over a shortest-path tree of links to all devices of other
tasks. All hops happen in that round. Behind a link that failed nobody gets the expert; such a
device answers with its own. Embedding, norms and head stay frozen, as in full_gossip.
"""

from dataclasses import dataclass

import torch

from meshtune.engine.adapters.stack import Adapters, Factor, select, stack
from meshtune.engine.mesh import Mesh
from meshtune.engine.methods.oracle_experts.trees import expert_paths
from meshtune.engine.methods.rules import Bank, Gate, Heard, Memory, PlainMethod
from meshtune.engine.methods.shared.precision import on_air


@dataclass(frozen=True)
class OracleExpertsRules(PlainMethod):
    """dW stays with its device, and copies of it go out in the last round.

    Sends q sum d_out d_in bits per task and link of its tree, in the last round only. Memory:
    copied (n, k), whether a device (row) got the expert of task k.
    """

    trained: frozenset[Factor] = frozenset({"b"})

    def start(self) -> tuple[Adapters, Memory]:
        n, tasks = self.setup.devices, len(self.setup.tasks)
        b = {name: torch.zeros(n, *shape) for name, shape in self.setup.shapes.items()}
        return Adapters({}, b), {"copied": torch.zeros(n, tasks, dtype=torch.bool)}

    def combine(
        self, trained: Adapters, memory: Memory, mesh: Mesh, heard: Heard, round_index: int
    ) -> tuple[Adapters, Memory]:
        if round_index + 1 < self.setup.rounds:
            return trained, memory
        copied = torch.zeros_like(memory["copied"])
        for device, task, path in expert_paths(mesh, self.setup.own):
            copied[device, task] = all(heard[hop] for hop in path)
        return trained, {**memory, "copied": copied}

    def bank(self, adapters: Adapters, memory: Memory) -> Bank:
        n, tasks = memory["copied"].shape
        own, everyone = torch.from_numpy(self.setup.own), torch.arange(n)[:, None]
        if not memory["copied"].any():
            return Bank(adapters, everyone, own, Gate("oracle"), {})
        copies = on_air(select(adapters, self._sources), self.setup.value_bits)
        experts, task = stack([adapters, copies]), torch.cat([own, torch.arange(tasks)])
        # The own expert comes first: it answers where the right one is missing.
        held = torch.where(memory["copied"], n + torch.arange(tasks), -1)
        held = torch.cat([everyone, held], dim=1)
        return Bank(experts, held, task, Gate("oracle"), {})

    def diagnostics(self, memory: Memory) -> dict[str, float]:
        n, tasks = memory["copied"].shape
        others = n * (tasks - 1)
        known = float(memory["copied"].sum()) / others if others else 1.0
        return {"library_fraction": known}

    @property
    def _sources(self) -> list[int]:
        """The lowest-numbered device of every task."""
        own = self.setup.own
        return [int((own == task).argmax()) for task in range(len(self.setup.tasks))]
