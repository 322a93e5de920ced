"""A task from outside, for the embedded model."""

import numpy as np

from meshtune.engine.tasks.base import Sample
from meshtune.engine.tasks.kind import Task


def draw_parity(rng: np.random.Generator) -> Sample:
    """Is a number even?"""
    number = int(rng.integers(10_000))
    return Sample(f"{number} even?>", "n" if number % 2 else "y", ("y", "n"))


PARITY = Task(
    name="parity",
    title="Parity",
    chance=1 / 2,
    longest=12,
    draw="meshtune_seldom.questions:draw_parity",
)
