"""Small models in folders, as transformers saves them."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as DecodesBytes
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel
from transformers.utils import logging

from meshtune.engine.backbone.embedded import embedded_folder
from meshtune.engine.config import Model

WIDTH, LAYERS, VOCABULARY = 64, 2, 128


def llama_config(**changes: Any) -> LlamaConfig:
    """Of a Llama of width 64 that shares keys between two heads."""
    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": WIDTH,
        "intermediate_size": 160,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "tie_word_embeddings": False,
    }
    return LlamaConfig(**(sizes | changes))


def saved(model: PreTrainedModel, folder: Path, **how: Any) -> Model:
    """A model in a folder with the embedded tokenizer, as a config names it."""
    logging.disable_progress_bar()
    model.save_pretrained(folder, **how)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(embedded_folder() / name, folder / name)
    return Model(source="folder", path=str(folder))


def random_model(
    folder: Path,
    *,
    dtype: torch.dtype = torch.float32,
    shard: str = "1GB",
    config: Any = None,
    kind: Any = LlamaForCausalLM,
) -> Model:
    """A random model in a folder, the same at every call."""
    torch.manual_seed(3)
    model = kind(config or llama_config())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.copy_(0.5 + torch.rand_like(parameter))
            else:
                parameter.mul_(4.0)  # the default 0.02 leaves the model almost linear
    return saved(model.to(dtype).eval(), folder, max_shard_size=shard)


def rewritten(folder: Path, **changes: Any) -> None:
    """Change fields of a config.json; None takes one out."""
    path = folder / "config.json"
    tree = json.loads(path.read_text("utf-8")) | changes
    path.write_text(json.dumps(tree), "utf-8")


def byte_model(folder: Path) -> Model:
    """A random Llama in a folder that reads any text, a token for each byte."""
    letters = sorted(ByteLevel.alphabet())
    known = {token: number for number, token in enumerate(["<s>", "</s>", "<pad>", *letters])}
    model = random_model(folder, config=llama_config(vocab_size=len(known)))
    rules = Tokenizer(BPE(vocab=known, merges=[]))
    rules.pre_tokenizer, rules.decoder = ByteLevel(add_prefix_space=False), DecodesBytes()
    rules.save(str(folder / "tokenizer.json"))
    told = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(told), "utf-8")
    return model
