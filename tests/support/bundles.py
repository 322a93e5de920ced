"""Runs with a checkpoint file, and bundles of them that are right or wrong in one place."""

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from sqlalchemy import Engine

from meshtune.backend.settings import Settings
from meshtune.db import runs
from meshtune.db.session import reading
from meshtune.engine.config import RunConfig, config_hash
from meshtune.engine.records import RunStatus
from tests.support.builders import stored_run, tiny_config

RANK = 2


def write_checkpoint(path: Path, config: RunConfig, rounds_done: int) -> None:
    """A checkpoint of a model with two modules, as `meshtune.engine.checkpoint` lays it out."""
    draw = np.random.default_rng(rounds_done)
    n = config.fleet.devices
    tensors = {
        f"now.{factor}.layers.0.{module}": draw.normal(size=(n, *shape)).astype(np.float32)
        for module in ("q_proj", "down_proj")
        for factor, shape in (("a", (RANK, 5)), ("b", (7, RANK)))
    }
    header = {"round_index": rounds_done, "config_sha256": config_hash(config)}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata={"meshtune": json.dumps(header)})


def kept_run(
    store: Engine,
    settings: Settings,
    *,
    rounds: int = 2,
    status: RunStatus = RunStatus.COMPLETED,
    **changes: Any,
) -> int:
    """Number of a stored run whose checkpoint lies where workers keep it."""
    config = tiny_config(adapter__rank=RANK, **changes)
    run_id = stored_run(store, config, rounds=rounds, status=status)
    with reading(store) as session:
        checkpoint = runs.get(session, run_id).checkpoint
    if checkpoint:
        write_checkpoint(settings.checkpoint_dir / checkpoint, config, rounds)
    return run_id


def contents(bundle: Path) -> dict[str, bytes]:
    """Bytes by name, of a folder or a zip file."""
    if bundle.is_dir():
        files = sorted(path for path in bundle.rglob("*") if path.is_file())
        return {path.relative_to(bundle).as_posix(): path.read_bytes() for path in files}
    with zipfile.ZipFile(bundle) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(files: dict[str, bytes], out: Path) -> Path:
    """The files as a zip file."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out


def with_files(files: dict[str, bytes], changed: dict[str, bytes | None]) -> dict[str, bytes]:
    """Files of a bundle with some replaced (None: gone), and a manifest that agrees with them."""
    manifest = json.loads(files["manifest.json"])
    result = dict(files)
    for name, content in changed.items():
        manifest["files"].pop(name, None)
        result.pop(name, None)
        if content is not None:
            digest = hashlib.sha256(content).hexdigest()
            manifest["files"][name] = {"bytes": len(content), "sha256": digest}
            result[name] = content
    return result | {"manifest.json": json.dumps(manifest).encode()}


def with_manifest(
    files: dict[str, bytes], change: Callable[[dict[str, Any]], object]
) -> dict[str, bytes]:
    """Files of a bundle whose manifest was changed in place."""
    manifest = json.loads(files["manifest.json"])
    change(manifest)
    return files | {"manifest.json": json.dumps(manifest).encode()}
