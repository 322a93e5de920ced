"""Which tasks there are, in the order of legends and of stored runs."""

from typing import Literal, get_args

TaskName = Literal[
    "reading",
    "entailment",
    "addition",
    "number_words",
    "expression",
    "list_result",
    "ending",
    "instruction",
]
TASK_NAMES: tuple[TaskName, ...] = get_args(TaskName)
