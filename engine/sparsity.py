"""Masks of B: which entries of the expansion factor a device trains and sends."""

import torch
from jaxtyping import Float
from torch import Tensor

from engine.adapters import Adapters, Factors, Masks


def top_masks(b: Factors, density: float) -> Masks:
    """The entries of B with the largest magnitude, per module and device (model.md M7).

        M = 1(|B| among the round(s d_out r) largest of its module)

    The magnitude, not the signed value, decides: the paper's Eq. 18 thresholds B itself, which
    would keep no negative entry. Ties go to the earlier entry. At least one entry is kept.
    Source: arXiv 2602.20492, Eq. 18, repaired.
    """
    masks: Masks = {}
    for name, value in b.items():
        flat = value.abs().flatten(1)
        keep = max(1, round(density * flat.shape[1]))
        chosen = flat.sort(dim=1, descending=True, stable=True).indices[:, :keep]
        mask = torch.zeros_like(flat, dtype=torch.bool).scatter_(1, chosen, True)
        masks[name] = mask.view_as(value)
    return masks


def active_mean(
    own: Adapters, sent: Adapters, masks: Masks, weights: Float[Tensor, "n n"]
) -> Adapters:
    """Entrywise mean of the senders that hold the entry, kept where the receiver holds it (M9).

        B_i <- M_i o sum_j w_ij (M_j o B_j) / sum_j w_ij M_j

    An entry that only the receiver holds keeps its value: dividing by the number of devices
    instead would shrink it every round. A device uses its own values unrounded and those of
    others as `sent`. Needs w_ii > 0. `weights`: row receiver, column sender.
    Source: our repair of arXiv 2602.20492, Eq. 10 and 24.
    """
    mixed: Factors = {}
    keep = torch.diagonal(weights)[:, None]
    others = weights - torch.diag(torch.diagonal(weights))
    for name, value in own.b.items():
        held = masks[name].to(value.dtype).flatten(1)
        total = keep * value.flatten(1) + others @ (sent.b[name].flatten(1) * held)
        count = weights @ held
        mean = torch.where(held.bool(), total / count.clamp(min=1e-12), 0.0)
        mixed[name] = mean.view_as(value)
    return Adapters(a=own.a, b=mixed)
