"""Generated tasks: those of the package, of two worlds, and those of other packages."""

from meshtune.engine.tasks.kind import Task, TaskName, World
from meshtune.engine.tasks.registry import (
    TASK_NAMES,
    TASKS,
    WORLD_TASKS,
    TaskChoice,
    TaskWord,
    dialled,
    in_order,
)

__all__ = [
    "TASKS",
    "TASK_NAMES",
    "WORLD_TASKS",
    "Task",
    "TaskChoice",
    "TaskName",
    "TaskWord",
    "World",
    "dialled",
    "in_order",
]
