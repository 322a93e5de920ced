"""Generated tasks: those of the package in four groups of two, and those of other packages."""

from meshtune.engine.tasks.kind import Task, TaskName
from meshtune.engine.tasks.registry import TASK_NAMES, TASKS, TaskChoice, TaskWord, in_order

__all__ = ["TASKS", "TASK_NAMES", "Task", "TaskChoice", "TaskName", "TaskWord", "in_order"]
