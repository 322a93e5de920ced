"""A Llama as a backbone: the hand-written way through its layers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from meshtune.engine.adapters.stack import Adapters, Factor, Factors
from meshtune.engine.backbone import reading
from meshtune.engine.backbone.base import Gates, TopRanks
from meshtune.engine.backbone.experts import forward_experts
from meshtune.engine.backbone.forward import fleet_gradient, forward
from meshtune.engine.backbone.model import Layer, LlamaWeights, Product, Projection
from meshtune.engine.errors import ConfigMismatch


@dataclass(frozen=True)
class Llama(LlamaWeights):
    """The weights, and all that a `Backbone` does with them."""

    def gradient(
        self,
        tokens: Int[Tensor, "n b t"],
        targets: Int[Tensor, "n b t"],
        a: Factors,
        b: Factors,
        scaling: float,
        *,
        trained: frozenset[Factor],
    ) -> tuple[Float[Tensor, " n"], dict[Factor, Factors]]:
        return fleet_gradient(self, tokens, targets, a, b, scaling, trained=trained)

    def logits(
        self,
        tokens: Int[Tensor, "n b t"],
        adapters: Adapters | None,
        scaling: float,
        places: Int[Tensor, "n b s"] | None = None,
    ) -> Float[Tensor, "n b s vocab"]:
        return forward(self, tokens, adapters, scaling, places)

    def blended(
        self,
        tokens: Int[Tensor, "m t"],
        experts: Adapters,
        gates: Gates,
        scaling: float,
        *,
        top_ranks: TopRanks | None = None,
        places: Int[Tensor, "m s"] | None = None,
    ) -> Float[Tensor, "m s vocab"]:
        return forward_experts(
            self, tokens, experts, gates, scaling, top_ranks=top_ranks, places=places
        )

    def prompt_inputs(
        self, tokens: Int[Tensor, "m t"], prompt_mask: Bool[Tensor, "m t"]
    ) -> dict[str, Float[Tensor, "m d_in"]]:
        return reading.prompt_inputs(self, tokens, prompt_mask)

    def layer_inputs(self, tokens: Int[Tensor, "m t"]) -> dict[str, Float[Tensor, "m t d_in"]]:
        return reading.layer_inputs(self, tokens)

    def frozen_weights(self) -> Iterator[tuple[str, Float[Tensor, "d_out d_in"]]]:
        return reading.frozen_weights(self)


@dataclass(frozen=True)
class LlamaFacts:
    """What the weights of a Llama do not say."""

    layers: int
    heads: int
    kv_heads: int
    norm_eps: float
    rotary_frequency: Float[Tensor, " half"]
    rotary_scaling: float


def backbone_from_llama(model: Any, dtype: torch.dtype = torch.float32) -> Llama:
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
) -> Llama:
    """Return the weights of a Llama, named as transformers names them, as a backbone.

    Where `lm_head.weight` is missing the head is tied to the embedding.
    """
    embedding = weights["model.embed_tokens.weight"]
    head = weights.get("lm_head.weight", embedding)
    blocks = range(facts.layers)
    return Llama(
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
