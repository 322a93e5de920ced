"""The hooks of the method, which load torch."""

from dataclasses import dataclass

from meshtune.engine.adapters.stack import Adapters
from meshtune.engine.mesh import Mesh
from meshtune.engine.methods.rules import Heard, Memory, PlainMethod
from meshtune.engine.methods.shared.averaging import averaged


@dataclass(frozen=True)
class SeldomRules(PlainMethod):
    """A <- sum_j w_ij A_j and B <- sum_j w_ij B_j in the rounds in which somebody sends."""

    def combine(
        self, trained: Adapters, memory: Memory, mesh: Mesh, heard: Heard, round_index: int
    ) -> tuple[Adapters, Memory]:
        return averaged(self.setup, trained, memory, heard)
