"""The frozen weights of a Llama, and how they are read.

Linear modules that read the same input are one `Projection`, and each RMSNorm gain is folded into
the projections behind it, so a layer is four matrix products plus their low-rank parts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from meshtune.engine.adapters.stack import Shapes
from meshtune.engine.backbone.steps import (
    times,
)
from meshtune.engine.errors import ConfigMismatch


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
        head=(head.float() * weights["model.norm.weight"].float()).detach(),
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


def fold_gain(projection: Projection, rows: Tensor) -> Tensor:
    return rows if projection.gain is None else rows * projection.gain


def frozen_outputs(projection: Projection, x: Tensor) -> Sequence[Tensor]:
    return [times(x, product.weight.T) for product in projection.products]


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
