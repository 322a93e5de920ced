"""Static A: projections that are drawn once from public streams and never trained."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshtune.engine.adapters.stack import Factors, Shapes
from meshtune.engine.errors import ConfigMismatch
from meshtune.engine.rng import stream
from meshtune.engine.tasks.kind import World
from meshtune.engine.tasks.registry import BUILT_IN

SHARED: dict[World, str] = {"embedded": "shared", "alike": "shared by alike"}  # streams
Kind = Literal["orthonormal", "task", "device", "common"]


def static_a(
    kind: Kind,
    seed: int,
    shapes: Shapes,
    rank: int,
    tasks: tuple[str, ...],
    own: Int[np.ndarray, " n"],
) -> Factors:
    """Static A of every device and module, (n, r, d_in), rows of length near or exactly 1 (M8).

        orthonormal  A_i A_j^T = I for one task, 0 between the 8 tasks of a world while 8 r <= d_in
        task         A_i ~ N(0, 1/d_in), one draw per task
        device       A_i ~ N(0, 1/d_in), one draw per device: the paper's Eq. 16
        common       A ~ N(0, 1/d_in), one draw for all

    The paper's rows are N(0, 1): their products have entries of standard deviation sqrt(d_in)
    instead of 1/sqrt(d_in), and the update is sqrt(d_in) times as large. The variance 1/d_in is
    our choice, like every kind but "device". Draws depend on seed, kind, module, and the name of
    the task or the number of the device, on nothing else: whoever knows those draws the same A.
    Source: arXiv 2602.20492, Eq. 16; "task" and "common" after Zhang et al., LoRI
    (arXiv 2504.07448), and Sun et al., FFA-LoRA (arXiv 2403.12313).

    Args:
        kind: Who shares a draw.
        seed: Seed of the run, known to all.
        shapes: (d_out, d_in) of the adapted modules.
        rank: Rows of each A.
        tasks: Tasks of the run.
        own: Index into `tasks` for every device.

    Raises:
        ConfigMismatch: orthonormal rows are asked for and the rank is larger than a module's input.
    """
    if kind == "orthonormal":
        return {
            name: _orthonormal(seed, name, d_in, rank, tasks)[own]
            for name, (_, d_in) in shapes.items()
        }
    owners: list[tuple[str | int, ...]]
    match kind:
        case "task":
            owners, index = [(kind, task) for task in tasks], own
        case "device":
            owners, index = [(kind, i) for i in range(len(own))], np.arange(len(own))
        case "common":
            owners, index = [(kind,)], np.zeros_like(own)
    return {
        name: torch.stack([_gaussian(seed, name, owner, rank, d_in) for owner in owners])[index]
        for name, (_, d_in) in shapes.items()
    }


def _orthonormal(
    seed: int, module: str, d_in: int, rank: int, tasks: tuple[str, ...]
) -> Float[Tensor, "tasks r d_in"]:
    """One block of rows per task, from a common orthonormal matrix where all blocks fit the width.

    Where they do not fit, and for a task that does not ship with the package, the rows are drawn
    for the task alone: orthonormal, and only nearly orthogonal to those of another.
    """
    if rank > d_in:
        raise ConfigMismatch(
            f"adapter.rank is {rank} but {module} has only {d_in} inputs; use at most {d_in}"
        )
    # Slots count all tasks of a world that ship, so that a task keeps its rows whoever else takes
    # part and whatever else is installed.
    blocks: dict[str, Tensor] = {}
    for world, name in SHARED.items():
        slots = [task.name for task in BUILT_IN if task.world == world]
        if len(slots) * rank <= d_in and not {*slots}.isdisjoint(tasks):
            shared = _haar_rows(seed, module, name, len(slots) * rank, d_in)
            blocks |= zip(slots, shared.split(rank), strict=True)
    for task in tasks:
        if task not in blocks:
            blocks[task] = _haar_rows(seed, module, task, rank, d_in)
    return torch.stack([blocks[task] for task in tasks])


def _haar_rows(seed: int, module: str, name: str, rows: int, width: int) -> Tensor:
    gaussian = stream(seed, "adapter", "orthonormal", module, name).normal(size=(width, rows))
    q, r = np.linalg.qr(gaussian)
    # Without the signs of R the columns would not be uniformly distributed.
    return torch.from_numpy((q * np.sign(np.diag(r))).T.copy()).float()


def _gaussian(seed: int, module: str, owner: tuple[str | int, ...], rank: int, d_in: int) -> Tensor:
    draw = stream(seed, "adapter", "gaussian", module, *owner).normal(size=(rank, d_in))
    return torch.from_numpy(draw / d_in**0.5).float()
