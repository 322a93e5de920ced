"""Losses and gradients of the generic path against stock PEFT, for a tiny model of every family."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

from meshtune.engine.adapters.stack import Adapters, Factor, Shapes, initial_adapters
from meshtune.engine.backbone.base import IGNORED_TARGET
from meshtune.engine.backbone.generic.fit import generic_backbone
from meshtune.engine.backbone.generic.model import target_paths
from meshtune.engine.errors import ConfigMismatch

DEVICES, SEQUENCES, TOKENS, RANK, SCALING = 3, 2, 17, 4, 2.0
VOCAB = 97
BOTH: frozenset[Factor] = frozenset(("a", "b"))

Sizes = dict[str, Any]
OLD: Sizes = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
GROUPED: Sizes = OLD | {"num_key_value_heads": 2}
LLAMA: Sizes = GROUPED | {"head_dim": 8}
GPT: Sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
GEMMA: Sizes = LLAMA | {"query_pre_attn_scalar": 8, "sliding_window": 8}

# The sizes of a tiny model of each family, by the name that its config.json has.
FAMILIES: Mapping[str, Sizes] = {
    "apertus": OLD,
    "arcee": LLAMA,
    "biogpt": OLD,
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "codegen": GPT | {"rotary_dim": 4},
    "cohere": GROUPED,
    "cohere2": LLAMA | {"sliding_window": 8},
    "ctrl": GPT | {"dff": 64},
    "diffllama": GROUPED,
    "ernie4_5": LLAMA,
    "falcon": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "ffn_hidden_size": 64,
    },
    "gemma": LLAMA,
    "gemma2": GEMMA,
    "gemma3_text": GEMMA,
    "glm": LLAMA,
    "glm4": LLAMA,
    "gpt2": GPT,
    "gpt_bigcode": GPT,
    "gpt_neo": {
        "hidden_size": 32,
        "num_layers": 2,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 1]],
        "max_position_embeddings": 64,
        "intermediate_size": 64,
        "window_size": 8,
    },
    "gpt_neox": OLD,
    "gptj": GPT | {"rotary_dim": 4},
    "granite": GROUPED,
    "helium": LLAMA,
    "hunyuan_v1_dense": LLAMA,
    "llama": LLAMA,
    "mistral": LLAMA | {"sliding_window": 8},
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 64, "expansion_ratio": 2},
    "nemotron": LLAMA,
    "olmo": GROUPED,
    "olmo2": GROUPED,
    "olmo3": GROUPED,
    "openai-gpt": GPT,
    "opt": {
        "hidden_size": 32,
        "ffn_dim": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
        "word_embed_proj_dim": 16,
    },
    "persimmon": OLD,
    "phi": GROUPED,
    "phi3": GROUPED,
    "qwen2": GROUPED,
    "qwen3": LLAMA,
    "seed_oss": LLAMA,
    "smollm3": LLAMA | {"num_hidden_layers": 4},  # the fourth has no rotary positions
    "stablelm": GROUPED,
    "starcoder2": GROUPED,
    "xglm": {
        "d_model": 32,
        "ffn_dim": 64,
        "num_layers": 2,
        "attention_heads": 4,
        "max_position_embeddings": 64,
    },
}
REFUSED: Mapping[str, Sizes] = {
    "bert-generation": OLD | {"is_decoder": False},
    "deepseek_v3": OLD,
    "gpt_oss": LLAMA | {"num_local_experts": 4},
    "granitemoe": GROUPED | {"num_local_experts": 4},
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8},
    "mamba2": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "state_size": 8,
        "num_heads": 4,
        "head_dim": 16,
        "n_groups": 1,
    },
    "mixtral": LLAMA | {"num_local_experts": 4},
    "rwkv": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "attention_hidden_size": 32,
        "intermediate_size": 64,
        "context_length": 64,
    },
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64},
}


@dataclass(frozen=True)
class Family:
    """One line of the table: how far the generic path is from stock PEFT.

    Attributes:
        name: As config.json calls it, `model_type`.
        layers: How many linear layers have an adapter.
        loss: Largest difference of a device's loss, relative to the loss.
        gradient: Largest difference within a gradient of an A or B, relative to its largest entry.
        refused: Why the family is refused; None if it is not.
    """

    name: str
    layers: int = 0
    loss: float = 0.0
    gradient: float = 0.0
    refused: str | None = None


def tiny_model(family: str, vocabulary: int = VOCAB) -> Any:
    """Return a random model of a family in evaluation mode, the same at every call."""
    sizes = {**FAMILIES, **REFUSED}[family]
    known = {"vocab_size": vocabulary, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = AutoConfig.for_model(family, **known, **sizes)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3.0)  # fresh weights leave the model almost linear
    return model.eval()


def every_family() -> list[Family]:
    """Return the lines of all families, computed or refused."""
    logging.set_verbosity_error()  # of tiny configs, about what they leave out
    return [compared(name) for name in (*FAMILIES, *REFUSED)]


def compared(family: str) -> Family:
    """Return the line of a family, computed both ways."""
    try:
        ours = generic_backbone(tiny_model(family))
    except ConfigMismatch as error:
        return Family(family, refused=str(error))
    theirs = stock_peft(tiny_model(family), RANK, SCALING)
    adapters = drawn_adapters(ours.shapes)
    tokens, targets = questions()
    losses, slopes = ours.gradient(tokens, targets, adapters.a, adapters.b, SCALING, trained=BOTH)
    given: dict[Factor, dict[str, Tensor]] = {"a": adapters.a, "b": adapters.b}
    places = lora_weights(theirs, target_paths(tiny_model(family)))
    loss_gap = slope_gap = 0.0
    for device in range(DEVICES):
        for (name, kind), parameter in places.items():
            parameter.data.copy_(given[kind][name][device])
        loss = _peft_step(theirs, tokens[device], targets[device])
        loss_gap = max(loss_gap, relative(losses[device], loss))
        for (name, kind), parameter in places.items():
            slope_gap = max(slope_gap, relative(slopes[kind][name][device], parameter.grad))
    return Family(family, len(ours.layers), loss_gap, slope_gap)


def table(rows: Iterable[Family]) -> str:
    """Return the rows as a table for the documents."""
    rows = sorted(rows, key=lambda row: row.name)
    lines = ["| family | linear layers | loss | gradients |", "|---|---|---|---|"]
    lines += [
        f"| `{row.name}` | {row.layers} | {row.loss:.0e} | {row.gradient:.0e} |"
        for row in rows
        if row.refused is None
    ]
    lines += ["", "| refused | why |", "|---|---|"]
    lines += [
        f"| `{row.name}` | {row.refused.partition(': ')[2].partition(';')[0]} |"
        for row in rows
        if row.refused is not None
    ]
    return "\n".join(lines)


def drawn_adapters(shapes: Shapes) -> Adapters:
    """Return adapters whose B is not zero, so that every term counts."""
    generator = torch.Generator().manual_seed(3)
    fresh = initial_adapters(shapes, DEVICES, RANK, generator)
    return Adapters(
        fresh.a, {k: 0.1 * torch.randn(v.shape, generator=generator) for k, v in fresh.b.items()}
    )


def questions() -> tuple[Int[Tensor, "n b t"], Int[Tensor, "n b t"]]:
    """Return sequences whose scored answers are of different length and end at different places."""
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(3, VOCAB, (DEVICES, SEQUENCES, TOKENS), generator=generator)
    targets = torch.full_like(tokens, IGNORED_TARGET)
    for device in range(DEVICES):
        for sequence in range(SEQUENCES):
            answer = slice(TOKENS - 6 - device - sequence, TOKENS - 1 - sequence)
            targets[device, sequence, answer] = tokens.roll(-1, 2)[device, sequence, answer]
    return tokens, targets


def relative(given: Tensor, expected: Tensor | None) -> float:
    """Return the largest difference over the largest expected value; infinite for a NaN."""
    if expected is None:
        return torch.inf
    gap = (given - expected).abs().max() / expected.abs().max().clamp(min=1e-12)
    return float(gap.nan_to_num(torch.inf))


def stock_peft(model: Any, rank: int, scaling: float) -> nn.Module:
    """Return a model with adapters by stock PEFT on all linear layers; it is changed in place."""
    config = LoraConfig(r=rank, lora_alpha=round(scaling * rank), target_modules="all-linear")
    with warnings.catch_warnings():  # PEFT asks transformers for an attribute it has renamed
        warnings.simplefilter("ignore")
        peft: nn.Module = get_peft_model(model, config).eval()
    return peft


def lora_weights(
    peft: nn.Module, paths: Mapping[str, str]
) -> dict[tuple[str, Factor], nn.Parameter]:
    """Return the factors of a PEFT model by our names.

    Raises:
        ConfigMismatch: PEFT adapts other layers.
    """
    found = dict(peft.named_parameters())
    kinds: dict[Factor, str] = {"a": "lora_A", "b": "lora_B"}
    places = {
        (name, kind): f"base_model.model.{path}.{theirs}.default.weight"
        for name, path in paths.items()
        for kind, theirs in kinds.items()
    }
    if {*places.values()} != {name for name in found if "lora_" in name}:
        raise ConfigMismatch("PEFT adapts other layers than the generic path")
    return {key: found[place] for key, place in places.items()}


def _peft_step(peft: nn.Module, tokens: Tensor, targets: Tensor) -> Tensor:
    peft.zero_grad()
    logits = peft(input_ids=tokens, use_cache=False).logits
    loss = functional.cross_entropy(
        logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED_TARGET
    )
    loss.backward()
    return loss.detach()
