"""Language understanding: a question on a small passage, and whether a sentence follows."""

import numpy as np

from meshtune.engine.tasks.base import Sample, pick, pick_distinct
from meshtune.engine.tasks.words import ANIMALS, COLOURS, KINDS, OPPOSITES

KIND_OF = {animal: kind for kind, animals in KINDS.items() for animal in animals}
NAMED_ANIMALS = tuple(KIND_OF)
QUALITIES = tuple(quality for pair in OPPOSITES for quality in pair)
OPPOSITE_OF = {a: b for pair in OPPOSITES for a, b in (pair, pair[::-1])}


# Few words, because short training has to find out what each of them means to a question.
READ_ANIMALS, READ_COLOURS = ANIMALS[:6], COLOURS[:4]
CLAIMED = QUALITIES[:8]


def draw_reading(rng: np.random.Generator) -> Sample:
    """Two animals with a colour each; is one of them of the colour asked for, or of a third one?"""
    animals = pick_distinct(rng, READ_ANIMALS, 2)
    *colours, third = pick_distinct(rng, READ_COLOURS, 3)
    asked, true = int(rng.integers(2)), bool(rng.integers(2))
    passage = ",".join(
        f"{animal} {colour}" for animal, colour in zip(animals, colours, strict=True)
    )
    claim = f"{animals[asked]} {colours[asked] if true else third}"
    return Sample(f"{passage}.{claim}?>", "y" if true else "n", ("y", "n"))


def draw_entailment(rng: np.random.Generator) -> Sample:
    """Does the second sentence follow (e), contradict (c), or stay open (n)?"""
    label = pick(rng, ("e", "c", "n"))
    animal, quality = pick(rng, NAMED_ANIMALS), pick(rng, CLAIMED)
    subject = pick(rng, (animal, KIND_OF[animal]))
    opposite = OPPOSITE_OF[quality]
    others = tuple(other for other in CLAIMED if other not in (quality, opposite))
    claim = {"e": quality, "c": opposite, "n": pick(rng, others)}[label]
    return Sample(f"{animal} is {quality};{subject} is {claim}>", label, ("e", "c", "n"))
