"""State to a safetensors file and back: never pickled, so a file cannot run code.

A file carries the SHA-256 of its content, because a flipped bit would otherwise train on unseen.
"""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from meshtune.engine.adapters.stack import Adapters
from meshtune.engine.config import config_hash
from meshtune.engine.errors import CheckpointError
from meshtune.engine.fleet import OptimizerState
from meshtune.engine.topology import Merge, Mesh
from meshtune.engine.world import State, World


def save_state(world: World, state: State, path: Path) -> None:
    """Write `state` so that a reader sees the whole file or none: temporary file, fsync, rename.

    Raises:
        OSError: the disk is full or may not be written; what was at `path` is still there.
    """
    tensors: dict[str, torch.Tensor] = {}
    optimizer = state.optimizer
    for part, adapters in (("now", state.adapters), ("m", optimizer.m), ("v", optimizer.v)):
        tensors |= {f"{part}.a.{name}": value for name, value in adapters.a.items()}
        tensors |= {f"{part}.b.{name}": value for name, value in adapters.b.items()}
    tensors |= {f"memory.{name}": value for name, value in state.memory.items()}
    mesh = state.mesh
    for name in ("positions", "linked", "cluster"):
        tensors[f"mesh.{name}"] = torch.from_numpy(getattr(mesh, name).copy())
    tensors = {name: value.contiguous().clone() for name, value in tensors.items()}
    header: dict[str, Any] = {
        "round_index": state.round_index,
        "step": optimizer.step,
        "updates": optimizer.updates,
        "config_sha256": config_hash(world.config),
        "merges": [asdict(merge) for merge in mesh.merges],
    }
    header["sha256"] = _digest(header, tensors)
    # Not written by safetensors itself: its errors do not tell a full disk from a bug.
    written = save(tensors, metadata={"meshtune": json.dumps(header)})
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(written)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load_state(world: World, path: Path) -> State:
    """The state that `save_state` wrote for the same config.

    Raises:
        CheckpointError: missing, damaged, or written under another config.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["meshtune"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        # Files of older versions carry no digest.
        known = header.pop("sha256", None)
        if known is not None and known != _digest(header, tensors):
            raise CheckpointError(f"checkpoint {path.name} is damaged: its bytes have changed")
        if header["config_sha256"] != config_hash(world.config):
            raise CheckpointError(f"checkpoint {path.name} belongs to a run with another config")
        return _state(world, header, tensors)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"checkpoint {path.name} cannot be read: {error}") from error


def _digest(header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        # A fresh copy: an expanded tensor cannot be seen as bytes.
        digest.update(tensors[name].flatten().repeat(1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _state(world: World, header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> State:
    return State(
        round_index=header["round_index"],
        adapters=_adapters(tensors, "now", world),
        optimizer=OptimizerState(
            step=header["step"],
            m=_adapters(tensors, "m", world),
            v=_adapters(tensors, "v", world),
            updates=header["updates"],
        ),
        memory=_under(tensors, "memory."),
        mesh=Mesh(
            **{name: value.numpy() for name, value in _under(tensors, "mesh.").items()},
            merges=tuple(_merge(**step) for step in header["merges"]),
        ),
    )


def _merge(left: list[int], right: list[int], collision: float, power_w: float) -> Merge:
    return Merge(tuple(left), tuple(right), collision, power_w)


def _adapters(tensors: dict[str, torch.Tensor], part: str, world: World) -> Adapters:
    a, b = _under(tensors, f"{part}.a."), _under(tensors, f"{part}.b.")
    # The file sorts names its own way; sums over modules must run in network order to be bit-equal.
    names = list(world.backbone.shapes)
    return Adapters(
        {name: a[name] for name in names if name in a},
        {name: b[name] for name in names if name in b},
    )


def _under(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
