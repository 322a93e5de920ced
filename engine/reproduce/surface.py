"""How far the surface of a prompt tells its task: counts of characters, words and pairs of words.

Whoever counts learns from prompts with their task, and is then asked about prompts it has not seen.
"""

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Float32
from torch.nn import functional

Texts = Sequence[Sequence[str]]  # prompts, task by task
Features = Callable[[str], Iterable[Hashable]]
TRAINED_STEPS, TRAINED_RATE, TRAINED_DECAY = 300, 0.01, 0.1


def words(text: str) -> list[str]:
    """Words and marks in small letters."""
    return re.findall(r"\w+|[^\w\s]", text.lower())


FEATURES: dict[str, Features] = {
    "characters": str.lower,
    "words": words,
    "pairs of words": lambda text: zip(words(text), words(text)[1:], strict=False),
    "triples of words": lambda text: zip(
        words(text), words(text)[1:], words(text)[2:], strict=False
    ),
}


def by_centroid(features: Features, learned: Texts, asked: Texts) -> float:
    """Share of the asked prompts whose counts are nearest to the mean counts of their own task."""
    (known, truth), (seen, asked_truth) = _counted(features, learned, asked)
    means = np.stack([known[truth == task].mean(axis=0) for task in range(len(learned))])
    nearest = (seen @ means.T - (means**2).sum(axis=1) / 2).argmax(axis=1)
    return float((nearest == asked_truth).mean())


def by_training(features: Features, learned: Texts, asked: Texts) -> float:
    """The same of a linear classifier that was trained on the counts (AdamW, full batches)."""
    (known, truth), (seen, asked_truth) = _counted(features, learned, asked)
    centre, scale = known.mean(axis=0), known.std(axis=0) + 1e-3
    x, y = torch.from_numpy((known - centre) / scale), torch.from_numpy(truth)
    torch.manual_seed(0)
    linear = torch.nn.Linear(x.shape[1], len(learned))
    mover = torch.optim.AdamW(linear.parameters(), lr=TRAINED_RATE, weight_decay=TRAINED_DECAY)
    for _ in range(TRAINED_STEPS):
        mover.zero_grad()
        functional.cross_entropy(linear(x), y).backward()
        mover.step()
    with torch.no_grad():
        said = linear(torch.from_numpy((seen - centre) / scale)).argmax(dim=1)
    return float((said.numpy() == asked_truth).mean())


def _counted(
    features: Features, learned: Texts, asked: Texts
) -> tuple[tuple[Float32[np.ndarray, "s f"], np.ndarray], ...]:
    """Counts and tasks of the learned prompts and of the asked ones, of what the former hold."""
    known = sorted({each for task in learned for text in task for each in features(text)}, key=str)
    column = {each: place for place, each in enumerate(known)}
    return tuple(
        (
            np.stack([_row(features(text), column) for task in texts for text in task]),
            np.repeat(np.arange(len(texts)), [len(task) for task in texts]),
        )
        for texts in (learned, asked)
    )


def _row(found: Iterable[Hashable], column: dict[Hashable, int]) -> Float32[np.ndarray, " f"]:
    row = np.zeros(len(column), dtype=np.float32)
    for each, count in Counter(found).items():
        if each in column:
            row[column[each]] = count
    return row
