"""A made-up fleet for methods: no model, tiny shapes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from engine.config import TASK_NAMES
from engine.methods import Setup
from engine.methods.base import Heard

SHAPES = {"layers.0.q_proj": (6, 80), "layers.0.k_proj": (4, 80), "layers.0.down_proj": (10, 72)}
RANK = 2
VALUES_A = RANK * (80 + 80 + 72)
VALUES_B = RANK * (6 + 4 + 10)
PROTOTYPE_VALUES = 80 + 72  # q and k share their input


def full_mesh(devices: int) -> Heard:
    """Everybody hears everybody else."""
    return ~np.eye(devices, dtype=bool)


def line_mesh(devices: int) -> Heard:
    """Device i hears i - 1 and i + 1."""
    index = np.arange(devices)
    return np.asarray(np.abs(index[:, None] - index[None, :]) == 1)


def setup_of(own: Sequence[int], **changes: Any) -> Setup:
    """Devices with the tasks `own`, all linked, 16 bits on air."""
    n = len(own)
    generator = torch.Generator().manual_seed(5)
    shared = torch.randn(n, 80, generator=generator)
    values: dict[str, Any] = {
        "seed": 3,
        "rounds": 20,
        "tasks": TASK_NAMES[: max(own) + 1],
        "own": np.array(own),
        "linked": full_mesh(n),
        "shapes": SHAPES,
        "rank": RANK,
        "value_bits": 16,
        "prototypes": {
            "layers.0.q_proj": shared,
            "layers.0.k_proj": shared,
            "layers.0.down_proj": torch.randn(n, 72, generator=generator),
        },
    }
    return Setup(**(values | changes))
