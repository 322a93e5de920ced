"""Adapters of a checkpoint file as PEFT folders, which plain `peft` loads.

Arrays are NumPy's: whoever exports a run, the API among them, need not load torch.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from meshtune.engine.config import RunConfig
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
Held = dict[str, Float32[np.ndarray, "..."]]  # "a.layers.0.q_proj" and the like
Made = tuple[dict[str, tuple[Matrix, Matrix]], dict[str, Any]]  # factors, and what PEFT is told
Files = dict[str, bytes]  # of a folder, by name


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


def peft_folders(
    checkpoint: Path,
    config: RunConfig,
    devices: Sequence[int] | None = None,
    base: str | None = None,
) -> Iterator[Files]:
    """The files of the adapter folders of some devices by name, device after device.

    It is the adapter that the device holds after its last round. Experts of others that a method
    keeps in a library are not in it; they stay in the checkpoint.

    Args:
        checkpoint: a file of `meshtune.engine.checkpoint.save_state`.
        config: of its run.
        devices: whose adapters; all of them if None.
        base: by which PEFT finds the frozen model; what the config says if None.

    Raises:
        CheckpointError: it is no such file, or not of that many devices.
    """
    with _stored(checkpoint, config) as stored:
        for device in range(config.fleet.devices) if devices is None else devices:
            held = {name: np.array(values[device]) for name, values in stored.items()}
            yield _files(_made(held, config, 1), config, base)


def merged_folder(checkpoint: Path, config: RunConfig, base: str | None = None) -> Files:
    """The files of one adapter folder whose update is the mean of those of all n devices.

        1/n sum_i B_i A_i = [B_1/n ... B_n/n] [A_1; ...; A_n]

    Nothing is cut off: the rank is n r, the scaling that of the devices. Full updates are averaged
    as they are. Arguments as for `peft_folders`.

    Raises:
        CheckpointError: it is no such file, or not of that many devices.
    """
    count = config.fleet.devices
    held: Held = {}
    with _stored(checkpoint, config) as stored:
        low_rank = any(name.startswith("a.") for name in stored)
        for name, values in stored.items():
            every = np.array(values[:])
            if not low_rank:
                held[name] = every.mean(axis=0)
            elif name.startswith("a."):
                held[name] = every.reshape(-1, every.shape[2])
            else:
                held[name] = np.concatenate(every / np.float32(count), axis=1)
        return _files(_made(held, config, count), config, base)


def factor_names(path: str) -> tuple[str, str]:
    """What A and B of the layer at a path of the model are called in a file of PEFT."""
    layer = f"base_model.model.{path}"
    return f"{layer}.lora_A.weight", f"{layer}.lora_B.weight"


@contextmanager
def _stored(checkpoint: Path, config: RunConfig) -> Iterator[dict[str, Any]]:
    """Slices of the factors of all devices, by name, while the file is open.

    Raises:
        CheckpointError: it is no such file, or not of that many devices.
    """
    try:
        with safe_open(checkpoint, framework="np") as file:
            names = sorted(name for name in file.keys() if name.startswith(("now.a.", "now.b.")))  # noqa: SIM118 - no mapping
            slices = {name.removeprefix("now."): file.get_slice(name) for name in names}
            if {values.get_shape()[0] for values in slices.values()} != {config.fleet.devices}:
                raise ValueError(f"it is not of {config.fleet.devices} devices")
            yield slices
    except UNREADABLE as error:
        raise CheckpointError(f"checkpoint {checkpoint.name} cannot be read: {error}") from error


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


def _made(held: Held, config: RunConfig, devices: int) -> Made:
    """Factors of some devices' worth of ranks, or those of a full update."""
    modules = sorted(name.removeprefix("b.") for name in held if name.startswith("b."))
    if f"a.{modules[0]}" not in held:
        return _full({module: held[f"b.{module}"] for module in modules})
    factors = {module: (held[f"a.{module}"], held[f"b.{module}"]) for module in modules}
    adapter = config.adapter
    return factors, {"r": devices * adapter.rank, "lora_alpha": devices * adapter.alpha}


def _full(updates: dict[str, Matrix]) -> Made:
    """A full update W as the product of W and an identity on its shorter side, scaled by 1."""
    factors, ranks = {}, {}
    for module, update in updates.items():
        d_out, d_in = update.shape
        one = np.eye(min(d_out, d_in), dtype=np.float32)
        factors[module] = (update, one) if d_out < d_in else (one, update)
        ranks[module.rpartition(".")[2]] = len(one)
    most = max(ranks.values())
    told = {"r": most, "lora_alpha": most, "rank_pattern": ranks, "alpha_pattern": ranks}
    return factors, told


def _files(made: Made, config: RunConfig, base: str | None) -> Files:
    factors, told = made
    known, turned = _layers_of(config)
    paths = {module: known.get(module) or _path_in_a_llama(module) for module in factors}
    settings = {
        "base_model_name_or_path": base or config.model.path or None,
        "bias": "none",
        "fan_in_fan_out": turned,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "target_modules": sorted({path.rpartition(".")[2] for path in paths.values()}),
        "task_type": "CAUSAL_LM",
    } | told
    weights = {}
    for module, pair in factors.items():
        for name, values in zip(factor_names(paths[module]), pair, strict=True):
            weights[name] = np.ascontiguousarray(values)
    return {
        CONFIG_FILE: (json.dumps(settings, indent=1, sort_keys=True) + "\n").encode(),
        WEIGHTS_FILE: save(weights, metadata={"format": "pt"}),
    }
