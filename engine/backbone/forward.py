"""Llama forward pass over one frozen set of weights with a different LoRA adapter per device."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshtune.engine.adapters.stack import Adapters, Factor, Factors
from meshtune.engine.backbone.base import IGNORED_TARGET
from meshtune.engine.backbone.low_rank import Adapted
from meshtune.engine.backbone.model import LlamaWeights, frozen_outputs
from meshtune.engine.backbone.steps import (
    add_normalised_gradient,
    attended_gradient,
    normalised,
    swiglu_gradient,
)
from meshtune.engine.backbone.walk import (
    Scored,
    Trace,
    by_sequence,
    hidden_states,
    logits_of,
    rotation_of,
)


def forward(
    backbone: LlamaWeights,
    tokens: Int[Tensor, "n b t"],
    adapters: Adapters | None,
    scaling: float,
    places: Int[Tensor, "n b s"] | None = None,
) -> Float[Tensor, "n b s vocab"]:
    """Return the logits of every device's own sequences under its own adapter.

    Arguments are those of `Backbone.logits`.
    """
    s = tokens.shape[2] if places is None else places.shape[2]
    project = frozen_outputs if adapters is None else Adapted(adapters.a, adapters.b, scaling)
    wanted = None if places is None else Scored.at(places, tokens.shape[2])
    hidden = hidden_states(backbone, tokens, project, rotation_of(backbone, tokens), wanted)
    return by_sequence(logits_of(backbone, hidden), s)


def fleet_loss(
    backbone: LlamaWeights,
    tokens: Int[Tensor, "n b t"],
    targets: Int[Tensor, "n b t"],
    a: Factors,
    b: Factors,
    scaling: float,
) -> Float[Tensor, " n"]:
    """Return each device's mean cross-entropy over its scored tokens, in float32.

    Arguments are those of `Backbone.gradient`.
    """
    scored = Scored.of(targets)
    rotation = rotation_of(backbone, tokens)
    hidden = hidden_states(backbone, tokens, Adapted(a, b, scaling), rotation, scored)
    return _loss_and_slope(backbone, hidden, scored)[0]


def fleet_gradient(
    backbone: LlamaWeights,
    tokens: Int[Tensor, "n b t"],
    targets: Int[Tensor, "n b t"],
    a: Factors,
    b: Factors,
    scaling: float,
    *,
    trained: frozenset[Factor],
) -> tuple[Float[Tensor, " n"], dict[Factor, Factors]]:
    """Return `fleet_loss` and the gradient of each device's loss for the trained factors."""
    scored = Scored.of(targets)
    rotation = rotation_of(backbone, tokens)
    project = Adapted(a, b, scaling, trained)
    traces: list[Trace] = []
    hidden = hidden_states(backbone, tokens, project, rotation, scored, traces)
    loss, dx = _loss_and_slope(backbone, hidden, scored)
    for layer in reversed(backbone.layers):
        trace = traces.pop()
        d_act = project.backward(layer.down, dx)
        d_gate_up = swiglu_gradient(d_act, trace.gate, trace.up)
        dy = project.backward(layer.gate_up, *d_gate_up)
        add_normalised_gradient(dx, dy, trace.mlp_input, trace.mlp_inverse)
        d_mixed = project.backward(layer.o, dx)
        if layer is backbone.layers[-1]:
            d_mixed, dx = scored.put_back(d_mixed), scored.put_back(dx)
        d_qkv = attended_gradient(d_mixed, trace.attended, rotation)
        if layer is backbone.layers[0]:  # nothing before it is trained
            project.backward_factors(layer.qkv, *d_qkv)
        else:
            dy = project.backward(layer.qkv, *d_qkv)
            add_normalised_gradient(dx, dy, trace.attention_input, trace.attention_inverse)
    order: dict[Factor, Factors] = {"a": a, "b": b}
    return loss, {
        kind: {name: collected[name] for name in order[kind]}
        for kind, collected in project.gradient.items()
    }


def _loss_and_slope(
    backbone: LlamaWeights, hidden: Float[Tensor, "n s d"], scored: Scored
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n s d"]]:
    """Return each device's loss and its gradient for the hidden states."""
    counted = scored.targets != IGNORED_TARGET
    share = counted / counted.sum(dim=1, keepdim=True).clamp(min=1)
    answer = scored.targets.clamp(min=0)[..., None]
    y, inverse = normalised(hidden.float(), backbone.norm_eps)
    log_prob = torch.log_softmax(y @ backbone.head.T, dim=2)
    loss = -(log_prob.gather(2, answer)[..., 0] * share).sum(dim=1)
    slope = log_prob.exp_().scatter_add_(2, answer, log_prob.new_full(answer.shape, -1.0))
    slope *= share[..., None]
    dx = torch.zeros_like(y)
    add_normalised_gradient(dx, slope @ backbone.head, y, inverse)
    return loss, dx.to(hidden.dtype)
