"""Hard-routing experts: full fine-tuning alone, then everybody holds one expert of every task.

Source: the baseline "Hard-routing MoE" of arXiv 2602.20492: its row in Table I equals the
single-task full fine-tuning of Table II, so nothing is averaged and the router is told the task.
How experts travel is our choice, as the paper does not say: in the last round the expert of each
task's lowest-numbered device goes once over a shortest-path tree of links to all devices of other
tasks. All hops happen in that round. Behind a link that failed nobody gets the expert; such a
device answers with its own. Embedding, norms and head stay frozen, as in full_gossip.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int

from engine.adapters import Adapters, Factor, select, stack
from engine.methods.base import Bank, Bits, Gate, Heard, Memory, PlainMethod
from engine.precision import on_air, value_cost_bits
from engine.topology import Mesh


@dataclass(frozen=True)
class OracleExperts(PlainMethod):
    """dW stays with its device, and copies of it go out in the last round.

    Sends q sum d_out d_in bits per task and link of its tree, in the last round only. Memory:
    copied (n, k), whether a device (row) got the expert of task k.
    """

    trained: frozenset[Factor] = frozenset({"b"})

    def start(self) -> tuple[Adapters, Memory]:
        n, tasks = self.setup.devices, len(self.setup.tasks)
        b = {name: torch.zeros(n, *shape) for name, shape in self.setup.shapes.items()}
        return Adapters({}, b), {"copied": torch.zeros(n, tasks, dtype=torch.bool)}

    def payload_bits(self, memory: Memory, mesh: Mesh, round_index: int) -> Bits:
        bits = np.zeros_like(mesh.linked, dtype=np.int64)
        if round_index + 1 < self.setup.rounds:
            return bits
        shapes = self.setup.shapes.values()
        values = sum(d_out * d_in for d_out, d_in in shapes)
        cost = value_cost_bits(values, sum(d_in for _, d_in in shapes), self.setup.value_bits)
        hops = {(task, hop) for _, task, path in self._paths(mesh) for hop in path}
        for _, (receiver, sender) in hops:
            bits[receiver, sender] += cost
        return bits

    def combine(
        self, trained: Adapters, memory: Memory, mesh: Mesh, heard: Heard, round_index: int
    ) -> tuple[Adapters, Memory]:
        if round_index + 1 < self.setup.rounds:
            return trained, memory
        copied = torch.zeros_like(memory["copied"])
        for device, task, path in self._paths(mesh):
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

    def _paths(self, mesh: Mesh) -> Iterator[tuple[int, int, tuple[tuple[int, int], ...]]]:
        """(device, task, hops) of every copy that a device needs and the mesh can carry.

        A hop is (receiver, sender); devices of the task itself forward copies and need none.
        """
        for task, source in enumerate(self._sources):
            parent, reached = breadth_first(mesh.linked, source)
            for device in np.flatnonzero(reached & (self.setup.own != task)).tolist():
                path, place = [], device
                while place != source:
                    path.append((place, int(parent[place])))
                    place = int(parent[place])
                yield device, task, tuple(path)


def breadth_first(
    linked: Bool[np.ndarray, "n n"], source: int
) -> tuple[Int[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
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
