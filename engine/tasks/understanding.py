"""Language understanding: a question on a small passage, and whether a sentence follows."""

import numpy as np

from engine.tasks.base import Sample, Task, pick, pick_distinct
from engine.tasks.words import ANIMALS, COLOURS, KINDS, OPPOSITES

KIND_OF = {animal: kind for kind, animals in KINDS.items() for animal in animals}
NAMED_ANIMALS = tuple(KIND_OF)
QUALITIES = tuple(quality for pair in OPPOSITES for quality in pair)
OPPOSITE_OF = {a: b for pair in OPPOSITES for a, b in (pair, pair[::-1])}


def draw_reading(rng: np.random.Generator) -> Sample:
    """Two animals with a colour each; does the one asked for have the colour asked for?"""
    first, second = pick_distinct(rng, ANIMALS, 2)
    colours = pick_distinct(rng, COLOURS, 2)
    asked = int(rng.integers(2))
    true = bool(rng.integers(2))
    animal = (first, second)[asked]
    colour = colours[asked] if true else colours[1 - asked]
    passage = f"{first} {colours[0]},{second} {colours[1]}"
    return Sample(f"{passage}.{animal} {colour}?>", "y" if true else "n", ("y", "n"))


def draw_entailment(rng: np.random.Generator) -> Sample:
    """Does the second sentence follow (e), contradict (c), or stay open (n)?"""
    label = pick(rng, ("e", "c", "n"))
    animal, quality = pick(rng, NAMED_ANIMALS), pick(rng, QUALITIES)
    subject = pick(rng, (animal, KIND_OF[animal]))
    other = OPPOSITE_OF[quality]
    if label == "e":
        claim = pick(rng, (quality, f"not {other}"))
    elif label == "c":
        claim = pick(rng, (other, f"not {quality}"))
    else:
        open_qualities = tuple(q for q in QUALITIES if q not in (quality, other))
        claim = pick(rng, ("", "not ")) + pick(rng, open_qualities)
    return Sample(f"{animal} is {quality};{subject} is {claim}>", label, ("e", "c", "n"))


READING = Task("reading", "Yes/no question on a passage", "understanding", 1 / 2, draw_reading)
ENTAILMENT = Task("entailment", "Does it follow?", "understanding", 1 / 3, draw_entailment)
