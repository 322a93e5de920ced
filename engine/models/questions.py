"""The questions of the tasks as the tokenizer of a model reads them."""

from dataclasses import dataclass
from functools import lru_cache

from meshtune.engine.backbone.tokenizer import Tokenizer
from meshtune.engine.config import FileTask, RunConfig, TaskName
from meshtune.engine.data.judging import SPOKEN
from meshtune.engine.data.rows import DataError
from meshtune.engine.errors import AssetMissing
from meshtune.engine.models.door import facts_of, tokenizer_of
from meshtune.engine.samples import all_samples, brought, require_rows
from meshtune.engine.tasks import TASKS
from meshtune.engine.tasks.base import Sample, test_samples

DRAWN = 64  # questions of each task
LONG = 16  # and so many of the longest of a file
BATCH = 16
# Tokens of a sample of the embedded tasks, padded to the longest of its batch: the mean over the
# eight tasks, for batches of 16. A test measures it again.
EMBEDDED_MEAN = 25.0


@dataclass(frozen=True)
class Lengths:
    """Tokens of a question with its answer.

    Attributes:
        padded: Mean, padded to the longest of its batch.
        longest: Of all.
        answer: Most that are scored of one.
        passes: Mean passes through the model that one answer takes in an evaluation, at most.
    """

    padded: float
    longest: int
    answer: int
    passes: float = 1.0


def lengths_of(config: RunConfig, tasks: tuple[TaskName, ...]) -> Lengths:
    """Tokens of the questions of some tasks under the tokenizer of the model of a config.

    Raises:
        AssetMissing: a file of the model or of a task is not on this disk.
        DataError: no row of a file can be used.
    """
    if config.model.source == "embedded" and not any(brought(config, task) for task in tasks):
        longest = max(TASKS[task].longest for task in tasks)
        return Lengths(EMBEDDED_MEAN, longest, longest)
    return _lengths(tokenizer_of(config.model), tuple(_drawn(config, task) for task in tasks))


def question_problem(config: RunConfig) -> tuple[str, str] | None:
    """Why the model cannot be asked a task: field and sentence; None if it can.

    The files of tasks must be there and have rows for everyone; what is asked and answered must be
    known to the tokenizer; and the longest question must fit into what the model reads.
    """
    for number, own in enumerate(config.tasks):
        try:
            require_rows(config, own)
        except (AssetMissing, DataError) as error:
            return f"tasks.{number}.path", str(error)
    tokenizer, tasks = tokenizer_of(config.model), config.fleet.present_tasks()
    for task in tasks:
        unknown = _unknown(tokenizer, _drawn(config, task))
        if unknown:
            return (
                "fleet.tasks",
                f"the task {task} asks or answers {unknown[:80]!r}, which is unknown to this "
                "model's tokenizer; leave the task out, or choose another model",
            )
    longest, context = lengths_of(config, tasks).longest, facts_of(config.model).context
    if longest > context:
        return (
            "model.path",
            f"the model reads {context} tokens and the longest question has {longest}; choose "
            "another model, or shorter tasks",
        )
    return None


@lru_cache(maxsize=256)
def _unknown(tokenizer: Tokenizer, samples: tuple[Sample, ...]) -> str | None:
    """The first word that the tokenizer does not know; None if it knows all."""
    for text in (text for each in samples for text in (each.prompt, each.answer, *each.choices)):
        if _is_unknown(tokenizer, text):
            return next((word for word in text.split() if _is_unknown(tokenizer, word)), text)
    return None


def _is_unknown(tokenizer: Tokenizer, text: str) -> bool:
    ids = tokenizer.encode(text, add_special_tokens=False)
    return not ids or tokenizer.unk_token_id in ids


def _drawn(config: RunConfig, name: TaskName) -> tuple[Sample, ...]:
    """Some samples of a task, whatever the seed; of a file the longest are among them."""
    task = brought(config, name)
    return _of_the_catalogue(name) if task is None else _of_file(task)


@lru_cache(maxsize=64)
def _of_the_catalogue(name: TaskName) -> tuple[Sample, ...]:
    return test_samples(TASKS[name], 0, DRAWN)


def _of_file(task: FileTask) -> tuple[Sample, ...]:
    every = all_samples(task)
    longest = sorted(every, key=lambda each: len(each.prompt) + len(each.answer))[-LONG:]
    return (*every[:DRAWN], *longest)


@lru_cache(maxsize=64)
def _lengths(tokenizer: Tokenizer, tasks: tuple[tuple[Sample, ...], ...]) -> Lengths:
    measured = [[_measured(tokenizer, sample) for sample in task] for task in tasks]
    padded = [
        max(whole for whole, _, _ in task[first : first + BATCH])
        for task in measured
        for first in range(0, min(len(task), DRAWN), BATCH)
    ]
    every = [each for task in measured for each in task]
    return Lengths(
        padded=sum(padded) / len(padded),
        longest=max(whole for whole, _, _ in every),
        answer=max(answer for _, answer, _ in every),
        passes=sum(passes for _, _, passes in every) / len(every),
    )


def _measured(tokenizer: Tokenizer, sample: Sample) -> tuple[int, int, int]:
    """Tokens that are read, tokens that are scored, and passes that a question takes at most."""
    prompt, answer = (
        len(tokenizer.encode(text, add_special_tokens=False))
        for text in (sample.prompt, sample.answer)
    )
    scored = answer if sample.choices else answer + 1  # its end is scored as well
    whole = prompt + scored  # the start token instead of the last one
    if sample.tokens is not None:
        whole = min(whole, sample.tokens - 1)
        scored = min(scored, whole)
    return whole, scored, _passes(tokenizer, sample, scored)


def _passes(tokenizer: Tokenizer, sample: Sample, scored: int) -> int:
    if sample.score in SPOKEN:
        return 1 + scored
    offered = (tokenizer.encode(each, add_special_tokens=False) for each in sample.choices)
    return len(sample.choices) if any(len(ids) > 1 for ids in offered) else 1
