"""Llama forward pass over one frozen set of weights with a different LoRA adapter per device.

Hidden states are (n, m, d): device, token of any of its sequences, feature. Linear modules that
read the same input are one `Projection`, and each RMSNorm gain is folded into the projections
behind it, so a layer is four matrix products plus their low-rank parts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from engine.adapters import Adapters, Factors, Shapes
from engine.errors import ConfigMismatch

IGNORED_TARGET = -100
Gates = Float[Tensor, "m k"] | dict[str, Float[Tensor, "m k"]]
# Maps the input of a projection to its output; what differs between training, gating and probing.
Project = Callable[["Projection", Tensor], Tensor]


@dataclass(frozen=True)
class Projection:
    """Linear modules that share an input: weights stacked along d_out, norm gain folded in."""

    names: tuple[str, ...]
    widths: tuple[int, ...]
    weight: Float[Tensor, "d_out d_in"]
    gain: Float[Tensor, " d_in"] | None


@dataclass(frozen=True)
class Layer:
    qkv: Projection
    o: Projection
    gate_up: Projection
    down: Projection


@dataclass(frozen=True)
class Backbone:
    """Frozen weights of a Llama as plain tensors of one dtype; the LM head stays in float32.

    The head is float32 because a logit near 10 is rounded by 0.03 in bfloat16, which is the size
    of the loss differences that are of interest.
    """

    embedding: Float[Tensor, "vocab d"]
    layers: tuple[Layer, ...]
    head: Float[Tensor, "vocab d"]
    heads: int
    kv_heads: int
    head_size: int
    norm_eps: float
    rotary_frequency: Float[Tensor, " half"]
    rotary_scaling: float
    dtype: torch.dtype
    shapes: Shapes


def fast_precision() -> Literal["float32", "bfloat16"]:
    """Return the precision in which this machine trains faster.

    bfloat16 products only pay off where the CPU has instructions for them (AVX512-BF16, AMX);
    elsewhere they are emulated and slower than float32.
    """
    supported = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bfloat16" if supported and torch.backends.mkldnn.is_available() else "float32"


def backbone_from_llama(model: Any, dtype: torch.dtype = torch.float32) -> Backbone:
    """Return the weights of a `LlamaForCausalLM` as a backbone that computes in `dtype`.

    Raises:
        ConfigMismatch: The model has biases, another activation than SiLU, or rotary frequencies
            that depend on the sequence length.
    """
    config = model.config
    if config.attention_bias or config.mlp_bias:
        raise ConfigMismatch("the backbone has biases; only Llama models without biases work")
    if config.hidden_act != "silu":
        raise ConfigMismatch(f"the backbone's activation is {config.hidden_act!r}, not 'silu'")
    rotary = model.model.rotary_emb
    if rotary.rope_type in ("dynamic", "longrope"):
        raise ConfigMismatch(
            f"the backbone's rotary type {rotary.rope_type!r} depends on the sequence length"
        )
    shapes = {
        f"layers.{index}.{name}": (linear.out_features, linear.in_features)
        for index, block in enumerate(model.model.layers)
        for name, linear in _linears(block).items()
    }
    return Backbone(
        embedding=model.model.embed_tokens.weight.detach().to(dtype, copy=True),
        layers=tuple(
            _layer(f"layers.{index}.", block, dtype)
            for index, block in enumerate(model.model.layers)
        ),
        head=(model.lm_head.weight * model.model.norm.weight).detach().float(),
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_size=rotary.inv_freq.numel() * 2,
        norm_eps=config.rms_norm_eps,
        rotary_frequency=rotary.inv_freq.detach().float().clone(),
        rotary_scaling=float(rotary.attention_scaling),
        dtype=dtype,
        shapes=shapes,
    )


def forward(
    backbone: Backbone,
    tokens: Int[Tensor, "n b t"],
    adapters: Adapters | None,
    scaling: float,
) -> Float[Tensor, "n b t vocab"]:
    """Return the logits of every device's own sequences under its own adapter.

    Attention is causal and positions count from 0, so padding belongs on the right.

    Args:
        backbone: The frozen model.
        tokens: Token ids; row i is read by device i only.
        adapters: A and B of the same modules for n devices, or None for the frozen model.
        scaling: Factor of B A, alpha / r in LoRA.
    """
    n, b, t = tokens.shape
    project = _base if adapters is None else _per_device(adapters.a, adapters.b, scaling)
    hidden = _hidden(backbone, tokens, project)
    return _logits(backbone, hidden).view(n, b, t, -1)


def fleet_loss(
    backbone: Backbone,
    tokens: Int[Tensor, "n b t"],
    targets: Int[Tensor, "n b t"],
    a: Factors,
    b: Factors,
    scaling: float,
) -> Float[Tensor, " n"]:
    """Return each device's mean cross-entropy over its scored tokens, in float32.

    Args:
        backbone: The frozen model.
        tokens: Token ids; row i is read by device i only.
        targets: Next token of every position, or -100 where none is scored. A device without any
            scored token has loss 0.
        a: Factor A of the adapted modules.
        b: Factor B of the same modules.
        scaling: Factor of B A.
    """
    n = len(tokens)
    hidden = _hidden(backbone, tokens, _per_device(a, b, scaling))
    scored = (targets.flatten() != IGNORED_TARGET).nonzero().squeeze(1)
    device = scored // targets[0].numel()
    logits = _logits(backbone, hidden.flatten(0, 1).index_select(0, scored))
    token_loss = functional.cross_entropy(logits, targets.flatten()[scored], reduction="none")
    total = torch.zeros(n).index_add(0, device, token_loss)
    return total / torch.bincount(device, minlength=n).clamp(min=1)


def forward_experts(
    backbone: Backbone,
    tokens: Int[Tensor, "m t"],
    experts: Adapters,
    gates: Gates,
    scaling: float,
) -> Float[Tensor, "m t vocab"]:
    """Return the logits under a gated sum of experts: y = W0 x + scaling sum_k g[m,k] B_k A_k x.

    Args:
        backbone: The frozen model.
        tokens: Token ids of m sequences.
        experts: Adapters whose leading axis counts the k experts.
        gates: Weight of every expert for every sequence, one table for the whole network or one
            per module.
        scaling: Factor of B A.
    """
    m, t = tokens.shape

    def project(projection: Projection, x: Tensor) -> Tensor:
        x = x.view(m, t, -1)
        parts = []
        for name, base in zip(
            projection.names, (x @ projection.weight.T).split(projection.widths, 2), strict=True
        ):
            if name in experts.a:
                a = _fold_gain(projection, experts.a[name]).to(x.dtype).flatten(0, 1)
                b = (scaling * experts.b[name]).to(x.dtype).movedim(0, 1).flatten(1)
                gate = gates[name] if isinstance(gates, dict) else gates
                gate = gate.to(x.dtype).repeat_interleave(experts.a[name].shape[1], dim=1)
                base = base + (x @ a.T * gate[:, None]) @ b.T
            parts.append(base)
        return torch.cat(parts, dim=2).flatten(0, 1)[None]

    return _logits(backbone, _hidden(backbone, tokens[None], project)).view(m, t, -1)


def prompt_inputs(
    backbone: Backbone, tokens: Int[Tensor, "m t"], prompt_mask: Bool[Tensor, "m t"]
) -> dict[str, Float[Tensor, "m d_in"]]:
    """Return the frozen model's mean input of every module over each sequence's prompt tokens.

    Modules that share an input share the tensor. A sequence without prompt tokens gives zeros.
    """
    m, t = tokens.shape
    share = prompt_mask / prompt_mask.sum(dim=1, keepdim=True).clamp(min=1)
    means: dict[str, Tensor] = {}

    def project(projection: Projection, x: Tensor) -> Tensor:
        mean = torch.einsum("mt,mtd->md", share, x.view(m, t, -1).float())
        mean = _fold_gain(projection, mean)
        means.update(dict.fromkeys(projection.names, mean))
        return _base(projection, x)

    with torch.no_grad():
        _hidden(backbone, tokens[None], project)
    return means


# The network: every public function above is this walk with another `project`.


def _hidden(backbone: Backbone, tokens: Int[Tensor, "n b t"], project: Project) -> Tensor:
    n, b, t = tokens.shape
    cos, sin = _rotary(backbone, t)
    x = functional.embedding(tokens.view(n, b * t), backbone.embedding)
    for layer in backbone.layers:
        qkv = project(layer.qkv, _Normalise.apply(x, backbone.norm_eps))
        mixed = _Attention.apply(qkv, t, backbone.heads, backbone.kv_heads, cos, sin)
        x = x + project(layer.o, mixed)
        gate_up = project(layer.gate_up, _Normalise.apply(x, backbone.norm_eps))
        x = x + project(layer.down, _SwiGlu.apply(gate_up))
    return x


def _logits(backbone: Backbone, hidden: Tensor) -> Tensor:
    return cast(Tensor, _Normalise.apply(hidden.float(), backbone.norm_eps)) @ backbone.head.T


def _rotary(backbone: Backbone, t: int) -> tuple[Tensor, Tensor]:
    angle = torch.outer(torch.arange(t).float(), backbone.rotary_frequency)
    scaling = backbone.rotary_scaling
    return (angle.cos() * scaling).to(backbone.dtype), (angle.sin() * scaling).to(backbone.dtype)


# Ways to project.


def _base(projection: Projection, x: Tensor) -> Tensor:
    return x @ projection.weight.T


def _per_device(a: Factors, b: Factors, scaling: float) -> Project:
    def project(projection: Projection, x: Tensor) -> Tensor:
        adapted = [name for name in projection.names if name in a]
        if not adapted:
            return _base(projection, x)
        factors = [a[name] for name in adapted] + [b[name] for name in adapted]
        return cast(Tensor, _AdaptedProjection.apply(x, projection, adapted, scaling, *factors))

    return project


def _fold_gain(projection: Projection, rows: Tensor) -> Tensor:
    return rows if projection.gain is None else rows * projection.gain


# Differentiable steps with their backward written out: the weights are frozen, so a backward needs
# no weight gradients, and few passes over memory are what makes a small model fast on a CPU.


class _AdaptedProjection(torch.autograd.Function):
    """y = x W0^T + scaling (x A^T) B^T, with the low-rank parts of all modules in one product.

    A of the modules are stacked along the rank, B are the blocks of a block-diagonal matrix.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        projection: Projection,
        adapted: list[str],
        scaling: float,
        *factors: Tensor,
    ) -> Tensor:
        a = torch.cat(factors[: len(adapted)], dim=1)
        a = _fold_gain(projection, a).to(x.dtype)
        ranks = [factor.shape[1] for factor in factors[: len(adapted)]]
        b = x.new_zeros(len(x), projection.weight.shape[0], a.shape[1])
        blocks = _blocks(projection, adapted, ranks)
        for (rows, columns), factor in zip(blocks, factors[len(adapted) :], strict=True):
            torch.mul(factor, scaling, out=b[:, rows, columns])
        z = torch.bmm(x, a.mT)
        y = torch.mm(x.flatten(0, 1), projection.weight.T).view(*x.shape[:2], -1)
        y.baddbmm_(z, b.mT)
        ctx.save_for_backward(x, a, b, z)
        ctx.projection, ctx.blocks, ctx.scaling = projection, blocks, scaling
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
        x, a, b, z = ctx.saved_tensors
        modules = len(ctx.blocks)
        needs_a = ctx.needs_input_grad[4 : 4 + modules]
        needs_b = ctx.needs_input_grad[4 + modules :]
        dx, da, db = None, [None] * modules, [None] * modules
        if ctx.needs_input_grad[0] or any(needs_a):
            dz = torch.bmm(dy, b)
        if ctx.needs_input_grad[0]:
            dx = torch.mm(dy.flatten(0, 1), ctx.projection.weight).view_as(x).baddbmm_(dz, a)
        if any(needs_a):
            joined = _fold_gain(ctx.projection, torch.bmm(dz.mT, x))
            da = [joined[:, columns] for _, columns in ctx.blocks]
        if any(needs_b):
            joined = torch.bmm(dy.mT, z)
            db = [joined[:, rows, columns] * ctx.scaling for rows, columns in ctx.blocks]
        return dx, None, None, None, *da, *db


def _blocks(
    projection: Projection, adapted: list[str], ranks: list[int]
) -> list[tuple[slice, slice]]:
    """Return where the B of every adapted module lies in the block-diagonal B of the projection."""
    starts = dict(zip(projection.names, _starts(projection.widths), strict=True))
    width = dict(zip(projection.names, projection.widths, strict=True))
    return [
        (slice(starts[name], starts[name] + width[name]), slice(column, column + rank))
        for name, column, rank in zip(adapted, _starts(ranks), ranks, strict=True)
    ]


def _starts(sizes: list[int] | tuple[int, ...]) -> list[int]:
    return [sum(sizes[:index]) for index in range(len(sizes))]


class _Normalise(torch.autograd.Function):
    """RMSNorm without gain: y = x / sqrt(mean(x^2) + eps), the mean taken in float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=_at_least_float32(x))
        inverse = torch.rsqrt(size.square() / x.shape[-1] + eps).to(x.dtype)
        y = x * inverse
        ctx.save_for_backward(y, inverse)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        y, inverse = ctx.saved_tensors
        along = torch.mean(dy * y, dim=-1, keepdim=True)
        return torch.addcmul(dy, y, along, value=-1).mul_(inverse), None


class _SwiGlu(torch.autograd.Function):
    """y = silu(gate) * up, where the input holds gate and up side by side."""

    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        gate, up = gate_up.chunk(2, dim=-1)
        opened = functional.silu(gate)
        ctx.save_for_backward(gate_up, opened)
        return opened * up

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        gate_up, opened = ctx.saved_tensors
        gate, up = gate_up.chunk(2, dim=-1)
        d_gate_up = torch.empty_like(gate_up)
        d_gate, d_up = d_gate_up.chunk(2, dim=-1)
        torch.mul(dy, opened, out=d_up)
        torch.ops.aten.silu_backward.grad_input(dy * up, gate, grad_input=d_gate)
        return d_gate_up


class _Attention(torch.autograd.Function):
    """Causal attention with rotary positions, eager: at some tens of tokens it is the fastest.

    Works on (head, sequence, token, head_size), so that q, k and v are contiguous slices.
    """

    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, t: int, heads: int, kv_heads: int, cos: Tensor, sin: Tensor
    ) -> Tensor:
        size = 2 * cos.shape[-1]
        by_token = qkv.view(-1, t, heads + 2 * kv_heads, size).permute(2, 0, 1, 3)
        rotated = torch.empty_like(by_token, memory_format=torch.contiguous_format)
        _rotate(by_token[:-kv_heads], cos, sin, out=rotated[:-kv_heads])
        rotated[-kv_heads:].copy_(by_token[-kv_heads:])
        q, k, v = _split_heads(rotated, heads, kv_heads)
        future = torch.full((t, t), -torch.inf, dtype=qkv.dtype).triu_(1)
        scores = torch.baddbmm(future, q, k.mT, alpha=size**-0.5)
        attention = torch.softmax(scores, dim=-1)
        mixed = torch.bmm(attention, v).view(heads, -1, t, size)
        ctx.save_for_backward(rotated, attention, cos, sin)
        ctx.heads, ctx.kv_heads, ctx.shape = heads, kv_heads, qkv.shape
        return mixed.permute(1, 2, 0, 3).reshape(*qkv.shape[:2], heads * size)

    @staticmethod
    def backward(ctx: Any, d_mixed: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        rotated, attention, cos, sin = ctx.saved_tensors
        heads, kv_heads = ctx.heads, ctx.kv_heads
        _, sequences, t, size = rotated.shape
        q, k, v = _split_heads(rotated, heads, kv_heads)
        d_mixed = d_mixed.view(sequences, t, heads, size).permute(2, 0, 1, 3).reshape(-1, t, size)
        d_attention = torch.bmm(d_mixed, v.mT)
        d_scores = torch._softmax_backward_data(d_attention, attention, -1, attention.dtype)
        d_scores *= size**-0.5
        d_rotated = torch.empty_like(rotated)
        torch.bmm(d_scores, k, out=d_rotated[:heads].view(-1, t, size))
        _sum_groups(torch.bmm(d_scores.mT, q), d_rotated[heads:-kv_heads])
        _sum_groups(torch.bmm(attention.mT, d_mixed), d_rotated[-kv_heads:])
        d_qkv = torch.empty(
            sequences, t, heads + 2 * kv_heads, size, dtype=rotated.dtype
        )
        by_token = d_qkv.permute(2, 0, 1, 3)
        _rotate(d_rotated[:-kv_heads], cos, -sin, out=by_token[:-kv_heads])
        by_token[-kv_heads:].copy_(d_rotated[-kv_heads:])
        return d_qkv.view(*ctx.shape), None, None, None, None, None


def _rotate(x: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
    """Turn each pair (x[i], x[i + size/2]) by its angle; -sin turns back."""
    first, second = x.chunk(2, dim=-1)
    out_first, out_second = out.chunk(2, dim=-1)
    torch.mul(first, cos, out=out_first).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=out_second).addcmul_(first, sin)


def _split_heads(x: Tensor, heads: int, kv_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return q, k, v as (head * sequence, t, size); shared k and v heads are repeated."""
    q, k, v = x.split([heads, kv_heads, kv_heads])
    group = heads // kv_heads
    return (
        q.flatten(0, 1),
        k.repeat_interleave(group, dim=0).flatten(0, 1) if group > 1 else k.flatten(0, 1),
        v.repeat_interleave(group, dim=0).flatten(0, 1) if group > 1 else v.flatten(0, 1),
    )


def _sum_groups(x: Tensor, out: Tensor) -> None:
    """Write the sum over the query heads that share a k or v head."""
    torch.sum(x.view(len(out), -1, *out.shape[1:]), dim=1, out=out)


def _at_least_float32(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


# Reading a transformers model.


def _linears(block: Any) -> dict[str, Any]:
    attention, mlp = block.self_attn, block.mlp
    return {
        "q_proj": attention.q_proj,
        "k_proj": attention.k_proj,
        "v_proj": attention.v_proj,
        "o_proj": attention.o_proj,
        "gate_proj": mlp.gate_proj,
        "up_proj": mlp.up_proj,
        "down_proj": mlp.down_proj,
    }


def _layer(prefix: str, block: Any, dtype: torch.dtype) -> Layer:
    linears = _linears(block)

    def projection(*names: str, gain: Tensor | None = None) -> Projection:
        weight = torch.cat([linears[name].weight.detach().float() for name in names])
        return Projection(
            names=tuple(prefix + name for name in names),
            widths=tuple(linears[name].out_features for name in names),
            weight=(weight if gain is None else weight * gain).to(dtype),
            gain=gain,
        )

    before_attention = block.input_layernorm.weight.detach().float().clone()
    before_mlp = block.post_attention_layernorm.weight.detach().float().clone()
    return Layer(
        qkv=projection("q_proj", "k_proj", "v_proj", gain=before_attention),
        o=projection("o_proj"),
        gate_up=projection("gate_proj", "up_proj", gain=before_mlp),
        down=projection("down_proj"),
    )
