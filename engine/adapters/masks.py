"""Masks of B: which entries of the expansion factor a device trains and sends."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from meshtune.engine.adapters.stack import Adapters, Factors, Masks, flatten, weighted_sums
from meshtune.engine.rng import stream

# A share of each module, the same everywhere or per module and device.
Density = float | Mapping[str, Float[Tensor, " n"]]
PUBLIC_SEED = 0  # dealing out entries is a rule of the protocol, not a draw of the run


def top_masks(
    b: Factors, density: Density, over: Literal["layer", "global", "column"] = "layer"
) -> Masks:
    """The entries of B with the largest magnitude, per device (model.md M7).

        layer   M = 1(|B| among the round(s d_out r) largest of its module)
        global  M = 1(|B| among the round(s sum_l d_out r) largest of the device)
        column  M = 1(column among the round(s r) of largest norm of its module)

    The magnitude, not the signed value, decides: the paper's Eq. 18 thresholds B itself, which
    would keep no negative entry. Ties go to the earlier entry. At least one entry, or column, is
    kept. Over all modules, a density per module counts only through its total.
    Source: arXiv 2602.20492, Eq. 18, repaired; "global" is that of Zhang et al., LoRI
    (arXiv 2504.07448); "column" is our choice.
    """
    if over == "global":
        flat = flatten(b).abs()
        return _unflatten(_largest(flat, _wanted(flat, _overall(density, b))), b)
    masks: Masks = {}
    for name, value in b.items():
        score = value.norm(dim=1) if over == "column" else value.abs().flatten(1)
        chosen = _largest(score, _wanted(score, _share(density, name)))
        masks[name] = (
            chosen[:, None].expand_as(value).clone(memory_format=torch.contiguous_format)
            if over == "column"
            else chosen.view_as(value)
        )
    return masks


def disjoint_masks(
    b: Factors,
    density: Density,
    slot: Int[np.ndarray, " n"],
    slots: int | Int[np.ndarray, " n"],
) -> Masks:
    """Masks of devices that never collide: entries are dealt out before anybody looks (M7a).

        allowed_i = entries e of a module with pi(e) mod slots = slot_i,  pi a public permutation
        M_i = the round(min(s, 1/slots) d_out r) entries of largest |B| among the allowed

    Two devices of one cluster have different slots and so no entry in common: their mean over
    active senders loses nothing. No message is needed to agree. A device keeps no more than it is
    allowed, and at least one entry where it is allowed any.
    Source: our choice, an answer to the collisions of arXiv 2602.20492, Eq. 19.

    Args:
        b: Factor B after the warm-up.
        density: Share of B asked for.
        slot: Number of each device in its cluster, from 0.
        slots: Devices of the cluster, one number for all or one per device.
    """
    place, count = torch.from_numpy(slot)[:, None], torch.as_tensor(slots).reshape(-1, 1)
    masks: Masks = {}
    for name, value in b.items():
        flat = value.abs().flatten(1)
        permutation = stream(PUBLIC_SEED, "mask", "disjoint", name).permutation(flat.shape[1])
        allowed = torch.from_numpy(permutation)[None] % count == place
        share = torch.as_tensor(_share(density, name), dtype=torch.float64)
        keep = _wanted(flat, share.clamp(max=1 / count[:, 0].double()))
        # What is not allowed sorts last, and is cut off where fewer are allowed than asked for.
        chosen = _largest(flat.masked_fill(~allowed, -1.0), keep) & allowed
        masks[name] = chosen.view_as(value)
    return masks


def largest_changes(
    values: Factors, last_sent: Factors, masks: Masks, density_sent: float
) -> Masks:
    """The entries of a mask that a device sends now: those that changed most since it sent them.

        S_i = 1(|B_i - B_i^sent| among the round(s_sent sum_l d_out r) largest of M_i)      (M11a)

    One ranking over all modules of a device. An entry that waits keeps its old `last_sent`, so its
    change goes on growing until it is sent: nothing is lost, only late. A device always sends
    min(round(s_sent p), nnz(M_i)) entries, at least one, so the length of the message is known
    before training. Ties go to the earlier entry.
    Source: memory of what was not sent after Stich et al., "Sparsified SGD with Memory"
    (arXiv 1809.07599); kept by the sender as the last sent value is our choice.
    """
    mask = flatten(masks)
    change = (flatten(values) - flatten(last_sent)).abs().masked_fill(~mask, -1.0)
    return _unflatten(_largest(change, _wanted(change, density_sent)) & mask, values)


def plain_mean(
    own: Adapters,
    sent: Adapters,
    masks: Masks,
    weights: Float[Tensor, "n n"],
    sent_masks: Masks | None = None,
) -> Factors:
    """Weighted sum of all masked B, as the paper prints it, on the union of the masks (M9a).

        Bbar_i = sum_j w_ij (M_j o B_j)

    With w = 1/n an entry that one device holds shrinks to 1/n of itself. A device uses its own
    values unrounded and those of others as `sent`. `weights`: row receiver, column sender.
    `sent_masks`: the entries that others sent, where that is not all they hold.
    Source: arXiv 2602.20492, Eq. 10 and 24.
    """
    sums: Factors = {}
    for name, mask in masks.items():
        heard = sent_masks[name] if sent_masks else mask
        sums[name] = _masked_sum(own.b[name] * mask, sent.b[name] * heard, weights).view_as(mask)
    return sums


def active_union_mean(
    own: Adapters,
    sent: Adapters,
    masks: Masks,
    weights: Float[Tensor, "n n"],
    sent_masks: Masks | None = None,
) -> Factors:
    """Entrywise mean of the senders that hold the entry, on the union of the masks (M9).

        Bbar_i = sum_j w_ij (M_j o B_j) / sum_j w_ij M_j,   0 where nobody heard holds the entry

    An entry that one device holds keeps its value: dividing by the number of devices instead would
    shrink it every round. A device uses its own values unrounded and those of others as `sent`.
    `weights`: row receiver, column sender. `sent_masks`: the entries that others sent, where that
    is not all they hold.
    Source: our repair of arXiv 2602.20492, Eq. 10 and 24.
    """
    mixed: Factors = {}
    for name, mask in masks.items():
        heard = sent_masks[name] if sent_masks else mask
        total = _masked_sum(own.b[name] * mask, sent.b[name] * heard, weights)
        # What a device holds but did not send counts for itself only.
        silent = (mask & ~heard).to(total.dtype).flatten(1)
        count = weights @ heard.to(total.dtype).flatten(1)
        count += torch.diagonal(weights)[:, None] * silent
        mean = torch.where(count > 0, total / count.clamp(min=1e-12), 0.0)
        mixed[name] = mean.view_as(mask)
    return mixed


def _masked_sum(
    own: Float[Tensor, "n d_out r"], sent: Float[Tensor, "n d_out r"], weights: Float[Tensor, "n n"]
) -> Float[Tensor, "n p"]:
    keep = torch.diagonal(weights)[:, None]
    others = weights - torch.diag(torch.diagonal(weights))
    return keep * own.flatten(1) + weighted_sums(others, sent.flatten(1))


def _share(density: Density, name: str) -> float | Tensor:
    return density if isinstance(density, float) else density[name]


def _overall(density: Density, b: Factors) -> float | Tensor:
    """Share of all entries of a device that a density per module amounts to."""
    if isinstance(density, float):
        return density
    sizes = {name: value[0].numel() for name, value in b.items()}
    wanted = torch.stack([density[name].double() * size for name, size in sizes.items()])
    return wanted.sum(dim=0) / sum(sizes.values())


def _wanted(score: Float[Tensor, "n p"], share: float | Tensor) -> Float[Tensor, " n"]:
    """Number of entries that a share stands for, per device: rounded, at least one."""
    # float64: a share of 0.3 in float32 would round some counts the other way.
    per_device = torch.as_tensor(share, dtype=torch.float64).expand(len(score))
    return (per_device * score.shape[1]).round().clamp(min=1)


def _largest(score: Float[Tensor, "n p"], keep: Float[Tensor, " n"]) -> Bool[Tensor, "n p"]:
    """Which entries are among the `keep` largest of their row; ties go to the earlier entry."""
    order = score.sort(dim=1, descending=True, stable=True).indices
    kept = torch.arange(score.shape[1]) < keep[:, None]
    return torch.zeros_like(kept).scatter_(1, order, kept)


def _unflatten(flat: Bool[Tensor, "n p"], like: Factors) -> Masks:
    parts = flat.split([value[0].numel() for value in like.values()], dim=1)
    return {
        name: part.view(value.shape).clone()  # a view would be stored whole in a checkpoint
        for (name, value), part in zip(like.items(), parts, strict=True)
    }
