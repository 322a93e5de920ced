"""Comprehension: the ending that makes sense, and following an instruction."""

from collections.abc import Callable

import numpy as np

from meshtune.engine.tasks.base import Sample, pick, pick_distinct
from meshtune.engine.tasks.words import FACTS, WORDS

ENDINGS = tuple(ending for _, ending in FACTS)

INSTRUCTIONS: dict[str, Callable[[str], str]] = {
    "capitals": str.upper,
    "spell": lambda word: "-".join(word),
    "first": lambda word: word[0],
    "last": lambda word: word[-1],
    "repeat": lambda word: word,
    "twice": lambda word: f"{word} {word}",
}


def draw_ending(rng: np.random.Generator) -> Sample:
    """A beginning and four endings, named by their first letters; one makes sense."""
    start, right = pick(rng, FACTS)
    shown = [right]
    for ending in pick_distinct(rng, ENDINGS, len(ENDINGS)):
        if len(shown) < 4 and all(ending[0] != other[0] for other in shown):
            shown.append(ending)
    shown = [shown[int(i)] for i in rng.permutation(4)]
    return Sample(f"{start}:{','.join(shown)}>", right[0], tuple(text[0] for text in shown))


def draw_instruction(rng: np.random.Generator) -> Sample:
    """One word and what to do with it."""
    order, word = pick(rng, tuple(INSTRUCTIONS)), pick(rng, WORDS)
    return Sample(f'{order} "{word}">', INSTRUCTIONS[order](word))
