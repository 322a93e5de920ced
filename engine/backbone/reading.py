"""What the modules of the frozen model read."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from meshtune.engine.backbone.model import Backbone, Projection, fold_gain, frozen_outputs
from meshtune.engine.backbone.walk import hidden_states, rotation_of


def prompt_inputs(
    backbone: Backbone, tokens: Int[Tensor, "m t"], prompt_mask: Bool[Tensor, "m t"]
) -> dict[str, Float[Tensor, "m d_in"]]:
    """Return the frozen model's mean input of every module over each sequence's prompt tokens.

    Modules that share an input share the tensor. A sequence without prompt tokens gives zeros.
    """
    m, t = tokens.shape
    share = prompt_mask / prompt_mask.sum(dim=1, keepdim=True).clamp(min=1)
    means: dict[str, Tensor] = {}

    def project(projection: Projection, x: Tensor) -> Sequence[Tensor]:
        mean = torch.einsum("mt,tmd->md", share, x.view(t, m, -1).float())
        mean = fold_gain(projection, mean)
        means.update(dict.fromkeys(projection.names, mean))
        return frozen_outputs(projection, x)

    with torch.no_grad():
        hidden_states(backbone, tokens[None], project, rotation_of(backbone, tokens[None]))
    return means


def layer_inputs(
    backbone: Backbone, tokens: Int[Tensor, "m t"]
) -> dict[str, Float[Tensor, "m t d_in"]]:
    """Return the frozen model's input of every module for every token, in float32.

    These are the inputs x of y = W0 x in the model as published, the norm gain included. Modules
    that share an input share the tensor. All layers are held at once: ask for few sequences.
    """
    m, t = tokens.shape
    seen: dict[str, Tensor] = {}

    def project(projection: Projection, x: Tensor) -> Sequence[Tensor]:
        own = fold_gain(projection, x.view(t, m, -1).transpose(0, 1).float())
        seen.update(dict.fromkeys(projection.names, own))
        return frozen_outputs(projection, x)

    with torch.no_grad():
        hidden_states(backbone, tokens[None], project, rotation_of(backbone, tokens[None]))
    return seen
