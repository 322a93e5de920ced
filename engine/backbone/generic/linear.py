"""Linear layers of a stock model, opened: they compute with what the running pass brings."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

# Maps a layer and its input to its output; this is what differs between training, gating and
# reading. Rows of the input are tokens of all sequences of all devices, devices slowest.
Project = Callable[["OpenLinear", Tensor], Tensor]


class Pass(threading.local):
    """What the thread's pass through the model brings, and the tokens whose logits it wants."""

    project: Project | None = None
    wanted: Int[Tensor, " rows"] | None = None

    @contextmanager
    def of(self, project: Project | None, wanted: Int[Tensor, " rows"] | None) -> Iterator[None]:
        """Run a pass. None computes the frozen model, or the logits of all tokens."""
        self.project, self.wanted = project, wanted
        try:
            yield
        finally:
            self.project, self.wanted = None, None


class OpenLinear(nn.Module):
    """Takes the place of a linear layer, whose weights are frozen.

    What a `late` one says of a token has a part in the logits of that token alone.
    """

    late = False

    def __init__(self, name: str, base: nn.Module, running: Pass) -> None:
        super().__init__()
        self.name, self.base, self.running = name, base, running

    @property
    def weight(self) -> Tensor:
        """As the stock layer has it: some models look."""
        return self.base.get_parameter("weight")

    @property
    def bias(self) -> Tensor | None:
        return None if self.base.bias is None else self.base.get_parameter("bias")

    @property
    def matrix(self) -> Float[Tensor, "d_out d_in"]:
        """The weight, on which GPT-2 and its kin look from the other side."""
        return self.weight.mT if isinstance(self.base, Conv1D) else self.weight

    def frozen(self, x: Float[Tensor, "*rows d_in"]) -> Float[Tensor, "*rows d_out"]:
        return functional.linear(x, self.matrix, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        project = self.running.project
        return self.frozen(x) if project is None else project(self, x)


class OpenHead(nn.Module):
    """Takes the place of the LM head: float32, for the wanted tokens only.

    The head is float32 because a logit near 10 is rounded by 0.03 in bfloat16.
    """

    def __init__(self, base: nn.Module, running: Pass) -> None:
        super().__init__()
        self.base, self.running = base, running
        self.matrix = base.get_parameter("weight").detach().float()
        bias: Tensor | None = getattr(base, "bias", None)
        self.offset = None if bias is None else bias.detach().float()

    @property
    def weight(self) -> Tensor:
        """As the stock layer has it: some models look."""
        return self.base.get_parameter("weight")

    def forward(self, hidden: Tensor) -> Tensor:
        wanted = self.running.wanted
        if wanted is not None:
            hidden = hidden.flatten(0, -2).index_select(0, wanted)[None]
        return functional.linear(hidden.float(), self.matrix, self.offset)


class LowRank(torch.autograd.Function):
    """y = x W^T + c + scaling (x A^T) B^T, each device with its A and B; W and c are frozen."""

    @staticmethod
    def of(x: Tensor, linear: OpenLinear, a: Tensor, b: Tensor, scaling: float) -> Tensor:
        y: Tensor = LowRank.apply(x, linear, a, b, scaling)  # type: ignore[no-untyped-call]
        return y

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, linear: OpenLinear, a: Tensor, b: Tensor, scaling: float
    ) -> Tensor:
        y = linear.frozen(x)
        rows = x.reshape(len(a), -1, x.shape[-1])
        z = torch.bmm(rows, a.mT).mul_(scaling)
        y.view(len(a), -1, y.shape[-1]).baddbmm_(z, b.mT)
        ctx.save_for_backward(rows, a, b, z)
        ctx.linear, ctx.scaling = linear, scaling
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, a, b, z = ctx.saved_tensors
        wants_x, _, wants_a, wants_b, _ = ctx.needs_input_grad
        rows = dy.reshape(len(b), -1, dy.shape[-1])
        dz = torch.bmm(rows, b).mul_(ctx.scaling)
        dx = None
        if wants_x:
            dx = _through(ctx.linear, rows).baddbmm_(dz, a).view(*dy.shape[:-1], -1)
        return (
            dx,
            None,
            torch.bmm(dz.mT, x) if wants_a else None,
            torch.bmm(rows.mT, z) if wants_b else None,
            None,
        )


class FullUpdate(torch.autograd.Function):
    """y = x (W + U)^T + c, each device with its U; W and c are frozen.

    U is not added to W: in bfloat16 the sum would round away most of a small update.
    """

    @staticmethod
    def of(x: Tensor, linear: OpenLinear, update: Tensor) -> Tensor:
        y: Tensor = FullUpdate.apply(x, linear, update)  # type: ignore[no-untyped-call]
        return y

    @staticmethod
    def forward(ctx: Any, x: Tensor, linear: OpenLinear, update: Tensor) -> Tensor:
        y = linear.frozen(x)
        rows = x.reshape(len(update), -1, x.shape[-1])
        y.view(len(update), -1, y.shape[-1]).baddbmm_(rows, update.mT)
        ctx.save_for_backward(rows, update)
        ctx.linear = linear
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, update = ctx.saved_tensors
        rows = dy.reshape(len(update), -1, dy.shape[-1])
        dx = None
        if ctx.needs_input_grad[0]:
            dx = _through(ctx.linear, rows).baddbmm_(rows, update).view(*dy.shape[:-1], -1)
        return dx, None, torch.bmm(rows.mT, x) if ctx.needs_input_grad[2] else None


def _through(linear: OpenLinear, dy: Float[Tensor, "n m d_out"]) -> Float[Tensor, "n m d_in"]:
    """Return dy W as one large product."""
    return torch.mm(dy.flatten(0, 1), linear.matrix).view(*dy.shape[:2], -1)
