"""The differentiable steps of a Llama layer, each with its backward written out.

The base weights are frozen, so a backward has no weight gradients, and a small model on a CPU is
as fast as it makes few passes over memory: autograd would make twice as many. A function that
names an argument `used_*` overwrites it, because nobody reads it afterwards.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def times(x: Float[Tensor, "n m d_in"], weight: Float[Tensor, "d_in d_out"]) -> Tensor:
    """Return x @ weight as one large product; n products with a shared factor are slower."""
    return torch.mm(x.flatten(0, 1), weight).view(*x.shape[:2], -1)


def adapted(
    x: Float[Tensor, "n m d_in"],
    weights: Sequence[Tensor],
    a: Float[Tensor, "n r d_in"],
    bs: Sequence[Tensor],
) -> tuple[list[Tensor], Float[Tensor, "n m r"]]:
    """Return y[i] = x W[i]^T + z[i] B[i]^T and z = x A^T, whose columns belong to the B in order.

    Each device has its own A and B, and all share the weights (d_out, d_in).
    """
    z = torch.bmm(x, a.mT)
    ys = []
    for weight, b, part in zip(weights, bs, _columns(z, bs), strict=True):
        y = times(x, weight.T)
        ys.append(y.baddbmm_(part, b.mT) if b.shape[2] else y)
    return ys, z


def base_input_gradient(
    dys: Sequence[Tensor], weights: Sequence[Tensor]
) -> Float[Tensor, "n m d_in"]:
    """Return sum_i dy[i] W[i]; the adapters add dz A."""
    dx = torch.mm(dys[0].flatten(0, 1), weights[0])
    for dy, weight in zip(dys[1:], weights[1:], strict=True):
        dx.addmm_(dy.flatten(0, 1), weight)
    return dx.view(*dys[0].shape[:2], -1)


def z_gradient(dys: Sequence[Tensor], bs: Sequence[Tensor]) -> Float[Tensor, "n m r"]:
    """Return dz[i] = dy[i] B[i], side by side; the gradient of A is dz^T x."""
    parts = [torch.bmm(dy, b) for dy, b in zip(dys, bs, strict=True)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


def b_gradient(
    dys: Sequence[Tensor], z: Float[Tensor, "n m r"], bs: Sequence[Tensor]
) -> list[Tensor]:
    """Return the gradients dy[i]^T z[i] of the B."""
    return [torch.bmm(dy.mT, part) for dy, part in zip(dys, _columns(z, bs), strict=True)]


def updated(
    x: Float[Tensor, "n m d_in"],
    weights: Sequence[Tensor],
    updates: Sequence[Float[Tensor, "n _ d_in"]],
) -> list[Tensor]:
    """Return y[i] = x (W[i] + U[i])^T, where each device has its own U and all share the W.

    U is not added to W: in bfloat16 the sum would round away most of a small update.
    """
    return [
        times(x, weight.T).baddbmm_(x, update.mT)
        for weight, update in zip(weights, updates, strict=True)
    ]


def add_update_gradient(
    dx: Float[Tensor, "n m d_in"],
    dys: Sequence[Tensor],
    updates: Sequence[Float[Tensor, "n _ d_in"]],
) -> None:
    """Add sum_i dy[i] U[i] to dx in place; the gradient of U is dy^T x."""
    for dy, update in zip(dys, updates, strict=True):
        dx.baddbmm_(dy, update)


def _columns(z: Tensor, bs: Sequence[Tensor]) -> Sequence[Tensor]:
    return torch.split(z, [b.shape[2] for b in bs], dim=2)


def normalised(
    x: Float[Tensor, "*rows d"], eps: float
) -> tuple[Float[Tensor, "*rows d"], Float[Tensor, "*rows 1"]]:
    """Return y = x / sqrt(mean(x^2) + eps), an RMSNorm without gain, and y / x.

    The mean is taken in float32 or better.
    """
    precise = torch.promote_types(x.dtype, torch.float32)
    size = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=precise)
    inverse = torch.rsqrt(size.square_().div_(x.shape[-1]).add_(eps)).to(x.dtype)
    return x * inverse, inverse


def add_normalised_gradient(
    dx: Float[Tensor, "*rows d"],
    used_dy: Float[Tensor, "*rows d"],
    y: Float[Tensor, "*rows d"],
    inverse: Float[Tensor, "*rows 1"],
) -> None:
    """Add (dy - y mean(dy y)) inverse to dx in place."""
    along = torch.linalg.vecdot(used_dy, y)[..., None].div_(-y.shape[-1])
    dx.addcmul_(used_dy.addcmul_(y, along), inverse)


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """Return silu(gate) * up.

    The backward computes it again, which is faster than to write it to memory and read it.
    """
    return functional.silu(gate).mul_(up)


def swiglu_gradient(used_dy: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of gate and up."""
    d_up = functional.silu(gate).mul_(used_dy)
    d_opened = used_dy.mul_(up)
    torch.ops.aten.silu_backward.grad_input(d_opened, gate, grad_input=d_opened)
    return d_opened, d_up


class Rotation(NamedTuple):
    """Matrices that turn heads, as row vectors, to their positions: one per device and token.

    As a matrix product the rotary embedding is several times faster than elementwise on halves
    of a head, which are too short for vector instructions. `back` turns the gradients of turned
    queries and keys back, and holds the factor 1 / sqrt(size) of the scores.
    """

    to: Float[Tensor, "nt size size"]
    back: Float[Tensor, "nt size size"]
    t: int


def rotation_matrices(
    frequency: Float[Tensor, " half"],
    scaling: float,
    devices_tokens: tuple[int, int],
    dtype: torch.dtype,
) -> Rotation:
    """Return the rotations of so many devices and tokens: x R[t] is x at position t."""
    n, t = devices_tokens
    angle = torch.outer(torch.arange(t).float(), frequency)
    cos = torch.diag_embed(angle.cos() * scaling)
    sin = torch.diag_embed(angle.sin() * scaling)
    to = torch.cat([torch.cat([cos, sin], 2), torch.cat([-sin, cos], 2)], 1)
    back = to.mT * to.shape[1] ** -0.5
    return Rotation(to.to(dtype).repeat(n, 1, 1), back.to(dtype).repeat(n, 1, 1), t)


Attended = tuple[Tensor, Tensor, Tensor]


def attended(
    qk: Float[Tensor, "n m w"], v: Float[Tensor, "n m u"], rotation: Rotation, heads: int
) -> tuple[Float[Tensor, "n m d"], Attended]:
    """Return causal attention with rotary positions, and what its backward reads.

    Eager: at some tens of tokens it is faster than the fused kernels, above all backwards.

    Args:
        qk: Query and key heads side by side; m counts tokens slowest, then sequences.
        v: Value heads.
        rotation: For these devices and tokens.
        heads: Number of query heads.
    """
    n, m, width = qk.shape
    t, size = rotation.t, rotation.to.shape[1]
    turned = torch.bmm(qk.view(n * t, -1, size), rotation.to)
    turned = _by_head(turned.view(n, t, m // t, width // size, size))
    v = _by_head(v.view(n, t, m // t, -1, size))
    q, k, values = _sequences(turned[:heads], turned[heads:], v)
    future = torch.full((t, t), -torch.inf, dtype=qk.dtype).triu_(1)
    attention = torch.softmax(torch.baddbmm(future, q, k.mT, alpha=size**-0.5), dim=-1)
    mixed = torch.bmm(attention, values).view(heads, n, -1, t, size)
    return mixed.permute(1, 3, 2, 0, 4).reshape(n, m, heads * size), (turned, v, attention)


def attended_gradient(
    dy: Float[Tensor, "n m d"], saved: Attended, rotation: Rotation
) -> tuple[Float[Tensor, "n m w"], Float[Tensor, "n m u"]]:
    """Return the gradients of qk and v."""
    turned, v, attention = saved
    kv_heads, n, b, t, size = v.shape
    heads = len(turned) - kv_heads
    q, k, values = _sequences(turned[:heads], turned[heads:], v)
    dy = _by_head(dy.view(n, t, b, heads, size)).view(-1, t, size)
    d_attention = torch.bmm(dy, values.mT)
    d_scores = torch._softmax_backward_data(d_attention, attention, -1, attention.dtype)
    d_turned = dy.new_empty(n, t, b, heads + kv_heads, size)
    by_head = d_turned.permute(3, 0, 2, 1, 4)
    by_head[:heads] = torch.bmm(d_scores, k).view_as(turned[:heads])
    by_head[heads:] = _sum_groups(torch.bmm(d_scores.mT, q), v)
    d_qk = torch.bmm(d_turned.view(n * t, -1, size), rotation.back)
    dv = _sum_groups(torch.bmm(attention.mT, dy), v)
    return d_qk.view(n, t * b, -1), dv.permute(1, 3, 2, 0, 4).reshape(n, t * b, -1)


def _by_head(x: Float[Tensor, "n t b h size"]) -> Float[Tensor, "h n b t size"]:
    return x.permute(3, 0, 2, 1, 4).contiguous()


def _sequences(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return (h, n, b, t, size) as (h * n * b, t, size); shared k and v heads are repeated."""
    group = len(q) // len(k)
    if group > 1:
        k, v = (x.repeat_interleave(group, dim=0) for x in (k, v))
    return q.flatten(0, 2), k.flatten(0, 2), v.flatten(0, 2)


def _sum_groups(x: Tensor, like: Tensor) -> Tensor:
    """Return the sum over the query heads that share a k or v head, in the shape of `like`."""
    x = x.view(len(like), -1, *like.shape[1:])
    return x.squeeze(1) if x.shape[1] == 1 else x.sum(dim=1)
