"""A made-up fleet for methods: no model, tiny shapes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from meshtune.engine.adapters.masks import active_union_mean
from meshtune.engine.adapters.stack import Adapters, Factor, Masks, flatten, select
from meshtune.engine.config import TASK_NAMES
from meshtune.engine.methods.rules import Heard, Memory, Method, Setup
from meshtune.engine.topology import Mesh
from meshtune.engine.weights import MixingRule

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


def one_way_ring(devices: int) -> Heard:
    """Device i hears i - 1, and nobody else."""
    return np.roll(np.eye(devices, dtype=bool), 1, axis=0) & full_mesh(devices)


def mesh_of(linked: Heard, cluster: Sequence[int] | None = None) -> Mesh:
    """A mesh with these links, devices on a line, one cluster unless said otherwise."""
    n = len(linked)
    places = np.stack([np.arange(n, dtype=np.float64), np.zeros(n)], axis=1)
    groups = np.zeros(n, dtype=np.int64) if cluster is None else np.array(cluster)
    return Mesh(places, linked, groups)


def silence(devices: int) -> Heard:
    """Nobody hears anybody."""
    return np.zeros((devices, devices), dtype=bool)


def setup_of(own: Sequence[int], **changes: Any) -> Setup:
    """Devices with the tasks `own`, 16 bits on air, prototypes for the gate."""
    n = len(own)
    generator = torch.Generator().manual_seed(5)
    shared = torch.randn(n, 80, generator=generator)
    values: dict[str, Any] = {
        "seed": 3,
        "rounds": 20,
        "tasks": TASK_NAMES[: max(own) + 1],
        "own": np.array(own),
        "shapes": SHAPES,
        "rank": RANK,
        "scaling": 2.0,
        "value_bits": 16,
        "places": "least",
        "mixing": MixingRule(),
        "samples": 32,
        "clustered": False,
        "fixed": True,
        "signatures": {
            "mean": {
                "layers.0.q_proj": shared,
                "layers.0.k_proj": shared,
                "layers.0.down_proj": torch.randn(n, 72, generator=generator),
            }
        },
        "entropies": {},
    }
    return Setup(**(values | changes))


def active_mean(
    own: Adapters, sent: Adapters, masks: Masks, weights: Float[Tensor, "n n"]
) -> Adapters:
    """The mean of the active senders where the receiver holds the entry: it goes on with that."""
    union = active_union_mean(own, sent, masks, weights)
    return Adapters(own.a, {name: torch.where(masks[name], v, 0.0) for name, v in union.items()})


def moved(adapters: Adapters, method: Method, seed: int = 0) -> Adapters:
    """Adapters as if training had moved the factors that the method trains."""
    generator = torch.Generator().manual_seed(seed)

    def some(factor: Factor, values: dict[str, Tensor]) -> dict[str, Tensor]:
        if factor not in method.trained:
            return values
        return {k: v + torch.randn(v.shape, generator=generator) for k, v in values.items()}

    return Adapters(some("a", adapters.a), some("b", adapters.b))


def trained(method: Method, mesh: Mesh, seed: int = 0) -> tuple[Adapters, Memory]:
    """Adapters and memory as they stand before the first exchange."""
    adapters, memory = method.start()
    if method.warm_up_steps(0):
        memory = method.after_warm_up(moved(adapters, method, seed + 1), memory, mesh, 0)
    return locally_trained(adapters, memory, method, seed), memory


def locally_trained(adapters: Adapters, memory: Memory, method: Method, seed: int) -> Adapters:
    """Adapters as the round loop hands them to `combine`: masked, and one for all if pooled."""
    after = moved(adapters, method, seed)
    masks = method.masks(memory)
    if masks is not None:
        after = Adapters(after.a, {k: v * masks[k] for k, v in after.b.items()})
    devices = len(next(iter(after.b.values())))
    return select(after, [0] * devices) if method.pooled else after


def all_values(adapters: Adapters) -> Tensor:
    """All values of each device as one row."""
    return torch.cat([flatten(x) for x in (adapters.a, adapters.b) if x], dim=1)
