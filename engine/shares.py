"""How many training samples each device holds, and of which tasks."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float64

from meshtune.engine import config as c
from meshtune.engine.data.partition import Dirichlet
from meshtune.engine.rng import stream


def samples_per_device(fleet: c.Fleet, seed: int) -> tuple[int, ...]:
    """Training samples of every device: a ladder from rich to poor, dealt out by lot.

        s_k = max(1, round(train_samples spread^(-k / (n - 1)))),   k = 0 .. n - 1

    The richest device holds `train_samples`, the poorest `samples_spread` times fewer, and every
    rung as many times fewer than the one above. Which device stands on which rung is drawn from
    stream(seed, "samples"). A spread of 1, or a device alone: all hold `train_samples`. The ladder
    is our choice.
    """
    n = fleet.devices
    rung = np.arange(n) / max(n - 1, 1)
    ladder = np.maximum(1, np.rint(fleet.train_samples * fleet.samples_spread**-rung))
    dealt = stream(seed, "samples").permutation(ladder)
    return tuple(int(samples) for samples in dealt)


@lru_cache(maxsize=8)  # every device of a world asks for its row
def mixtures(fleet: c.Fleet, seed: int) -> Float64[np.ndarray, "n tasks"]:
    """Shares of the present tasks in what every device holds; each row adds up to 1.

    With Dirichlet(alpha) the largest share of a draw and that of the device's own task change
    places, so that maps, clusters and experts name a device by what it holds most of (our choice).
    """
    n, own = fleet.devices, np.array(fleet.held_tasks())
    tasks, rows = len(fleet.present_tasks()), np.arange(n)
    match fleet.partition:
        case c.OneTask():
            held = np.zeros((n, tasks))
            held[rows, own] = 1.0
        case c.SeveralTasks(tasks_each=wanted):
            each = min(wanted, tasks)
            held = np.zeros((n, tasks))
            held[rows[:, None], (own[:, None] + np.arange(each)) % tasks] = 1.0 / each
        case c.DirichletTasks(alpha=alpha):
            held = Dirichlet(alpha=alpha).weights(n, tasks, seed)
            most = held.argmax(axis=1)
            held[rows, most], held[rows, own] = held[rows, own], held[rows, most]
    held.setflags(write=False)  # all who ask share it
    return held
