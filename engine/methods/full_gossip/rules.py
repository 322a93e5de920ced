"""Full fine-tuning on a graph: all linear layers are trained and averaged with the neighbours.

Source: the baseline "FPFT" of arXiv 2602.20492, Table I: full-parameter fine-tuning, merged; as an
algorithm it is decentralised local SGD (Koloskova et al., "A Unified Theory of Decentralized SGD",
arXiv 2003.10422).
We deviate: embedding, norms and head stay frozen, so that all methods share the frozen backbone.
"""

from dataclasses import dataclass

import torch

from meshtune.engine.adapters.stack import Adapters, Factor
from meshtune.engine.mesh import Mesh
from meshtune.engine.methods.rules import Heard, Memory, PlainMethod
from meshtune.engine.methods.shared.averaging import averaged, averaging_start


@dataclass(frozen=True)
class FullGossipRules(PlainMethod):
    """dW <- sum_j w_ij dW_j with the weights of the run (model.md M6, M27, M28).

    The adapter is a B without A, (n, d_out, d_in), which is added to the weight as it is: rank and
    alpha do not enter. Sends q sum d_out d_in bits per link and round. Memory: that of
    `averaging_start`.
    """

    trained: frozenset[Factor] = frozenset({"b"})

    def start(self) -> tuple[Adapters, Memory]:
        n = self.setup.devices
        b = {name: torch.zeros(n, *shape) for name, shape in self.setup.shapes.items()}
        start = Adapters({}, b)
        return start, averaging_start(self.setup, start)

    def combine(
        self, trained: Adapters, memory: Memory, mesh: Mesh, heard: Heard, round_index: int
    ) -> tuple[Adapters, Memory]:
        return averaged(self.setup, trained, memory, heard)
