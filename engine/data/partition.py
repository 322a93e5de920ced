"""Who holds what: the samples of every task dealt out to the devices, each to one of them."""

from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float64, Int64
from pydantic import Field

from meshtune.engine.fields import Finite, KindPart
from meshtune.engine.rng import stream

Alpha = Annotated[Finite, Field(ge=0.01, le=1e6)]
Weights = Float64[np.ndarray, "n t"]


class OneTask(KindPart):
    """Every device holds one task, in turn, as in the paper; those of a task share it evenly."""

    kind: Literal["one_task"] = "one_task"

    def weights(self, devices: int, tasks: int, seed: int) -> Weights:
        """How much of a task a device holds, in relation to the others."""
        turns = np.arange(devices)[:, None] % tasks
        held: Weights = (turns == np.arange(tasks)[None, :]).astype(np.float64)
        return held


class Dirichlet(KindPart):
    """Every device has a mixture of the tasks of its own, drawn from a Dirichlet distribution.

    Source: T.-M. H. Hsu, H. Qi, M. Brown, "Measuring the effects of non-identical data distribution
    for federated visual classification" (arXiv:1909.06335, 2019), with tasks in place of classes.
    """

    kind: Literal["dirichlet"] = "dirichlet"
    alpha: Alpha = Field(
        0.5, title="Alpha", description="Small: one task each. Large: all devices alike."
    )

    def weights(self, devices: int, tasks: int, seed: int) -> Weights:
        """See `OneTask`."""
        names = ("partition", self.kind)
        drawn = [
            stream(seed, *names, device).dirichlet(np.full(tasks, self.alpha))
            for device in range(devices)
        ]
        # What is too small for a number must not leave a task without a device.
        return np.maximum(np.stack(drawn), np.finfo(np.float64).tiny)


class Quantity(KindPart):
    """Every device holds all tasks in one mixture, some devices more of it than others."""

    kind: Literal["quantity"] = "quantity"
    alpha: Alpha = Field(
        0.5, title="Alpha", description="Small: few devices hold nearly all. Large: all the same."
    )

    def weights(self, devices: int, tasks: int, seed: int) -> Weights:
        """See `OneTask`."""
        sizes = stream(seed, "partition", self.kind).dirichlet(np.full(devices, self.alpha))
        return np.repeat(sizes[:, None], tasks, axis=1)


PARTITIONS: dict[str, type[OneTask | Dirichlet | Quantity]] = {
    "one_task": OneTask,
    "dirichlet": Dirichlet,
    "quantity": Quantity,
}


def dealt(
    partition: OneTask | Dirichlet | Quantity, devices: int, samples: tuple[int, ...], seed: int
) -> Int64[np.ndarray, "n t"]:
    """How many samples of each task each device holds; a column adds up to all of its task.

    A task without a device that would hold it, because there are fewer devices than tasks, is held
    by none, and its column is zero.

    Args:
        partition: by what rule.
        devices: how many.
        samples: of each task.
        seed: of the run.
    """
    weights = partition.weights(devices, len(samples), seed)
    columns = [apportioned(count, weights[:, task]) for task, count in enumerate(samples)]
    return np.stack(columns, axis=1)


def apportioned(count: int, weights: Float64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """Whole numbers that add up to `count`, by largest remainder; zero where all weights are."""
    total = weights.sum()
    if total == 0.0:
        return np.zeros(len(weights), dtype=np.int64)
    exact = count * (weights / total)
    whole: Int64[np.ndarray, " n"] = np.floor(exact).astype(np.int64)
    first = np.argsort(whole - exact, kind="stable")[: count - int(whole.sum())]
    whole[first] += 1
    return whole
