"""What the modules of the frozen model read."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from meshtune.engine.backbone.model import LlamaWeights, Projection, fold_gain, frozen_outputs
from meshtune.engine.backbone.walk import hidden_states, rotation_of


def prompt_inputs(
    backbone: LlamaWeights, tokens: Int[Tensor, "m t"], prompt_mask: Bool[Tensor, "m t"]
) -> dict[str, Float[Tensor, "m d_in"]]:
    """Return what `Backbone.prompt_inputs` says."""
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
    backbone: LlamaWeights, tokens: Int[Tensor, "m t"]
) -> dict[str, Float[Tensor, "m t d_in"]]:
    """Return what `Backbone.layer_inputs` says: the norm gain is in the inputs."""
    m, t = tokens.shape
    seen: dict[str, Tensor] = {}

    def project(projection: Projection, x: Tensor) -> Sequence[Tensor]:
        own = fold_gain(projection, x.view(t, m, -1).transpose(0, 1).float())
        seen.update(dict.fromkeys(projection.names, own))
        return frozen_outputs(projection, x)

    with torch.no_grad():
        hidden_states(backbone, tokens[None], project, rotation_of(backbone, tokens[None]))
    return seen


def frozen_weights(backbone: LlamaWeights) -> Iterator[tuple[str, Float[Tensor, "d_out d_in"]]]:
    """Yield each module's weight as published, without the norm gain that is folded into it."""
    for layer in backbone.layers:
        for projection in (layer.qkv, layer.o, layer.gate_up, layer.down):
            gain = projection.gain
            for product in projection.products:
                weight = product.weight.float()
                if gain is not None:
                    # An input of gain 0 is 0 itself, so its weight does not count.
                    weight = weight / torch.where(gain == 0, 1.0, gain)
                yield from zip(product.names, weight.split(product.widths), strict=True)
