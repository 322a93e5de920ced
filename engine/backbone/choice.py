"""Which way a loaded model is computed: the hand-written one where that is right."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from meshtune.engine.backbone.base import Backbone
from meshtune.engine.backbone.generic.fit import (
    allowed,
    generic_backbone,
    logit_gap,
    padded_batch,
    stock_logits,
)
from meshtune.engine.backbone.generic.model import target_paths
from meshtune.engine.backbone.llama import Llama, backbone_from_llama
from meshtune.engine.errors import ConfigMismatch


@dataclass(frozen=True)
class Chosen:
    """A backbone, which way it is computed, and why not by hand (None if it is)."""

    backbone: Backbone
    path: Literal["own", "generic"]
    why: str | None


def chosen_backbone(
    model: Any, targets: Collection[str] | None = None, *, dtype: torch.dtype | None = None
) -> Chosen:
    """Return a stock causal model as a backbone; the model is changed or used up.

    Args:
        model: In evaluation mode.
        targets: Names of linear layers, or ends of their paths, as in PEFT; None takes all but the
            head.
        dtype: Precision of the matrix products, that of the model if None.

    Raises:
        ConfigMismatch: Neither way computes this model rightly, or no layer is so named.
    """
    names = target_paths(model, targets)
    own = _by_hand(model)
    if isinstance(own, str):
        _cast(model, dtype or model.dtype)
        return Chosen(generic_backbone(model, targets), "generic", own)
    if dtype not in (None, own.dtype):
        own = backbone_from_llama(model, dtype)
    shapes = {name: shape for name, shape in own.shapes.items() if name in names}
    return Chosen(replace(own, shapes=shapes), "own", None)


def _by_hand(model: Any) -> Llama | str:
    """Return the model computed by hand, or why that would be wrong."""
    config = model.config
    kinds = {*(getattr(config, "layer_types", None) or ())}
    if getattr(config, "sliding_window", None) or kinds - {"full_attention"}:
        return "its attention forgets, which a short batch does not show"
    if model.dtype != torch.float32:
        return f"its weights are {model.dtype}, in which a small mistake does not show"
    try:
        own = backbone_from_llama(model)
    except (AttributeError, KeyError, ConfigMismatch):
        return "it is not built like a Llama"
    tokens, mask = padded_batch(model)
    expected = stock_logits(model, tokens, mask)
    gap = logit_gap(own.logits(tokens[None], None, 1.0)[0], expected, mask)
    return own if gap <= allowed(expected) else f"its logits are {gap:.1g} from those of a Llama"


def _cast(model: Any, dtype: torch.dtype) -> None:
    """Give the weights a dtype; tables of positions keep theirs, which transformers relies on."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
