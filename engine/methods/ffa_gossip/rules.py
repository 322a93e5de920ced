"""Frozen-A LoRA on a graph: one A for all that is never trained, B averaged with the neighbours.

Source: Sun et al., FFA-LoRA, "Improving LoRA in privacy-preserving federated learning"
(arXiv 2403.12313). With a common A the mean of the products B A is the product of the mean of B
with A, so averaging makes no error; the price is that A never adapts.
We deviate: the server is replaced by gossip with the weights of the run over the links that
worked, and A has Gaussian entries of variance 1 / d_in (docs/model.md M8).
"""

from dataclasses import dataclass

import torch

from meshtune.engine.adapters.stack import Adapters, Factor
from meshtune.engine.adapters.static_a import static_a
from meshtune.engine.mesh import Mesh
from meshtune.engine.methods.rules import Heard, Memory, PlainMethod
from meshtune.engine.methods.shared.averaging import averaged, averaging_start


@dataclass(frozen=True)
class FfaGossipRules(PlainMethod):
    """B <- sum_j w_ij B_j with the weights of the run (M6, M27, M28); A is public and static.

    Sends q nB bits per link and round: A is drawn from the seed of the run, which all know.
    Memory: that of `averaging_start`, of B.
    """

    trained: frozenset[Factor] = frozenset({"b"})

    def start(self) -> tuple[Adapters, Memory]:
        setup, n = self.setup, self.setup.devices
        a = static_a("common", setup.seed, setup.shapes, setup.rank, setup.tasks, setup.own)
        b = {name: torch.zeros(n, d_out, setup.rank) for name, (d_out, _) in setup.shapes.items()}
        return Adapters(a, b), averaging_start(setup, Adapters({}, b))

    def combine(
        self, trained: Adapters, memory: Memory, mesh: Mesh, heard: Heard, round_index: int
    ) -> tuple[Adapters, Memory]:
        mixed, memory = averaged(self.setup, Adapters({}, trained.b), memory, heard)
        return Adapters(trained.a, mixed.b), memory
