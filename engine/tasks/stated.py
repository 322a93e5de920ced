"""Whether a task from outside states all that is asked of it."""

import re

import numpy as np

from meshtune.engine.registry import load
from meshtune.engine.tasks.base import Sample
from meshtune.engine.tasks.kind import Task

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def require_stated(task: Task) -> None:
    """Whether a task has a name and makes samples.

    Raises:
        TypeError: what it draws is no sample.
        ValueError: its name or a number is not what it should be.
    """
    if not NAME.fullmatch(task.name):
        raise ValueError(f"{task.name!r} is no name: use lower case, digits and underscores")
    if not 0.0 <= task.chance <= 1.0:
        raise ValueError(f"its chance is {task.chance}; it lies between 0 and 1")
    if task.longest < 2:
        raise ValueError(f"its longest sample has {task.longest} tokens; at least 2 are needed")
    drawn = load(task.draw)(np.random.default_rng(0))
    if not isinstance(drawn, Sample):
        raise TypeError(f"it draws a {type(drawn).__name__}, not a Sample")
