"""Adapters of a checkpoint file as PEFT folders, one per device, that plain `peft` loads.

Arrays are NumPy's: whoever exports a run, the API among them, need not load torch.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from meshtune.engine.config import Adapter, RunConfig
from meshtune.engine.errors import AssetMissing, CheckpointError
from meshtune.engine.models.door import facts_of

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
# What reading a file of a stranger raises; numbers and nesting may be beyond all measure.
UNREADABLE = (
    LookupError,
    OSError,
    OverflowError,
    RecursionError,
    SafetensorError,
    TypeError,
    ValueError,
)
ATTENTION = frozenset({"q_proj", "k_proj", "v_proj", "o_proj"})

Matrix = Float32[np.ndarray, "_ _"]


@dataclass(frozen=True)
class Header:
    """What a checkpoint says of itself: finished rounds, and under which config."""

    rounds_done: int
    config_sha256: str


def checkpoint_header(path: Path) -> Header:
    """The header of a file that `meshtune.engine.checkpoint.save_state` wrote.

    Raises:
        CheckpointError: it is no such file.
    """
    try:
        with safe_open(path, framework="np") as file:
            told = json.loads((file.metadata() or {})["meshtune"])
            return Header(int(told["round_index"]), str(told["config_sha256"]))
    except UNREADABLE as error:
        raise CheckpointError(f"checkpoint {path.name} cannot be read: {error}") from error


def peft_folders(checkpoint: Path, config: RunConfig) -> Iterator[dict[str, bytes]]:
    """The files of every device's adapter folder by name, device after device.

    It is the adapter that the device holds after its last round. Experts of others that a method
    keeps in a library are not in it; they stay in the checkpoint.

    Args:
        checkpoint: a file of `meshtune.engine.checkpoint.save_state`.
        config: of its run.

    Raises:
        CheckpointError: it is no such file, or not of that many devices.
    """
    try:
        with safe_open(checkpoint, framework="np") as file:
            yield from _folders(file, config)
    except UNREADABLE as error:
        raise CheckpointError(f"checkpoint {checkpoint.name} cannot be read: {error}") from error


def _folders(file: Any, config: RunConfig) -> Iterator[dict[str, bytes]]:
    stored = set(file.keys())
    modules = sorted(n.removeprefix("now.b.") for n in stored if n.startswith("now.b."))
    low_rank = f"now.a.{modules[0]}" in stored
    slices = {
        f"{factor}.{module}": file.get_slice(f"now.{factor}.{module}")
        for module in modules
        for factor in ("ab" if low_rank else "b")
    }
    if {values.get_shape()[0] for values in slices.values()} != {config.fleet.devices}:
        raise ValueError(f"it is not of {config.fleet.devices} devices")
    known, turned = _layers_of(config)
    paths = {module: known.get(module) or _path_in_a_llama(module) for module in modules}
    for device in range(config.fleet.devices):
        held = {name: np.array(values[device]) for name, values in slices.items()}
        made = _low_rank(held, modules, config.adapter) if low_rank else _full(held, modules)
        factors, told = made
        told |= {"base_model_name_or_path": config.model.path or None, "fan_in_fan_out": turned}
        yield _files(factors, told, paths)


def _layers_of(config: RunConfig) -> tuple[dict[str, str], bool]:
    """Paths in the model of transformers and whether it has weights transposed, if it is here."""
    try:
        facts = facts_of(config.model)
    except AssetMissing:
        return {}, False
    return facts.paths, facts.transposed


def _path_in_a_llama(module: str) -> str:
    layer, _, linear = module.rpartition(".")
    return f"model.{layer}.{'self_attn' if linear in ATTENTION else 'mlp'}.{linear}"


Made = tuple[dict[str, tuple[Matrix, Matrix]], dict[str, Any]]  # factors, and what PEFT is told


def _low_rank(held: dict[str, Matrix], modules: list[str], adapter: Adapter) -> Made:
    factors = {module: (held[f"a.{module}"], held[f"b.{module}"]) for module in modules}
    return factors, {"r": adapter.rank, "lora_alpha": adapter.alpha}


def _full(held: dict[str, Matrix], modules: list[str]) -> Made:
    """A full update W as the product of W and an identity on its shorter side, scaled by 1."""
    factors, ranks = {}, {}
    for module in modules:
        update = held[f"b.{module}"]
        d_out, d_in = update.shape
        one = np.eye(min(d_out, d_in), dtype=np.float32)
        factors[module] = (update, one) if d_out < d_in else (one, update)
        ranks[module.rpartition(".")[2]] = len(one)
    most = max(ranks.values())
    told = {"r": most, "lora_alpha": most, "rank_pattern": ranks, "alpha_pattern": ranks}
    return factors, told


def _files(
    factors: dict[str, tuple[Matrix, Matrix]],
    told: dict[str, Any],
    paths: dict[str, str],
) -> dict[str, bytes]:
    config = {
        "bias": "none",
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "target_modules": sorted({path.rpartition(".")[2] for path in paths.values()}),
        "task_type": "CAUSAL_LM",
    } | told
    weights = {}
    for module, (a, b) in factors.items():
        path = f"base_model.model.{paths[module]}"
        weights[f"{path}.lora_A.weight"] = np.ascontiguousarray(a)
        weights[f"{path}.lora_B.weight"] = np.ascontiguousarray(b)
    return {
        CONFIG_FILE: (json.dumps(config, indent=1, sort_keys=True) + "\n").encode(),
        WEIGHTS_FILE: save(weights, metadata={"format": "pt"}),
    }
