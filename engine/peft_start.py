"""The PEFT folder that a config starts from: where it lies, and whether it fits the run.

Light: plans ask here in processes that must not load torch; no value is read.
"""

import hashlib
import re
from os.path import isfile  # of a name that is too long it says no, where Path raises
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from meshtune.engine.config import Adapter, RunConfig
from meshtune.engine.errors import AssetMissing, ConfigMismatch
from meshtune.engine.fields import INPUT_NAME
from meshtune.engine.inputs import state_folder, whole_path
from meshtune.engine.models.door import facts_of
from meshtune.engine.models.facts import json_in
from meshtune.engine.peft_io import CONFIG_FILE, WEIGHTS_FILE, factor_names

# What makes of A and B another update than alpha / r times their product, or trains more than them.
OTHERWISE = (
    "alpha_pattern",
    "layer_replication",
    "lora_bias",
    "modules_to_save",
    "rank_pattern",
    "trainable_token_indices",
    "use_dora",
    "use_rslora",
)
FLOATS = ("F16", "BF16", "F32", "F64")

Names = dict[str, tuple[str, str]]  # of A and B in the file, by module


def start_problems(config: RunConfig) -> list[tuple[str, str]]:
    """Why a run cannot start from the adapter that its config names: field and sentence."""
    if not config.adapter.start_from:
        return []
    try:
        require_start(config)
    except (AssetMissing, ConfigMismatch) as error:
        return [("adapter.start_from", str(error))]
    return []


def require_start(config: RunConfig) -> tuple[Path, Names]:
    """The file of the adapter from which devices start, and what A and B are called in it.

    Raises:
        AssetMissing: it is not on this disk.
        ConfigMismatch: it is no plain LoRA adapter of this rank, alpha and model, or damaged.
    """
    folder = _folder(config.adapter)
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not isfile(folder / name):
            raise AssetMissing(f"{folder} has no {name}; name a folder that PEFT saved")
    _require_settings(folder, json_in(folder / CONFIG_FILE), config.adapter)
    facts, rank = facts_of(config.model), config.adapter.rank
    names = {module: factor_names(facts.paths[module]) for module in facts.shapes}
    wanted: dict[str, tuple[int, ...]] = {}
    for module, (d_out, d_in) in facts.shapes.items():
        a, b = names[module]
        wanted |= {a: (rank, d_in), b: (d_out, rank)}
    _require_tensors(folder, wanted)
    return folder / WEIGHTS_FILE, names


def adapters_here() -> list[str]:
    """Names of the PEFT folders below adapters/ of the state folder."""
    found = adapters_folder().glob(f"*/{CONFIG_FILE}")
    return sorted(p.parent.name for p in found if re.fullmatch(INPUT_NAME, p.parent.name))


def adapters_folder() -> Path:
    """Where adapters lie that are named without a whole path."""
    return state_folder() / "adapters"


def start_sha256(adapter: Adapter) -> str | None:
    """SHA-256 of the file of that adapter; None if none is named or it has gone since."""
    file = _folder(adapter) / WEIGHTS_FILE
    if not adapter.start_from or not isfile(file):
        return None
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _folder(adapter: Adapter) -> Path:
    return whole_path(adapter.start_from, below=adapters_folder())


def _require_settings(folder: Path, told: dict[str, Any], adapter: Adapter) -> None:
    if told.get("peft_type") != "LORA":
        raise ConfigMismatch(f"{folder} is no LoRA adapter; choose one whose peft_type is LORA")
    odd = [name for name in OTHERWISE if told.get(name)]
    if odd or told.get("bias", "none") != "none":
        raise ConfigMismatch(
            f"{folder} is no plain LoRA adapter: its {odd[0] if odd else 'bias'} is set; train one "
            "without"
        )
    for field, name, own in (
        ("r", "adapter.rank", adapter.rank),
        ("lora_alpha", "adapter.alpha", adapter.alpha),
    ):
        if told.get(field) != own:
            raise ConfigMismatch(
                f"{folder} has {field} {told.get(field)!r:.40} and {name} is {own:g}; make them "
                "equal"
            )


def _require_tensors(folder: Path, wanted: dict[str, tuple[int, ...]]) -> None:
    found = _shapes_in(folder / WEIGHTS_FILE)
    for name, shape in wanted.items():
        if name not in found:
            raise ConfigMismatch(
                f"{folder} has no {name}; take an adapter of this model on all linear layers"
            )
        if found[name] != shape:
            sizes = [" x ".join(map(str, each)) for each in (found[name], shape)]
            raise ConfigMismatch(
                f"{name} in {folder} is {sizes[0]} and this model takes {sizes[1]}; take an "
                "adapter of this model"
            )
    if more := sorted(found.keys() - wanted):
        raise ConfigMismatch(
            f"{folder} has {more[0][:200]!a}, which no device trains; take an adapter of this model"
        )


def _shapes_in(file: Path) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor of a file by name; none for what holds no fractions."""
    try:
        with safe_open(file, framework="np") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
            return {n: tuple(s.get_shape()) for n, s in slices.items() if s.get_dtype() in FLOATS}
    except (SafetensorError, OSError) as error:
        raise ConfigMismatch(f"{file} is damaged or cut off ({error}); copy it again") from error
