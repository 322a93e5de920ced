"""The eight generated tasks, two in each of four groups."""

from typing import assert_never

from meshtune.engine.tasks.base import Group, Sample, Task, split_of, test_samples, train_samples
from meshtune.engine.tasks.code import EXPRESSION, LIST_RESULT
from meshtune.engine.tasks.comprehension import ENDING, INSTRUCTION
from meshtune.engine.tasks.mathematics import ADDITION, NUMBER_WORDS
from meshtune.engine.tasks.names import TaskName
from meshtune.engine.tasks.understanding import ENTAILMENT, READING

__all__ = [
    "Group",
    "Sample",
    "Task",
    "TaskName",
    "build_task",
    "split_of",
    "test_samples",
    "train_samples",
]


def build_task(name: TaskName) -> Task:
    """The task with this name."""
    match name:
        case "reading":
            return READING
        case "entailment":
            return ENTAILMENT
        case "addition":
            return ADDITION
        case "number_words":
            return NUMBER_WORDS
        case "expression":
            return EXPRESSION
        case "list_result":
            return LIST_RESULT
        case "ending":
            return ENDING
        case "instruction":
            return INSTRUCTION
        case _:
            assert_never(name)
