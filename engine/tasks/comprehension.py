"""Comprehension: the ending that makes sense, and following an instruction."""

from collections.abc import Callable

import numpy as np

from engine.tasks.base import Sample, Task, pick, pick_distinct
from engine.tasks.words import FACTS, WORDS

LETTERS = ("a", "b", "c", "d")
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
    """The beginning of a sentence with four endings, of which one makes sense."""
    start, right = pick(rng, FACTS)
    wrong = pick_distinct(rng, tuple(ending for ending in ENDINGS if ending != right), 3)
    place = int(rng.integers(4))
    shown = (*wrong[:place], right, *wrong[place:])
    options = ",".join(f"{text} {letter}" for letter, text in zip(LETTERS, shown, strict=True))
    return Sample(f"{start}:{options}>", LETTERS[place], LETTERS)


def draw_instruction(rng: np.random.Generator) -> Sample:
    """One word and what to do with it."""
    order, word = pick(rng, tuple(INSTRUCTIONS)), pick(rng, WORDS)
    return Sample(f'{order} "{word}">', INSTRUCTIONS[order](word))


ENDING = Task("ending", "Pick the sensible ending", "comprehension", 1 / 4, draw_ending)
INSTRUCTION = Task("instruction", "Follow an instruction", "comprehension", 0.0, draw_instruction)
