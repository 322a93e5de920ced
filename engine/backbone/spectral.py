"""Density per layer: more of B where the frozen layer answers a task in more directions."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from meshtune.engine.adapters.stack import Shapes
from meshtune.engine.backbone.base import Backbone

Entropies = dict[str, Float[Tensor, " n"]]


def spectral_entropies(
    backbone: Backbone,
    tokens: Int[Tensor, "n s t"],
    prompt_mask: Bool[Tensor, "n s t"],
    limit: int = 256,
) -> Entropies:
    """Spectral entropy of every frozen module on the prompts of every device, in nats (M7b).

        C = X X^T / m,   X (d_in, m) the inputs of the module for m prompt tokens,
        H = entropy of sigma(W0 C),   sigma(W0 C) = sigma((W0 X) R^T) / m  with  X = Q R thin

    The paper's C = h h^T, from one mean input h, has rank 1: W0 C has one singular value, and H is
    0 in every layer. Second moments over tokens are our repair, as in the works the paper builds
    on. Its factor C^-1 does not touch the singular values and is left out.
    Source: arXiv 2602.20492, Eq. 20 and 21, repaired after Yang et al., CorDA (arXiv 2406.05223).

    Args:
        backbone: The frozen model; float32, as the small singular values count.
        tokens: Some sequences of each device.
        prompt_mask: Tokens that belong to a prompt.
        limit: Number of prompt tokens looked at per device, from the first sequences on. Fewer
            than a module's inputs bound its entropy by log(limit).
    """
    rows = [
        _device_entropies(backbone, own, mask, limit)
        for own, mask in zip(tokens, prompt_mask, strict=True)
    ]
    return {name: torch.stack([row[name] for row in rows]) for name in backbone.shapes}


def spectral_entropy(singular_values: Float[Tensor, "... q"]) -> Float[Tensor, "..."]:
    """Entropy of the normalised singular values, in nats: H = -sum_q p_q log p_q (M7b).

    0 for rank 1 and for no signal at all, log(rank) for a flat spectrum.
    Source: arXiv 2602.20492, Eq. 21.
    """
    total = singular_values.sum(dim=-1, keepdim=True)
    p = torch.where(total > 0, singular_values / total, 0.0)
    return -torch.xlogy(p, p).sum(dim=-1)


def layer_densities(entropies: Entropies, shapes: Shapes, rank: int, density: float) -> Entropies:
    """Density of every module and device whose total over the modules is that of `density` (M7b).

        s_l = n_l / (d_out r),   n = water_fill(H, d_out r, density sum_l d_out r)

    The budget is shared out in entries, not in shares: of two modules with one entropy the smaller
    gets the larger density.
    Source: arXiv 2602.20492, Eq. 22, repaired (see `water_fill`).
    """
    need = torch.stack([entropies[name].double() for name in shapes], dim=1)
    capacity = torch.tensor([d_out * rank for d_out, _ in shapes.values()], dtype=torch.float64)
    share = water_fill(need, capacity, density * float(capacity.sum())) / capacity
    return dict(zip(shapes, share.unbind(dim=1), strict=True))


def water_fill(
    need: Float[Tensor, "n l"],
    capacity: Float[Tensor, " l"],
    budget: float,
    temperature: float = 1.0,
) -> Float[Tensor, "n l"]:
    """Entries of B that each layer gets of a device's budget (M7b).

        n_l = min(lambda softmax_l(H / temperature), capacity_l),
        lambda such that sum_l n_l = min(budget, sum_l capacity_l)

    What a full layer cannot take goes to the others in proportion to their weights. The paper
    prints max instead of min, which fills every layer, and no lambda.
    Source: arXiv 2602.20492, Eq. 22, repaired; the temperature is our choice.

    Args:
        need: Spectral entropy, in nats.
        capacity: Entries of B, d_out r.
        budget: Entries that a device may train.
        temperature: Above 1 evens out the shares, below 1 sharpens them; positive.
    """
    total = min(budget, float(capacity.sum()))
    full = torch.zeros_like(need, dtype=torch.bool)
    share = torch.zeros_like(need)
    # A layer once full stays full, as lambda only rises: each pass fills at least one or ends.
    for _ in range(need.shape[1]):
        rest = (total - (capacity * full).sum(dim=1, keepdim=True)).clamp(min=0)
        share = rest * torch.softmax((need / temperature).masked_fill(full, -torch.inf), dim=1)
        over = (share >= capacity) & ~full
        if not over.any():
            break
        full |= over
    return torch.where(full, capacity, share)


def _device_entropies(
    backbone: Backbone, tokens: Int[Tensor, "s t"], prompt_mask: Bool[Tensor, "s t"], limit: int
) -> dict[str, Float[Tensor, ""]]:
    # Only as many sequences as it takes to reach the limit.
    used = 1 + int((prompt_mask.sum(dim=1).cumsum(dim=0) < limit).sum())
    tokens, prompt_mask = tokens[:used], prompt_mask[:used]
    inputs = backbone.layer_inputs(tokens)
    # Modules with one input share its R, which is the costly part.
    thin: dict[int, tuple[Tensor, Tensor]] = {}
    entropies = {}
    for name, weight in backbone.frozen_weights():
        shared = inputs[name]
        if id(shared) not in thin:
            x = shared[prompt_mask][:limit].double().T
            thin[id(shared)] = x, torch.linalg.qr(x, mode="r").R
        x, r = thin[id(shared)]
        entropies[name] = spectral_entropy(torch.linalg.svdvals(weight.double() @ x @ r.T))
    return entropies
