"""How many training samples each device holds."""

import numpy as np

from meshtune.engine import config as c
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
