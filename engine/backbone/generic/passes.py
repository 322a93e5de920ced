"""What passes through an opened model bring: adapters, gated experts, an ear for the inputs."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshtune.engine.adapters.stack import Adapters, Factors
from meshtune.engine.backbone.base import Gates, TopRanks
from meshtune.engine.backbone.experts import gated
from meshtune.engine.backbone.generic.linear import FullUpdate, LowRank, OpenLinear


@dataclass(frozen=True)
class Adapted:
    """One adapter per device; a module with a B but no A is updated in full (`Adapters`).

    `rows` are the tokens whose logits are wanted, as many of each device: late layers compute
    nothing for the others. None if they are too many for that to pay.
    """

    a: Factors
    b: Factors
    scaling: float
    rows: Int[Tensor, "n s"] | None = None

    def __call__(self, linear: OpenLinear, x: Tensor) -> Tensor:
        if self.rows is None or not linear.late:
            return self._output(linear, x)
        rows, every = self.rows.flatten(), x.flatten(0, -2)
        some = self._output(linear, every.index_select(0, rows))
        nothing = some.new_zeros(len(every), some.shape[1])
        return nothing.index_copy(0, rows, some).view(*x.shape[:-1], -1)

    def _output(self, linear: OpenLinear, x: Tensor) -> Tensor:
        if linear.name not in self.b:
            return linear.frozen(x)
        b = self.b[linear.name].to(x.dtype)
        if linear.name not in self.a:
            return FullUpdate.of(x, linear, b)
        return LowRank.of(x, linear, self.a[linear.name].to(x.dtype), b, self.scaling)


@dataclass(frozen=True)
class Gated:
    """A gated sum of experts for each of m sequences."""

    experts: Adapters
    gates: Gates
    scaling: float
    top_ranks: TopRanks | None
    m: int

    def __call__(self, linear: OpenLinear, x: Tensor) -> Tensor:
        y = linear.frozen(x)
        if linear.name not in self.experts.b:
            return y
        a, b = self.experts.a[linear.name], self.experts.b[linear.name]
        rows = x.reshape(-1, x.shape[-1])
        z = (rows @ a.flatten(0, 1).to(x.dtype).T).unflatten(1, a.shape[:2])
        z = gated(z, self._weights(linear.name, rows), self.top_ranks)
        y.view(-1, y.shape[-1]).addmm_(z, (self.scaling * b).to(x.dtype).movedim(0, 1).flatten(1).T)
        return y

    def _weights(self, name: str, rows: Float[Tensor, "mt d_in"]) -> Float[Tensor, "mt k"]:
        """Return a line of weights per token, tokens fastest."""
        if not callable(self.gates):
            table = self.gates[name] if isinstance(self.gates, dict) else self.gates
            return table.repeat_interleave(len(rows) // self.m, dim=0)
        by_token = rows.view(self.m, -1, rows.shape[1]).transpose(0, 1)
        told = self.gates((name,), by_token.flatten(0, 1).float())[name]
        return told.view(-1, self.m, told.shape[1]).transpose(0, 1).flatten(0, 1)


@dataclass
class Heard:
    """The frozen model, with a note on the input of every module, (m t d_in) in float32.

    Modules that share an input share the note.
    """

    m: int
    note: Callable[[Float[Tensor, "m t d_in"]], Tensor]
    notes: dict[str, Tensor] = field(default_factory=dict)
    last: tuple[Tensor, Tensor] | None = None

    def __call__(self, linear: OpenLinear, x: Tensor) -> Tensor:
        if self.last is None or self.last[0] is not x:
            self.last = x, self.note(x.reshape(self.m, -1, x.shape[-1]).float())
        self.notes[linear.name] = self.last[1]
        return linear.frozen(x)


def mean_over(share: Float[Tensor, "m t"]) -> Callable[[Tensor], Tensor]:
    """Return what averages an input over the tokens of each sequence."""
    return lambda x: torch.einsum("mt,mtd->md", share, x)
