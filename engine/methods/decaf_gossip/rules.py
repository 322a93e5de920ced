"""DeCAF on a graph: products B A are averaged with the neighbours, then refactored to rank r.

Source: Saadati et al., "DeCAF: Decentralized Consensus-And-Factorization for Low-Rank Adaptation of
Foundation Models" (arXiv 2505.21382).
Plain LoRA gossip averages A and B each on its own, and the product of means is not the mean of
products. Here the mean is that of the products; the error is what the cut to rank r drops.
We deviate: the default weights count a link only in rounds in which both directions worked; a
device that averages over itself alone keeps its factors; the paper says nothing of a mean of rank
below r, see `refactored`. Refactoring rotates the coordinates of A and B, while AdamW's moments
stay where they are, as they decay within a few steps (our choice).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from meshtune.engine.adapters.stack import Adapters
from meshtune.engine.mesh import Mesh
from meshtune.engine.methods.rules import Heard, Memory, PlainMethod
from meshtune.engine.methods.shared.precision import on_air

DEVICES_AT_ONCE = 32  # bounds the memory of the stacks; the result does not depend on it


@dataclass(frozen=True)
class DecafGossipRules(PlainMethod):
    """Z_i = sum_j w_ij B_j A_j with the weights of the run (M6, M27), Z_i ~ U S V^T of rank r.

    B_i <- U S^1/2 and A_i <- S^1/2 V^T (model.md M6a). Sends q (nA + nB) bits per link and round.
    """

    def combine(
        self, trained: Adapters, memory: Memory, mesh: Mesh, heard: Heard, round_index: int
    ) -> tuple[Adapters, Memory]:
        sent = on_air(trained, self.setup.value_bits)
        who, weight = neighbourhoods(self.setup.weights(heard))
        met = (weight[:, 1:] > 0).any(dim=1).nonzero()[:, 0]
        a, b = {}, {}
        for name, own_a in trained.a.items():
            own_b = trained.b[name]
            a[name], b[name] = own_a.clone(), own_b.clone()
            for group in met.split(DEVICES_AT_ONCE):
                # A device comes first among those it averages over, and does not round itself.
                wide = torch.cat([own_b[group, None], sent.b[name][who[group, 1:]]], dim=1)
                tall = torch.cat([own_a[group, None], sent.a[name][who[group, 1:]]], dim=1)
                wide, tall = (_of_heard(part, weight[group]) for part in (wide, tall))
                left = (weight[group, :, None, None] * wide).transpose(1, 2).flatten(2)
                new_b, new_a = refactored(left, tall.flatten(1, 2), own_a[group])
                a[name][group], b[name][group] = new_a, new_b
        return Adapters(a, b), memory


def neighbourhoods(
    weights: Float[np.ndarray, "n n"],
) -> tuple[Int[Tensor, "n k"], Float[Tensor, "n k"]]:
    """Whom each device averages over, itself first, and with what weight.

    k is one more than the largest number of neighbours; places left over have weight 0.
    """
    order = weights.copy()
    np.fill_diagonal(order, np.inf)
    most = int((order > 0).sum(axis=1).max())
    who = np.argsort(-order, axis=1, kind="stable")[:, :most]
    weight = np.take_along_axis(weights, who, axis=1)
    return torch.from_numpy(who), torch.from_numpy(weight).float()


def _of_heard(
    values: Float[Tensor, "n k p q"], weight: Float[Tensor, "n k"]
) -> Float[Tensor, "n k p q"]:
    """The values, except that what is not finite and was not heard is zero: it has no weight."""
    kept = values.isfinite() | (weight > 0)[:, :, None, None]
    return values if kept.all() else torch.where(kept, values, 0.0)


def refactored(
    left: Float[Tensor, "n d_out p"],
    right: Float[Tensor, "n p d_in"],
    own_a: Float[Tensor, "n r d_in"],
) -> tuple[Float[Tensor, "n d_out r"], Float[Tensor, "n r d_in"]]:
    """B and A of rank r whose product is the best approximation of Z = left right (M6a).

        left = Q_l R_l,  right^T = Q_r R_r,  R_l R_r^T = U S V^T
        B = Q_l U S^1/2,  A = S^1/2 (Q_r V)^T        of the r largest singular values

    The SVD is one of a small core, so Z is never formed. A sign is free per direction: the entry of
    largest magnitude in each column of B is positive, so that devices with one Z get the same
    factors. Where Z has rank k < r, the last r - k columns of B are zero. Their rows of A must not
    be, or neither factor would ever get a gradient: they are the strongest directions of the
    own A across the k kept ones, S' V'^T of own_a (I - V V^T); where Z = 0, A stays as it is. The
    product is Z in any case. Sign and null part are our choices. Source: arXiv 2505.21382.

    Args:
        left: B of p / r devices side by side, each times its weight.
        right: A of the same devices, one below the other.
        own_a: A before, for the directions in which Z is zero.
    """
    rank = own_a.shape[1]
    q_left, r_left = torch.linalg.qr(left)
    q_right, r_right = torch.linalg.qr(right.mT)
    core = r_left @ r_right.mT
    # The SVD refuses what is not finite; a device that heard such values must diverge, not crash.
    finite = core.isfinite().flatten(1).all(dim=1)[:, None, None]
    u, s, vt = torch.linalg.svd(torch.where(finite, core, 0.0), full_matrices=False)
    columns, rows = _first(q_left @ u, rank, dim=2), _first(vt @ q_right.mT, rank, dim=1)
    rows = torch.where(finite, rows, 0.0)
    peak = columns.gather(1, columns.abs().argmax(dim=1, keepdim=True))[:, 0]
    sign = torch.where(peak < 0, -1.0, 1.0)
    # Rounding leaves this much of a singular value that is zero.
    size = r_left.flatten(1).norm(dim=1) * r_right.flatten(1).norm(dim=1)
    noise = torch.finfo(core.dtype).eps * max(left.shape[1:] + right.shape[2:]) * size
    s = _first(s, rank, dim=1)
    alive = s > noise[:, None]
    root = torch.where(alive, s.sqrt(), 0.0)
    rows = rows * sign[..., None]
    b, a = columns * (sign * root)[:, None], rows * root[..., None]
    if not alive.all():
        a = torch.where(alive[..., None], a, _unused(own_a, rows, alive))
    return torch.where(finite, b, torch.nan), a


def _unused(
    own_a: Float[Tensor, "n r d_in"], rows: Float[Tensor, "n r d_in"], alive: Bool[Tensor, "n r"]
) -> Float[Tensor, "n r d_in"]:
    """Directions of the own A across the living rows, strongest first, in the dead places."""
    kept = rows * alive[..., None]
    _, s, vt = torch.linalg.svd(own_a - own_a @ kept.mT @ kept, full_matrices=False)
    strongest = s[..., None] * vt
    place = (torch.arange(alive.shape[1]) - alive.sum(dim=1, keepdim=True)).clamp(min=0)
    moved = strongest.gather(1, place[..., None].expand_as(strongest))
    return torch.where(alive.any(dim=1)[:, None, None], moved, own_a)


def _first(values: Tensor, count: int, dim: int) -> Tensor:
    """The first `count` entries along an axis; zeros where there are fewer."""
    values = values.narrow(dim, 0, min(count, values.shape[dim]))
    shape = list(values.shape)
    shape[dim] = count - values.shape[dim]
    return torch.cat([values, values.new_zeros(shape)], dim=dim)
