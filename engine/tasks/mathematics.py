"""Mathematics: sums of two numbers, and the English name of a number."""

import numpy as np

from meshtune.engine.tasks.base import Sample
from meshtune.engine.tasks.words import number_in_words


def draw_addition(rng: np.random.Generator) -> Sample:
    """Two 2-digit numbers whose sum has two digits."""
    first = int(rng.integers(10, 90))
    second = int(rng.integers(10, 100 - first))
    return Sample(f"{first}+{second}>", str(first + second))


def draw_number_words(rng: np.random.Generator) -> Sample:
    """A 3-digit number, to be written in words."""
    number = int(rng.integers(100, 1000))
    return Sample(f"#{number}>", number_in_words(number))
