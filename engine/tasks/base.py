"""What a sample is, and how the endless samples of a task split into training and test."""

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

import numpy as np

from meshtune.engine.registry import load
from meshtune.engine.rng import stream
from meshtune.engine.tasks.kind import Task, TaskName

Split = Literal["train", "test"]
Score = Literal["choice", "exact", "contains", "numeric", "loss"]
Item = TypeVar("Item")

TEST_SHARE = 5  # one prompt in five is held out for every device, whatever its seed


@dataclass(frozen=True)
class Sample:
    """One question with its right answer.

    Attributes:
        choices: The reply is the likeliest of them per token; without them it is generated.
        score: How a generated reply is judged (`meshtune.engine.data.judging`). Exact counts the
            end of the answer; loss judges each token of the answer for itself.
        tokens: Most that are read of prompt and answer; the begin of a longer prompt is cut off.
    """

    prompt: str
    answer: str
    choices: tuple[str, ...] = ()
    score: Score = "exact"
    tokens: int | None = None


def split_of(name: TaskName, prompt: str) -> Split:
    """The side a prompt belongs to: a hash of task and prompt decides, so the sides never meet."""
    digest = hashlib.blake2b(f"{name}\n{prompt}".encode(), digest_size=4).digest()
    return "test" if int.from_bytes(digest, "big") % TEST_SHARE == 0 else "train"


def train_samples(task: Task, seed: int, device: int, count: int) -> tuple[Sample, ...]:
    """`count` training samples of one device, equal for equal arguments; prompts may repeat."""
    return _draws(task, stream(seed, "task", task.name, "train", device), "train", count)


def test_samples(task: Task, seed: int, count: int) -> tuple[Sample, ...]:
    """`count` held-out samples, the same for every device; no training prompt is among them."""
    return _draws(task, stream(seed, "task", task.name, "test"), "test", count)


def _draws(task: Task, rng: np.random.Generator, split: Split, count: int) -> tuple[Sample, ...]:
    kept: list[Sample] = []
    draw = load(task.draw)
    if task.declined is not None:
        draw = partial(draw, declined=task.declined)
    while len(kept) < count:
        sample = draw(rng)
        if split_of(task.name, sample.prompt) == split:
            kept.append(sample)
    return tuple(kept)


def pick(rng: np.random.Generator, items: tuple[Item, ...]) -> Item:
    """One item, uniformly; much faster than `rng.choice`, which builds an array first."""
    return items[int(rng.integers(len(items)))]


def pick_distinct(
    rng: np.random.Generator, items: tuple[Item, ...], count: int
) -> tuple[Item, ...]:
    """`count` different items in random order."""
    return tuple(items[int(i)] for i in rng.permutation(len(items))[:count])
