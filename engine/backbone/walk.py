"""The walk through the network that training, gating and probing share.

Hidden states are (n, m, d): device, token of any of its sequences, feature. Whoever walks brings
its own `Project`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from meshtune.engine.backbone.base import IGNORED_TARGET
from meshtune.engine.backbone.model import LlamaWeights, Projection
from meshtune.engine.backbone.steps import (
    Attended,
    Rotation,
    attended,
    normalised,
    rotation_matrices,
    swiglu,
)

# Maps the input of a projection to the outputs of its products; this is what differs between
# training, gating and probing.
Project = Callable[[Projection, Tensor], Sequence[Tensor]]


@dataclass(frozen=True)
class Trace:
    """What the backward of a layer reads."""

    attention_input: Tensor
    attention_inverse: Tensor
    attended: Attended
    mlp_input: Tensor
    mlp_inverse: Tensor
    gate: Tensor
    up: Tensor


@dataclass(frozen=True)
class Scored:
    """The tokens whose hidden states count: past the last attention the others are dropped.

    `rows` are positions in (n * m) and `targets` theirs. A device with fewer scored tokens than
    another fills up with unscored ones, whose target is -100. `m` is the number of tokens.
    """

    rows: Int[Tensor, "n s"]
    targets: Int[Tensor, "n s"]
    m: int

    @staticmethod
    def of(targets: Int[Tensor, "n b t"]) -> "Scored":
        wanted = targets.transpose(1, 2).flatten(1)
        n, m = wanted.shape
        scored = wanted != IGNORED_TARGET
        most = max(1, int(scored.sum(dim=1).max()))
        column = scored.byte().argsort(dim=1, descending=True, stable=True)[:, :most]
        return Scored(column + m * torch.arange(n)[:, None], wanted.gather(1, column), m)

    @staticmethod
    def at(places: Int[Tensor, "n b s"], t: int) -> "Scored":
        """The tokens at `places` of b sequences of length t: tokens slowest, then sequences."""
        n, b, _ = places.shape
        rows = (places * b + torch.arange(b)[:, None]).transpose(1, 2).flatten(1)
        m = t * b
        none = torch.full_like(rows, IGNORED_TARGET)
        return Scored(rows + m * torch.arange(n)[:, None], none, m)

    def take(self, x: Float[Tensor, "n m d"]) -> Float[Tensor, "n s d"]:
        rows = x.flatten(0, 1).index_select(0, self.rows.flatten())
        return rows.view(*self.rows.shape, -1)

    def put_back(self, dx: Float[Tensor, "n s d"]) -> Float[Tensor, "n m d"]:
        """Return the gradient of what `take` was given."""
        n, _, d = dx.shape
        full = dx.new_zeros(n * self.m, d)
        return full.index_copy_(0, self.rows.flatten(), dx.flatten(0, 1)).view(n, self.m, d)


def hidden_states(
    backbone: LlamaWeights,
    tokens: Int[Tensor, "n b t"],
    project: Project,
    rotation: Rotation,
    scored: Scored | None = None,
    traces: list[Trace] | None = None,
) -> Float[Tensor, "n s d"]:
    """Return the last hidden states of the scored tokens, or of all if that is None.

    All are (n, t * b, d): tokens count slowest, then sequences.
    """
    x = functional.embedding(tokens.transpose(1, 2).flatten(1), backbone.embedding)
    for layer in backbone.layers:
        attention_input, attention_inverse = normalised(x, backbone.norm_eps)
        qk, v = project(layer.qkv, attention_input)
        mixed, saved = attended(qk, v, rotation, backbone.heads)
        if scored is not None and layer is backbone.layers[-1]:
            mixed, x = scored.take(mixed), scored.take(x)
        x = project(layer.o, mixed)[0].add_(x)
        mlp_input, mlp_inverse = normalised(x, backbone.norm_eps)
        gate, up = project(layer.gate_up, mlp_input)
        x = project(layer.down, swiglu(gate, up))[0].add_(x)
        if traces is not None:
            traces.append(
                Trace(
                    attention_input,
                    attention_inverse,
                    saved,
                    mlp_input,
                    mlp_inverse,
                    gate,
                    up,
                )
            )
    return x


def logits_of(backbone: LlamaWeights, hidden: Tensor) -> Tensor:
    return normalised(hidden.float(), backbone.norm_eps)[0] @ backbone.head.T


def by_sequence(x: Tensor, t: int) -> Float[Tensor, "n b t d"]:
    """Return (n, t * b, d) with the sequences apart."""
    return x.view(len(x), t, -1, x.shape[-1]).transpose(1, 2)


def rotation_of(backbone: LlamaWeights, tokens: Int[Tensor, "n b t"]) -> Rotation:
    n, _, t = tokens.shape
    return rotation_matrices(
        backbone.rotary_frequency, backbone.rotary_scaling, (n, t), backbone.dtype
    )
