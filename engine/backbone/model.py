"""The frozen weights of a Llama.

Linear modules that read the same input are one `Projection`, and each RMSNorm gain is folded into
the projections behind it, so a layer is four matrix products plus their low-rank parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from meshtune.engine.adapters.stack import Shapes
from meshtune.engine.backbone.steps import (
    times,
)


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
class LlamaWeights:
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


def fold_gain(projection: Projection, rows: Tensor) -> Tensor:
    return rows if projection.gain is None else rows * projection.gain


def frozen_outputs(projection: Projection, x: Tensor) -> Sequence[Tensor]:
    return [times(x, product.weight.T) for product in projection.products]
