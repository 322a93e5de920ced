"""Masks of sparse experts before anybody has drawn them: when, and how many entries (M7)."""

import numpy as np
from jaxtyping import Int64

from meshtune.engine.ledger.bits import Shapes
from meshtune.engine.methods.so_lora.config import SoLora


def is_masked(rule: SoLora) -> bool:
    """Whether some entries of B do not exist."""
    return rule.density < 1 or rule.mask == "disjoint"


def draws_masks(rule: SoLora, round_index: int) -> bool:
    """Whether masks are drawn before the exchange of this round."""
    every = rule.mask_every
    due = round_index == 0 or (every > 0 and round_index % every == 0)
    return due and is_masked(rule)


def kept_entries(
    rule: SoLora, shapes: Shapes, rank: int, cluster: Int64[np.ndarray, " n"]
) -> Int64[np.ndarray, " n"]:
    """Entries of B that the mask of every device keeps, known before any training (M7, M7a).

        layer      sum_l max(1, round(s d_out r))          global  max(1, round(s sum_l d_out r))
        column     sum_l max(1, round(s r)) d_out
        disjoint   sum_l min(allowed_l, max(1, round(min(s, 1 / c) d_out r)))

    `allowed_l` are the entries dealt to the device's slot among the c of the largest cluster. A
    spectral density is taken as uniform: its total is the same up to the rounding of each layer
    (our choice).

    Args:
        rule: The method.
        shapes: (d_out, d_in) of the adapted modules.
        rank: Of the adapter.
        cluster: Cluster of each device when the masks are drawn.
    """
    rows = np.array([d_out for d_out, _ in shapes.values()])
    sizes, n = rows * rank, len(cluster)
    if not is_masked(rule):
        return np.full(n, sizes.sum())
    if rule.mask == "global":
        return np.full(n, max(1, round(rule.density * int(sizes.sum()))))
    if rule.mask == "column":
        return np.full(n, max(1, round(rule.density * rank)) * rows.sum())
    if rule.mask == "layer":
        return np.full(n, _rounded(rule.density, sizes).sum())
    slots = int(np.bincount(cluster).max())
    slot = np.array([(cluster[:i] == cluster[i]).sum() for i in range(n)])
    # Numbers below `size` that leave the remainder `slot` when divided by `slots`.
    allowed = np.maximum(0, sizes[None] - slot[:, None] + slots - 1) // slots
    kept = np.minimum(allowed, _rounded(min(rule.density, 1 / slots), sizes))
    return np.asarray(kept.sum(axis=1))


def _rounded(share: float, sizes: Int64[np.ndarray, " l"]) -> Int64[np.ndarray, " l"]:
    return np.maximum(1, np.rint(share * sizes)).astype(np.int64)
