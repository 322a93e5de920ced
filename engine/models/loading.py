"""The frozen model that a config names, loaded, and compared with transformers before it counts."""

import hashlib
import importlib.metadata
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from meshtune.engine.backbone.base import Backbone
from meshtune.engine.backbone.embedded import embedded_backbone
from meshtune.engine.backbone.llama import LlamaFacts, backbone_from_weights
from meshtune.engine.config import Model
from meshtune.engine.errors import AssetMissing, ConfigMismatch
from meshtune.engine.models.door import check_model, checked_folder, facts_of, folder_of
from meshtune.engine.models.facts import Facts
from meshtune.engine.models.files import sha256_of, weight_files

LOGIT_ERROR_MAX = 1e-3  # largest difference to transformers, of any logit of the batch
SEQUENCES, TOKENS = 2, 24  # of that batch


def load_backbone(model: Model, dtype: torch.dtype = torch.float32) -> Backbone:
    """The frozen model of a config as training reads it.

    One from outside is compared with transformers first: once per state folder and weights if it is
    computed by hand, else each time.

    Raises:
        AssetMissing: a file is not on this disk.
        ConfigMismatch: the model is damaged, or computed otherwise than transformers does.
    """
    if model.source in ("embedded", "alike"):
        return embedded_backbone(dtype, model.source)
    check_model(model)
    if not isinstance(facts := facts_of(model), Facts):
        from meshtune.engine.backbone.choice import chosen_backbone  # noqa: PLC0415 - takes seconds

        return chosen_backbone(_stock(folder_of(model)), dtype=dtype).backbone
    _check_logits(model, facts)
    return _loaded(model, facts, dtype)


def read_in_full(backbone: Backbone, model: Model) -> Backbone:
    """The same model in float32, for what compares small differences."""
    return backbone if backbone.dtype == torch.float32 else load_backbone(model, torch.float32)


def weights_sha256(model: Model) -> str:
    """SHA-256 of the weights of the model."""
    return sha256_of(folder_of(model))


def _loaded(model: Model, facts: Facts, dtype: torch.dtype) -> Backbone:
    folder = folder_of(model)
    frequency, scaling = _rotary(folder)
    if 2 * frequency.numel() != facts.head_size:
        raise ConfigMismatch(f"{folder} rotates a part of its heads; choose another model")
    weights: dict[str, Tensor] = {}
    try:
        for path in weight_files(folder):
            weights |= load_file(path)
    except (SafetensorError, OSError) as error:
        raise ConfigMismatch(f"the weights in {folder} cannot be read: {error}") from error
    if facts.tied:
        weights.pop("lm_head.weight", None)
    llama = LlamaFacts(
        layers=facts.layers,
        heads=facts.heads,
        kv_heads=facts.kv_heads,
        norm_eps=facts.norm_eps,
        rotary_frequency=frequency,
        rotary_scaling=scaling,
    )
    return backbone_from_weights(weights, llama, dtype)


def _rotary(folder: Path) -> tuple[Tensor, float]:
    """Frequencies and scale of the rotary positions, as transformers reads them from a config."""
    from transformers import AutoConfig  # noqa: PLC0415 - takes seconds
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding  # noqa: PLC0415

    told = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    rotary = LlamaRotaryEmbedding(told)
    return rotary.inv_freq.detach().float().clone(), float(rotary.attention_scaling)


def _check_logits(model: Model, facts: Facts) -> None:
    """Refuse a model whose logits are not those of transformers."""
    folder = folder_of(model)
    stamp = "\n".join(
        (
            sha256_of(folder),
            (folder / "config.json").read_text(encoding="utf-8"),
            *(importlib.metadata.version(name) for name in ("meshtune", "transformers", "torch")),
        )
    )
    key = hashlib.sha256(stamp.encode()).hexdigest()
    error = _known_error(model, facts, checked_folder() / key)
    if not error <= LOGIT_ERROR_MAX:  # not a number is refused as well
        raise ConfigMismatch(
            f"{folder} gives logits that differ from those of transformers by {error:.2g}; its "
            f"{facts.family} is of a kind that the lab computes wrongly, so choose "
            "another model"
        )


@lru_cache(maxsize=32)
def _known_error(model: Model, facts: Facts, kept: Path) -> float:
    try:
        return float(kept.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = _logit_error(model, facts)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(f"{found!r}\n", encoding="utf-8")
    except OSError:
        pass  # a folder that cannot be written to: this process knows it, the next one asks again
    return found


def _logit_error(model: Model, facts: Facts) -> float:
    draw = torch.Generator().manual_seed(0)
    shape = (SEQUENCES, min(TOKENS, facts.context))
    tokens = torch.randint(facts.vocabulary, shape, generator=draw)
    with torch.no_grad():
        ours = _loaded(model, facts, torch.float32).logits(tokens[None], None, 1.0)[0]
        theirs = _stock(folder_of(model))(input_ids=tokens).logits
    return float((ours - theirs).abs().max())


def _stock(folder: Path) -> Any:
    """The model as transformers has it, in float32."""
    from transformers import AutoModelForCausalLM  # noqa: PLC0415 - takes seconds
    from transformers.utils import logging  # noqa: PLC0415

    logging.disable_progress_bar()
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            attn_implementation="eager",
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:  # a tensor of another shape, for one
        first = str(error).strip().splitlines()[0][:300]
        raise ConfigMismatch(f"the weights in {folder} cannot be read: {first}") from error
    found, told = loaded
    if missing := sorted(told["missing_keys"]):
        raise AssetMissing(f"the weights in {folder} have no {missing[0]}; copy the model again")
    return found.eval()
