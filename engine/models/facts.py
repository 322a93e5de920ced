"""What the config.json of a model says, and which models are computed by hand."""

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from os.path import isdir  # of a name that is too long it says no, where Path raises
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from meshtune.engine.config import plain_errors
from meshtune.engine.errors import AssetMissing, ConfigMismatch

CONFIG_FILE = "config.json"
JSON_BYTES_MAX = 2**24
FAMILIES = {"llama": "Llama", "mistral": "Mistral"}  # by hand; compared with transformers by tests
ROTARY = ("default", "linear", "llama3", "yarn")  # others depend on the length of the sequence
MOST = 2**24


class _Told(BaseModel):
    """The part of a config.json that counts here, with what transformers takes for left out."""

    hidden_size: int = Field(ge=1, le=MOST)
    intermediate_size: int = Field(ge=1, le=MOST)
    num_hidden_layers: int = Field(ge=1, le=1000)
    num_attention_heads: int = Field(ge=1, le=MOST)
    vocab_size: int = Field(ge=2, le=MOST)
    num_key_value_heads: int | None = Field(None, ge=1, le=MOST)
    head_dim: int | None = Field(None, ge=2, le=MOST)
    max_position_embeddings: int = Field(2048, ge=1)
    rms_norm_eps: float = Field(1e-6, ge=0.0)
    hidden_act: str = "silu"
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    rope_parameters: dict[str, Any] | None = None
    rope_scaling: dict[str, Any] | None = None


@dataclass(frozen=True)
class Facts:
    """Sizes of a model of the Llama kind. Weights are not needed to know them."""

    family: str
    width: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    context: int
    norm_eps: float
    tied: bool

    @property
    def transposed(self) -> bool:
        """Whether linear layers hold their weights as d_in x d_out."""
        return False

    @cached_property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """(d_out, d_in) of every linear layer that carries an adapter, in network order."""
        return {
            f"layers.{index}.{name.split('.')[1]}": shape
            for index in range(self.layers)
            for name, shape in self._linears.items()
        }

    @cached_property
    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Shape of every weight, named as transformers names them."""
        found: dict[str, tuple[int, ...]] = {
            "model.embed_tokens.weight": (self.vocabulary, self.width),
            "model.norm.weight": (self.width,),
        }
        if not self.tied:
            found["lm_head.weight"] = (self.vocabulary, self.width)
        norms = dict.fromkeys(("input_layernorm", "post_attention_layernorm"), (self.width,))
        for index in range(self.layers):
            for name, shape in {**self._linears, **norms}.items():
                found[f"model.layers.{index}.{name}.weight"] = shape
        return found

    @cached_property
    def paths(self) -> dict[str, str]:
        """Where in the model of transformers each of these layers is."""
        return {
            f"layers.{index}.{name.split('.')[1]}": f"model.layers.{index}.{name}"
            for index in range(self.layers)
            for name in self._linears
        }

    @property
    def parameters(self) -> int:
        """How many values the weights are."""
        return sum(map(prod, self.tensors.values()))

    @property
    def kept(self) -> int:
        """Values that the backward reads of a token in a layer, those of attention left out."""
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        return 4 * self.width + 2 * (queries + 2 * keys) + 3 * self.inner

    @property
    def head_weights(self) -> int:
        """Weights of the layer that turns the last hidden state into logits."""
        return self.vocabulary * self.width

    @property
    def _linears(self) -> dict[str, tuple[int, int]]:
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        return {
            "self_attn.q_proj": (queries, self.width),
            "self_attn.k_proj": (keys, self.width),
            "self_attn.v_proj": (keys, self.width),
            "self_attn.o_proj": (self.width, queries),
            "mlp.gate_proj": (self.inner, self.width),
            "mlp.up_proj": (self.inner, self.width),
            "mlp.down_proj": (self.width, self.inner),
        }


def facts_in(folder: Path) -> Facts | None:
    """The sizes of the model in a folder; None if it is none that the hand-written path computes.

    Raises:
        AssetMissing: there is no folder, or no config.json in it.
        ConfigMismatch: the file is damaged, or asks for what cannot be.
    """
    path = folder / CONFIG_FILE
    if not isdir(folder):
        raise AssetMissing(f"{folder} is no folder; name one that holds {CONFIG_FILE}")
    if not path.is_file():
        raise AssetMissing(
            f"{folder} has no {CONFIG_FILE}; name the folder that save_pretrained wrote"
        )
    return _facts_of(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=32)  # a plan asks for every round; a file that was written anew is read anew
def _facts_of(path: Path, _written_ns: int) -> Facts | None:
    tree = json_in(path)
    if tree.get("quantization_config") is not None:
        raise ConfigMismatch(
            f"{path.parent} is quantised, and the lab reads plain weights; choose another model"
        )
    family = str(tree.get("model_type", ""))
    if family not in FAMILIES:
        return None
    try:
        told = _Told.model_validate(tree)
    except ValidationError as error:
        field, sentence = plain_errors(error.errors())[0]
        raise ConfigMismatch(f"{path}: {field} {sentence}") from error
    if impossible := _impossible(told):
        raise ConfigMismatch(f"{path.parent} {impossible}; choose another model")
    if _odd(told, tree, family):
        return None
    heads = told.num_attention_heads
    return Facts(
        family=FAMILIES[family],
        width=told.hidden_size,
        inner=told.intermediate_size,
        layers=told.num_hidden_layers,
        heads=heads,
        kv_heads=told.num_key_value_heads or heads,
        head_size=told.head_dim or told.hidden_size // heads,
        vocabulary=told.vocab_size,
        context=told.max_position_embeddings,
        norm_eps=told.rms_norm_eps,
        tied=told.tie_word_embeddings,
    )


def json_in(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a stranger.

    Raises:
        ConfigMismatch: it is too large, or holds no object.
    """
    if path.stat().st_size > JSON_BYTES_MAX:
        raise ConfigMismatch(f"{path} has more than {JSON_BYTES_MAX:,} bytes; copy it again")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigMismatch(f"{path} is no readable JSON: {error}; copy it again") from error
    if not isinstance(found, dict):
        raise ConfigMismatch(f"{path} holds no JSON object; copy it again")
    return found


def _impossible(told: _Told) -> str | None:
    """What no model can be."""
    heads, kv_heads = told.num_attention_heads, told.num_key_value_heads or 1
    if heads % kv_heads:
        return f"has {heads} heads for {kv_heads} heads of keys"
    if told.head_dim is None and told.hidden_size % heads:
        return f"has a width of {told.hidden_size}, which {heads} heads cannot share"
    return None


def _odd(told: _Told, tree: dict[str, Any], family: str) -> bool:
    """Whether the model has what the hand-written path would compute wrongly."""
    scaling = told.rope_parameters or told.rope_scaling or {}
    rotary = scaling.get("rope_type", scaling.get("type", "default"))
    # What transformers takes for a Mistral that says nothing has a window.
    windowed = family == "mistral" and tree.get("sliding_window", 4096) is not None
    biased = told.attention_bias or told.mlp_bias
    return biased or told.hidden_act != "silu" or rotary not in ROTARY or windowed
