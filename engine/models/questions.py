"""The questions of the tasks as the tokenizer of a model reads them."""

from dataclasses import dataclass
from functools import lru_cache

from meshtune.engine.backbone.tokenizer import Tokenizer
from meshtune.engine.config import RunConfig, TaskName
from meshtune.engine.models.door import facts_of, tokenizer_of
from meshtune.engine.tasks import TASKS
from meshtune.engine.tasks.base import Sample, test_samples

DRAWN = 64  # questions of each task
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
    """

    padded: float
    longest: int
    answer: int


def lengths_of(config: RunConfig, tasks: tuple[TaskName, ...]) -> Lengths:
    """Tokens of the questions of some tasks under the tokenizer of the model of a config."""
    if config.model.source == "embedded":
        longest = max(TASKS[task].longest for task in tasks)
        return Lengths(EMBEDDED_MEAN, longest, longest)
    return _lengths(tokenizer_of(config.model), tasks)


def question_problem(config: RunConfig) -> tuple[str, str] | None:
    """Why the model cannot be asked a task: field and sentence; None if it can.

    A reply is chosen by one token, so an offered answer must be one; and the longest question must
    fit into what the model reads.
    """
    tokenizer, tasks = tokenizer_of(config.model), config.fleet.present_tasks()
    for task in tasks:
        for answer in _offered(task):
            ids = tokenizer.encode(answer, add_special_tokens=False)
            if len(ids) != 1 or ids[0] == tokenizer.unk_token_id:
                what = f"{len(ids)} tokens of" if len(ids) != 1 else "unknown to"
                return (
                    "fleet.tasks",
                    f"the answer {answer!r} of the task {task} is {what} this model's tokenizer, "
                    "and an offered answer must be one; leave the task out",
                )
    longest, context = lengths_of(config, tasks).longest, facts_of(config.model).context
    if longest > context:
        return (
            "model.path",
            f"the model reads {context} tokens and the longest question has {longest}; choose "
            "another model, or shorter tasks",
        )
    return None


@lru_cache(maxsize=64)
def _offered(task: TaskName) -> tuple[str, ...]:
    choices = (choice for sample in _drawn(task) for choice in sample.choices)
    return tuple(dict.fromkeys(choices))


@lru_cache(maxsize=64)
def _drawn(task: TaskName) -> tuple[Sample, ...]:
    return test_samples(TASKS[task], 0, DRAWN)


@lru_cache(maxsize=64)
def _lengths(tokenizer: Tokenizer, tasks: tuple[TaskName, ...]) -> Lengths:
    padded, answers = [], []
    for task in tasks:
        whole = []
        for sample in _drawn(task):
            prompt, answer = (
                len(tokenizer.encode(text, add_special_tokens=False))
                for text in (sample.prompt, sample.answer)
            )
            answers.append(answer if sample.choices else answer + 1)  # its end is scored as well
            whole.append(prompt + answers[-1])  # the start token instead of the last one
        padded += [max(whole[first : first + BATCH]) for first in range(0, DRAWN, BATCH)]
    return Lengths(sum(padded) / len(padded), max(padded), max(answers))
