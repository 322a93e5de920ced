"""Files that a run reads and that are not ours: a config names them, one folder holds them."""

import hashlib
import os
from pathlib import Path
from typing import Literal

from meshtune.engine.errors import AssetMissing


def state_folder() -> Path:
    """The folder that holds database, checkpoints, input files and fetched models."""
    return Path(os.environ.get("MESHTUNE_STATE_DIR") or ".state")


def whole_path(path: str, below: Path) -> Path:
    """The path that a config has, whole, or else as a name below a folder."""
    named = Path(path.strip())
    try:
        whole = named.expanduser()
    except RuntimeError:  # a home of nobody
        whole = named
    return whole if whole.is_absolute() else (below / whole).absolute()


def input_path(
    kind: Literal["gains", "traces"], name: str, suffixes: tuple[str, ...], sha256: str = ""
) -> Path:
    """Where the file `name` of a kind lies: `$MESHTUNE_STATE_DIR/inputs/<kind>/<name><suffix>`.

    The state folder is `.state` unless the environment says otherwise, the one that holds database
    and checkpoints. The first suffix whose file exists counts.

    Args:
        kind: folder below `inputs`.
        name: without suffix, as the config has it.
        suffixes: with the dot, in the order in which they are tried.
        sha256: hash that the file must have, in hex; empty takes any.

    Raises:
        AssetMissing: there is no such file, or it has another hash.
    """
    folder = state_folder() / "inputs" / kind
    for suffix in suffixes:
        path = folder / f"{name}{suffix}"
        if path.is_file():
            _check(path, sha256)
            return path
    wanted = " or ".join(f"{name}{suffix}" for suffix in suffixes)
    raise AssetMissing(
        f"no {wanted} in {folder.absolute()}; put the file there, or set MESHTUNE_STATE_DIR to the "
        f"folder that has inputs/{kind}"
    )


def _check(path: Path, sha256: str) -> None:
    if not sha256:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise AssetMissing(
            f"{path.absolute()} has SHA-256 {found} but the config asks for {sha256}; put the "
            "right file there, or change or clear sha256 in the config"
        )
