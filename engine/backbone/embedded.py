"""The language models that ship inside the package: one for each world of tasks."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file

from meshtune.engine.backbone.llama import Llama, LlamaFacts, backbone_from_weights
from meshtune.engine.backbone.tokenizer import Tokenizer
from meshtune.engine.errors import AssetMissing
from meshtune.engine.tasks import World

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


MADE_BY = {
    "embedded": "meshtune.engine.backbone.pretrain",
    "alike": "meshtune.engine.backbone.alike.pretrain",
}


def embedded_folder(world: World = "embedded") -> Path:
    """Folder of weights, tokenizer and model card, readable by plain transformers."""
    here = Path(__file__).parent
    return here / "weights" if world == "embedded" else here / world / "weights"


def embedded_backbone(dtype: torch.dtype = torch.float32, world: World = "embedded") -> Llama:
    """The frozen base model as training reads it, equal to the bit to that of transformers.

    It is read without transformers: importing what that needs takes longer than all else that a
    process does before it trains.

    Raises:
        AssetMissing: the package was installed without its weights.
    """
    folder = _with_weights(world)
    model = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    size = model["head_dim"]
    exponents = torch.arange(0, size, 2, dtype=torch.int64).to(torch.float32) / size
    facts = LlamaFacts(
        layers=model["num_hidden_layers"],
        heads=model["num_attention_heads"],
        kv_heads=model["num_key_value_heads"],
        norm_eps=model["rms_norm_eps"],
        rotary_frequency=1.0 / (model["rope_parameters"]["rope_theta"] ** exponents),
        rotary_scaling=1.0,
    )
    return backbone_from_weights(load_file(folder / "model.safetensors"), facts, dtype)


def embedded_parameters(world: World = "embedded") -> int:
    """How many values the weights of the base model are.

    Raises:
        AssetMissing: the package was installed without its weights.
    """
    weights = load_file(_with_weights(world) / "model.safetensors")
    return sum(weight.numel() for weight in weights.values())


def embedded_tokenizer(world: World = "embedded") -> Tokenizer:
    """The tokenizer of the base model.

    Raises:
        AssetMissing: the package was installed without its weights.
    """
    return Tokenizer(_with_weights(world))


def load_embedded(
    world: World = "embedded",
) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase"]:
    """The frozen base model in evaluation mode, and its tokenizer, as transformers has them.

    Never touches a network.

    Raises:
        AssetMissing: the package was installed without its weights.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415 - takes seconds
    from transformers.utils import logging  # noqa: PLC0415

    folder = _with_weights(world)
    logging.disable_progress_bar()  # a small model takes no time worth a bar
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, attn_implementation="eager", dtype=torch.float32
    )
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        folder, local_files_only=True
    )
    return model.eval().requires_grad_(False), tokenizer


def _with_weights(world: World) -> Path:
    folder = embedded_folder(world)
    if not (folder / "model.safetensors").is_file():
        raise AssetMissing(
            f"the {world} model has no weights; reinstall the package, or make them with "
            f"python -m {MADE_BY[world]}"
        )
    return folder
