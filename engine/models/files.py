"""The files that hold the weights of a model: which, whether they are whole, and their hash."""

import hashlib
from functools import lru_cache
from pathlib import Path

from safetensors import SafetensorError, safe_open

from meshtune.engine.errors import AssetMissing, ConfigMismatch
from meshtune.engine.models.facts import Facts, json_in

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
BUFFERS = ("rotary_emb.inv_freq", "masked_bias")  # older files hold what follows from the config


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder, one or several shards, by name.

    Raises:
        AssetMissing: there is none, or a shard is not there.
        ConfigMismatch: the list of shards is damaged.
    """
    index = folder / INDEX_FILE
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    if not index.is_file():
        found = "no weights"
        if any(folder.glob("*.bin")):
            found = "weights as .bin, which can hold code,"
        raise AssetMissing(
            f"{folder} has {found} and no {WEIGHTS_FILE}; save the model with save_pretrained"
        )
    listed = json_in(index).get("weight_map")
    names = set(listed.values()) if isinstance(listed, dict) else set()
    if not names or any(not isinstance(n, str) or Path(n).name != n for n in names):
        raise ConfigMismatch(f"{index} lists no files of this folder; copy it again")
    missing = sorted(name for name in names if not (folder / name).is_file())
    if missing:
        raise AssetMissing(f"{folder} has no {missing[0]}, which {INDEX_FILE} lists; copy it again")
    return sorted(folder / name for name in names)


def check_weights(folder: Path, facts: Facts) -> None:
    """Compare names and shapes in the heads of the files with config.json; no value is read.

    Raises:
        AssetMissing: a file or a tensor is not there.
        ConfigMismatch: a file is damaged, or a tensor is one too many or of another shape.
    """
    found = check_shards(folder)
    for name, shape in facts.tensors.items():
        if name not in found:
            raise AssetMissing(f"the weights in {folder} have no {name}; copy the model again")
        if found[name] != shape:
            raise ConfigMismatch(
                f"{name} in {folder} is {_sizes(found[name])} and config.json asks for "
                f"{_sizes(shape)}; copy the model again"
            )
    known = {*facts.tensors, "lm_head.weight"}
    for name in sorted(found.keys() - known):
        if not name.endswith(BUFFERS):
            raise ConfigMismatch(
                f"the weights in {folder} have {name}, which no {facts.family} model has; choose "
                "another model"
            )


def check_shards(folder: Path) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor that the files hold, by name; no value is read.

    Raises:
        AssetMissing: a file is not there.
        ConfigMismatch: a file is damaged.
    """
    found: dict[str, tuple[int, ...]] = {}
    for path in weight_files(folder):
        found |= _shapes_in(path)
    return found


def sha256_of(folder: Path) -> str:
    """SHA-256 of the file of the weights; of several, that of the list of theirs."""
    files = weight_files(folder)
    hashes = [_sha256(path, path.stat().st_mtime_ns, path.stat().st_size) for path in files]
    if len(files) == 1:
        return hashes[0]
    listed = "".join(f"{path.name} {digest}\n" for path, digest in zip(files, hashes, strict=True))
    return hashlib.sha256(listed.encode()).hexdigest()


@lru_cache(maxsize=64)
def _sha256(path: Path, _written_ns: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _shapes_in(path: Path) -> dict[str, tuple[int, ...]]:
    try:
        with safe_open(path, framework="np") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise ConfigMismatch(f"{path} is damaged or cut off ({error}); copy it again") from error


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
