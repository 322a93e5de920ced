"""The language model that ships inside the package."""

import hashlib
from functools import cache
from pathlib import Path

from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from engine.errors import AssetMissing


def embedded_folder() -> Path:
    """Folder of weights, tokenizer and model card, readable by plain transformers."""
    return Path(__file__).parent / "weights"


@cache
def weights_sha256() -> str:
    """SHA-256 of the file that holds the weights."""
    with (embedded_folder() / "model.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_embedded() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The frozen base model in evaluation mode, and its tokenizer; never touches a network.

    Raises:
        AssetMissing: the package was installed without its weights.
    """
    folder = embedded_folder()
    if not (folder / "model.safetensors").is_file():
        raise AssetMissing(
            "the embedded model has no weights; reinstall the package, or make them with "
            "python -m engine.backbone.pretrain"
        )
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, attn_implementation="eager"
    )
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        folder, local_files_only=True
    )
    return model.eval().requires_grad_(False), tokenizer
