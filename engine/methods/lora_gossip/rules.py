"""Plain LoRA on a graph: both factors are averaged with the neighbours that were heard.

Source: Dec-LoRA, "Decentralized low-rank fine-tuning of large language models" (arXiv 2501.15361);
it is the baseline "LoRA with random topology" of arXiv 2602.20492, Table I.
We deviate in one point: the default weights count a link only in rounds in which both directions
worked, so that the mixing matrix stays doubly stochastic under loss.
"""

from dataclasses import dataclass

from meshtune.engine.adapters.stack import Adapters
from meshtune.engine.mesh import Mesh
from meshtune.engine.methods.rules import Heard, Memory, PlainMethod
from meshtune.engine.methods.shared.averaging import averaged, averaging_start


@dataclass(frozen=True)
class LoraGossipRules(PlainMethod):
    """A <- sum_j w_ij A_j and B <- sum_j w_ij B_j with the weights of the run (M6, M27, M28).

    Sends q (nA + nB) bits per link and round. Memory: that of `averaging_start`.
    """

    def start(self) -> tuple[Adapters, Memory]:
        start, _ = super().start()
        return start, averaging_start(self.setup, start)

    def combine(
        self, trained: Adapters, memory: Memory, mesh: Mesh, heard: Heard, round_index: int
    ) -> tuple[Adapters, Memory]:
        return averaged(self.setup, trained, memory, heard)
