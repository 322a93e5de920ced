"""Llama forward pass over one frozen set of weights with a different LoRA adapter per device.

Hidden states are (n, m, d): device, token of any of its sequences, feature. Linear modules that
read the same input are one `Projection`, and each RMSNorm gain is folded into the projections
behind it, so a layer is four matrix products plus their low-rank parts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from meshtune.engine.adapters.stack import Adapters, Factor, Factors, Shapes
from meshtune.engine.backbone.steps import (
    Attended,
    Rotation,
    adapted,
    add_normalised_gradient,
    add_update_gradient,
    attended,
    attended_gradient,
    b_gradient,
    base_input_gradient,
    normalised,
    rotation_matrices,
    swiglu,
    swiglu_gradient,
    times,
    updated,
    z_gradient,
)
from meshtune.engine.errors import ConfigMismatch

IGNORED_TARGET = -100
# Weights of k experts by module, from the input of the named modules, which they share.
TokenGate = Callable[[tuple[str, ...], Float[Tensor, "s d_in"]], dict[str, Float[Tensor, "s k"]]]
Gates = Float[Tensor, "m k"] | dict[str, Float[Tensor, "m k"]] | TokenGate
# Maps the input of a projection to the outputs of its products; this is what differs between
# training, gating and probing.
Project = Callable[["Projection", Tensor], Sequence[Tensor]]


@dataclass(frozen=True)
class Product:
    """Linear modules whose outputs are wanted side by side: weights stacked along d_out."""

    names: tuple[str, ...]
    widths: tuple[int, ...]
    weight: Float[Tensor, "d_out d_in"]


@dataclass(frozen=True)
class Projection:
    """All linear modules that read one input; the gain of the norm before is in their weights."""

    products: tuple[Product, ...]
    gain: Float[Tensor, " d_in"] | None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for product in self.products for name in product.names)

    @property
    def weights(self) -> list[Tensor]:
        return [product.weight for product in self.products]


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


@dataclass(frozen=True)
class LlamaFacts:
    """What the weights of a Llama do not say."""

    layers: int
    heads: int
    kv_heads: int
    norm_eps: float
    rotary_frequency: Float[Tensor, " half"]
    rotary_scaling: float


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
    facts = LlamaFacts(
        layers=len(model.model.layers),
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        norm_eps=config.rms_norm_eps,
        rotary_frequency=rotary.inv_freq.detach().float().clone(),
        rotary_scaling=float(rotary.attention_scaling),
    )
    return backbone_from_weights(model.state_dict(), facts, dtype)


def backbone_from_weights(
    weights: Mapping[str, Tensor], facts: LlamaFacts, dtype: torch.dtype
) -> Backbone:
    """Return the weights of a Llama, named as transformers names them, as a backbone.

    Where `lm_head.weight` is missing the head is tied to the embedding.
    """
    embedding = weights["model.embed_tokens.weight"]
    head = weights.get("lm_head.weight", embedding)
    blocks = range(facts.layers)
    return Backbone(
        embedding=embedding.detach().to(dtype, copy=True),
        layers=tuple(_layer(index, weights, dtype) for index in blocks),
        head=(head * weights["model.norm.weight"]).detach().float(),
        heads=facts.heads,
        kv_heads=facts.kv_heads,
        head_size=facts.rotary_frequency.numel() * 2,
        norm_eps=facts.norm_eps,
        rotary_frequency=facts.rotary_frequency,
        rotary_scaling=facts.rotary_scaling,
        dtype=dtype,
        shapes={
            f"layers.{index}.{name}": (weight.shape[0], weight.shape[1])
            for index in blocks
            for name, weight in _linears(index, weights).items()
        },
    )


def forward(
    backbone: Backbone,
    tokens: Int[Tensor, "n b t"],
    adapters: Adapters | None,
    scaling: float,
    places: Int[Tensor, "n b s"] | None = None,
) -> Float[Tensor, "n b s vocab"]:
    """Return the logits of every device's own sequences under its own adapter.

    Attention is causal and positions count from 0, so padding belongs on the right.

    Args:
        backbone: The frozen model.
        tokens: Token ids; row i is read by device i only.
        adapters: A and B of the same modules for n devices, or None for the frozen model.
        scaling: Factor of B A, alpha / r in LoRA.
        places: The s tokens of each sequence whose logits are wanted, all (s = t) if None.
    """
    s = tokens.shape[2] if places is None else places.shape[2]
    project = _base if adapters is None else _Adapted(adapters.a, adapters.b, scaling)
    wanted = None if places is None else _Scored.at(places, tokens.shape[2])
    hidden = _hidden(backbone, tokens, project, _rotation(backbone, tokens), wanted)
    return _by_sequence(_logits(backbone, hidden), s)


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
    scored = _Scored.of(targets)
    rotation = _rotation(backbone, tokens)
    hidden = _hidden(backbone, tokens, _Adapted(a, b, scaling), rotation, scored)
    return _loss_and_slope(backbone, hidden, scored)[0]


def fleet_gradient(
    backbone: Backbone,
    tokens: Int[Tensor, "n b t"],
    targets: Int[Tensor, "n b t"],
    a: Factors,
    b: Factors,
    scaling: float,
    *,
    trained: frozenset[Factor],
) -> tuple[Float[Tensor, " n"], dict[Factor, Factors]]:
    """Return `fleet_loss` and the gradient of each device's loss for the trained factors."""
    scored = _Scored.of(targets)
    rotation = _rotation(backbone, tokens)
    project = _Adapted(a, b, scaling, trained)
    traces: list[_Trace] = []
    hidden = _hidden(backbone, tokens, project, rotation, scored, traces)
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


@dataclass(frozen=True)
class TopRanks:
    """How many coordinates of z = concat_k g_k A_k x are kept, in all or within each expert."""

    count: int
    over: Literal["all", "expert"] = "all"


def forward_experts(
    backbone: Backbone,
    tokens: Int[Tensor, "m t"],
    experts: Adapters,
    gates: Gates,
    scaling: float,
    *,
    top_ranks: TopRanks | None = None,
    places: Int[Tensor, "m s"] | None = None,
) -> Float[Tensor, "m s vocab"]:
    """Return the logits under a gated sum of experts: y = W0 x + scaling sum_k B_k top(g_k A_k x).

    Args:
        backbone: The frozen model.
        tokens: Token ids of m sequences.
        experts: Low-rank adapters whose leading axis counts the k experts.
        gates: Weight of every expert for every sequence, one table for the whole network or one
            per module; or a function that weighs anew for every token, from the input that
            modules read in the model as published.
        scaling: Factor of B A.
        top_ranks: Keeps the largest absolute values of z = g A x of a token and module and sets
            the others to zero (arXiv 2602.20492, Eq. 29); all are kept if None.
        places: The s tokens of each sequence whose logits are wanted, all (s = t) if None.

    Raises:
        ConfigMismatch: An expert updates weights in full, so it has no A x to gate.
    """
    t = tokens.shape[1]
    if experts.a.keys() != experts.b.keys():
        raise ConfigMismatch("experts that update weights in full cannot be blended; pick one")

    def project(projection: Projection, x: Tensor) -> Sequence[Tensor]:
        ys = _base(projection, x)
        names = tuple(name for name in projection.names if name in experts.a)
        weights = _gate_weights(projection, names, gates, x)
        zs = _expert_inputs(projection, names, experts, x)
        for product, y in zip(projection.products, ys, strict=True):
            parts = y[0].split(product.widths, dim=1)
            for name, part in zip(product.names, parts, strict=True):
                if name in zs:
                    z = _gated(zs[name], weights[name], top_ranks)
                    b = (scaling * experts.b[name]).to(x.dtype)
                    part.addmm_(z, b.movedim(0, 1).flatten(1).T)
        return ys

    # A gate that sees tokens sees those before the answer in the last layer as well.
    early = None if places is None or callable(gates) else _Scored.at(places[None], t)
    hidden = _hidden(backbone, tokens[None], project, _rotation(backbone, tokens[None]), early)
    if places is not None and early is None:
        hidden = _Scored.at(places[None], t).take(hidden)
    return _by_sequence(_logits(backbone, hidden), t if places is None else places.shape[1])[0]


def _gate_weights(
    projection: Projection, names: tuple[str, ...], gates: Gates, x: Float[Tensor, "1 rows d_in"]
) -> dict[str, Float[Tensor, "_ k"]]:
    """Weights per module: a line per token, or per sequence, which count fastest."""
    if callable(gates):
        return gates(names, _fold_gain(projection, x[0].float()))
    return {name: gates[name] if isinstance(gates, dict) else gates for name in names}


def _expert_inputs(
    projection: Projection, names: tuple[str, ...], experts: Adapters, x: Tensor
) -> dict[str, Float[Tensor, "rows k r"]]:
    """Return z = A_k x of all experts for each module, computed as one product."""
    if not names:
        return {}
    joined = torch.cat([experts.a[name].flatten(0, 1) for name in names])
    z = x[0] @ _fold_gain(projection, joined).to(x.dtype).T
    sizes = [experts.a[name].shape[:2] for name in names]
    parts = z.split([size.numel() for size in sizes], dim=1)
    return {
        name: part.unflatten(1, size) for name, part, size in zip(names, parts, sizes, strict=True)
    }


def _gated(
    z: Float[Tensor, "rows k r"], weights: Float[Tensor, "_ k"], top_ranks: TopRanks | None
) -> Float[Tensor, "rows kr"]:
    """Return g A x, with the smaller coordinates at zero if so wanted."""
    rows, k, r = z.shape
    z = (z.view(-1, len(weights), k, r) * weights.to(z.dtype)[:, :, None]).view(rows, k * r)
    if top_ranks is None:
        return z
    if top_ranks.over == "all":
        return largest_kept(z, top_ranks.count)
    return largest_kept(z.view(rows * k, r), top_ranks.count).view(rows, k * r)


def largest_kept(z: Float[Tensor, "rows c"], count: int) -> Float[Tensor, "rows c"]:
    """Return z with all but the `count` largest absolute values of each row at zero.

    Ties go to the first.
    """
    if count >= z.shape[1]:
        return z
    size = z.abs()
    least = size.topk(count, dim=1).values[:, -1:]
    above, tied = size > least, size == least
    room = count - above.sum(dim=1, keepdim=True)
    return z * (above | (tied & (tied.cumsum(dim=1) <= room)))


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
        mean = _fold_gain(projection, mean)
        means.update(dict.fromkeys(projection.names, mean))
        return _base(projection, x)

    with torch.no_grad():
        _hidden(backbone, tokens[None], project, _rotation(backbone, tokens[None]))
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
        own = _fold_gain(projection, x.view(t, m, -1).transpose(0, 1).float())
        seen.update(dict.fromkeys(projection.names, own))
        return _base(projection, x)

    with torch.no_grad():
        _hidden(backbone, tokens[None], project, _rotation(backbone, tokens[None]))
    return seen


# The network: every public function above is this walk with another `project`.


@dataclass(frozen=True)
class _Trace:
    """What the backward of a layer reads."""

    attention_input: Tensor
    attention_inverse: Tensor
    attended: Attended
    mlp_input: Tensor
    mlp_inverse: Tensor
    gate: Tensor
    up: Tensor


@dataclass(frozen=True)
class _Scored:
    """The tokens whose hidden states count: past the last attention the others are dropped.

    `rows` are positions in (n * m) and `targets` theirs. A device with fewer scored tokens than
    another fills up with unscored ones, whose target is -100. `m` is the number of tokens.
    """

    rows: Int[Tensor, "n s"]
    targets: Int[Tensor, "n s"]
    m: int

    @staticmethod
    def of(targets: Int[Tensor, "n b t"]) -> "_Scored":
        wanted = targets.transpose(1, 2).flatten(1)
        n, m = wanted.shape
        scored = wanted != IGNORED_TARGET
        most = max(1, int(scored.sum(dim=1).max()))
        column = scored.byte().argsort(dim=1, descending=True, stable=True)[:, :most]
        return _Scored(column + m * torch.arange(n)[:, None], wanted.gather(1, column), m)

    @staticmethod
    def at(places: Int[Tensor, "n b s"], t: int) -> "_Scored":
        """The tokens at `places` of b sequences of length t: tokens slowest, then sequences."""
        n, b, _ = places.shape
        rows = (places * b + torch.arange(b)[:, None]).transpose(1, 2).flatten(1)
        m = t * b
        none = torch.full_like(rows, IGNORED_TARGET)
        return _Scored(rows + m * torch.arange(n)[:, None], none, m)

    def take(self, x: Float[Tensor, "n m d"]) -> Float[Tensor, "n s d"]:
        rows = x.flatten(0, 1).index_select(0, self.rows.flatten())
        return rows.view(*self.rows.shape, -1)

    def put_back(self, dx: Float[Tensor, "n s d"]) -> Float[Tensor, "n m d"]:
        """Return the gradient of what `take` was given."""
        n, _, d = dx.shape
        full = dx.new_zeros(n * self.m, d)
        return full.index_copy_(0, self.rows.flatten(), dx.flatten(0, 1)).view(n, self.m, d)


def _hidden(
    backbone: Backbone,
    tokens: Int[Tensor, "n b t"],
    project: Project,
    rotation: Rotation,
    scored: _Scored | None = None,
    traces: list[_Trace] | None = None,
) -> Float[Tensor, "n s d"]:
    """Return the last hidden states of the scored tokens, or of all if that is None.

    All are (n, t * b, d): tokens count slowest, then sequences.
    """
    x = functional.embedding(tokens.transpose(1, 2).flatten(1), backbone.embedding)
    for layer in backbone.layers:
        attention_input, attention_inverse = normalised(x, backbone.norm_eps)
        qk, v = project(layer.qkv, attention_input)
        mixed, saved = attended(qk, v, rotation, backbone.heads)
        if scored is not None and layer is backbone.layers[-1]:
            mixed, x = scored.take(mixed), scored.take(x)
        x = project(layer.o, mixed)[0].add_(x)
        mlp_input, mlp_inverse = normalised(x, backbone.norm_eps)
        gate, up = project(layer.gate_up, mlp_input)
        x = project(layer.down, swiglu(gate, up))[0].add_(x)
        if traces is not None:
            traces.append(
                _Trace(
                    attention_input,
                    attention_inverse,
                    saved,
                    mlp_input,
                    mlp_inverse,
                    gate,
                    up,
                )
            )
    return x


def _logits(backbone: Backbone, hidden: Tensor) -> Tensor:
    return normalised(hidden.float(), backbone.norm_eps)[0] @ backbone.head.T


def _loss_and_slope(
    backbone: Backbone, hidden: Float[Tensor, "n s d"], scored: _Scored
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


def _by_sequence(x: Tensor, t: int) -> Float[Tensor, "n b t d"]:
    """Return (n, t * b, d) with the sequences apart."""
    return x.view(len(x), t, -1, x.shape[-1]).transpose(1, 2)


def _rotation(backbone: Backbone, tokens: Int[Tensor, "n b t"]) -> Rotation:
    n, _, t = tokens.shape
    return rotation_matrices(
        backbone.rotary_frequency, backbone.rotary_scaling, (n, t), backbone.dtype
    )


def _fold_gain(projection: Projection, rows: Tensor) -> Tensor:
    return rows if projection.gain is None else rows * projection.gain


# Ways to project.


def _base(projection: Projection, x: Tensor) -> Sequence[Tensor]:
    return [times(x, product.weight.T) for product in projection.products]


@dataclass(frozen=True)
class _LowRank:
    """Adapters of a projection: A stacked along the rank, one block-diagonal B per product.

    `scale` is in A already: scaling the smallest of all operands scales outputs and gradients.
    `blocks` are (module, rows, columns) of each product's B.
    """

    a: Float[Tensor, "n ranks d_in"]
    bs: list[Float[Tensor, "n _ _"]]
    scale: float | Float[Tensor, " d_in"]
    blocks: list[list[tuple[str, slice, slice]]]

    @staticmethod
    def of(projection: Projection, a: Factors, b: Factors, scaling: float) -> "_LowRank":
        scale = scaling if projection.gain is None else scaling * projection.gain
        joined_a = torch.cat([a[name] for name in projection.names if name in a], dim=1) * scale
        dtype = projection.products[0].weight.dtype
        blocks = [_blocks(product, a) for product in projection.products]
        bs = [
            _block_diagonal(product, parts, b).to(dtype)
            for product, parts in zip(projection.products, blocks, strict=True)
        ]
        return _LowRank(joined_a.to(dtype), bs, scale, blocks)


def _blocks(product: Product, a: Factors) -> list[tuple[str, slice, slice]]:
    parts = []
    row = column = 0
    for name, width in zip(product.names, product.widths, strict=True):
        if name in a:
            rank = a[name].shape[1]
            parts.append((name, slice(row, row + width), slice(column, column + rank)))
            column += rank
        row += width
    return parts


def _block_diagonal(
    product: Product, parts: list[tuple[str, slice, slice]], b: Factors
) -> Float[Tensor, "n d_out r"]:
    if len(product.names) == 1 and parts:
        return b[product.names[0]]
    n = len(next(iter(b.values())))
    joined = product.weight.new_zeros(
        n, len(product.weight), sum(b[x].shape[2] for x, _, _ in parts)
    )
    for name, rows, columns in parts:
        joined[:, rows, columns] = b[name]
    return joined


def _full_updates(projection: Projection, b: Factors) -> list[Float[Tensor, "n _ d_in"]]:
    """Return the update of each product's weight, for modules whose adapter has no A."""
    dtype = projection.products[0].weight.dtype
    return [
        _fold_gain(projection, torch.cat([b[name] for name in product.names], dim=1)).to(dtype)
        for product in projection.products
    ]


class _Adapted:
    """Projects with one adapter per device; for training, collects the gradient on the way back.

    A module with a B but no A is updated in full (`Adapters`): then all modules that read the same
    input are. Their gradient is that of B; there is no A to train.

    A `backward` takes the gradients of the outputs of the last call with the same projection.
    """

    def __init__(
        self,
        a: Factors,
        b: Factors,
        scaling: float,
        trained: frozenset[Factor] = frozenset(),
    ) -> None:
        self.a, self.b, self.scaling, self.trained = a, b, scaling, trained
        self.saved: dict[tuple[str, ...], tuple[Tensor, Tensor, _LowRank]] = {}
        self.updated: dict[tuple[str, ...], tuple[Tensor, list[Tensor]]] = {}
        self.gradient: dict[Factor, Factors] = {kind: {} for kind in sorted(trained)}

    def __call__(self, projection: Projection, x: Tensor) -> Sequence[Tensor]:
        if not any(name in self.b for name in projection.names):
            return _base(projection, x)
        if projection.names[0] not in self.a and projection.names[0] in self.b:
            updates = _full_updates(projection, self.b)
            if self.trained:
                self.updated[projection.names] = x, updates
            return updated(x, projection.weights, updates)
        low_rank = _LowRank.of(projection, self.a, self.b, self.scaling)
        ys, z = adapted(x, projection.weights, low_rank.a, low_rank.bs)
        if self.trained:
            self.saved[projection.names] = x, z, low_rank
        return ys

    def backward(self, projection: Projection, *dys: Tensor) -> Tensor:
        """Return the gradient of the projection's input."""
        dx = base_input_gradient(dys, projection.weights)
        if projection.names in self.updated:
            add_update_gradient(dx, dys, self.updated[projection.names][1])
            self.backward_factors(projection, *dys)
            return dx
        if projection.names not in self.saved:
            return dx
        a = self.saved[projection.names][2].a
        return dx.baddbmm_(self.backward_factors(projection, *dys), a)

    def backward_factors(self, projection: Projection, *dys: Tensor) -> Tensor:
        """Collect the gradients of the factors and return that of z = x A^T (empty without A)."""
        if projection.names in self.updated:
            self._collect_updates(projection, *dys)
        if projection.names not in self.saved:
            return dys[0].new_zeros(*dys[0].shape[:2], 0)
        x, z, low_rank = self.saved.pop(projection.names)
        dz = z_gradient(dys, low_rank.bs)
        if "a" in self.trained:
            names = [name for blocks in low_rank.blocks for name, _, _ in blocks]
            joined = torch.bmm(dz.mT, x) * low_rank.scale
            ranks = [self.a[name].shape[1] for name in names]
            self.gradient["a"].update(zip(names, joined.split(ranks, dim=1), strict=True))
        if "b" in self.trained:
            for db, blocks in zip(b_gradient(dys, z, low_rank.bs), low_rank.blocks, strict=True):
                for name, rows, columns in blocks:
                    self.gradient["b"][name] = db[:, rows, columns]
        return dz

    def _collect_updates(self, projection: Projection, *dys: Tensor) -> None:
        x, _ = self.updated.pop(projection.names)
        for product, dy in zip(projection.products, dys, strict=True):
            joined = _fold_gain(projection, torch.bmm(dy.mT, x))
            parts = joined.split(product.widths, dim=1)
            self.gradient["b"].update(zip(product.names, parts, strict=True))


# Reading the weights of a Llama.

MODULES = {
    "q_proj": "self_attn",
    "k_proj": "self_attn",
    "v_proj": "self_attn",
    "o_proj": "self_attn",
    "gate_proj": "mlp",
    "up_proj": "mlp",
    "down_proj": "mlp",
}


def _linears(index: int, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: weights[f"model.layers.{index}.{part}.{name}.weight"]
        for name, part in MODULES.items()
    }


def _layer(index: int, weights: Mapping[str, Tensor], dtype: torch.dtype) -> Layer:
    linears = _linears(index, weights)

    def projection(*products: tuple[str, ...], norm: str | None = None) -> Projection:
        gain = None
        if norm is not None:
            gain = weights[f"model.layers.{index}.{norm}.weight"].detach().float().clone()

        def product(names: tuple[str, ...]) -> Product:
            weight = torch.cat([linears[name].detach().float() for name in names])
            return Product(
                names=tuple(f"layers.{index}.{name}" for name in names),
                widths=tuple(linears[name].shape[0] for name in names),
                weight=(weight if gain is None else weight * gain).to(dtype),
            )

        return Projection(tuple(product(names) for names in products), gain)

    return Layer(
        qkv=projection(("q_proj", "k_proj"), ("v_proj",), norm="input_layernorm"),
        o=projection(("o_proj",)),
        gate_up=projection(("gate_proj",), ("up_proj",), norm="post_attention_layernorm"),
        down=projection(("down_proj",)),
    )
