"""Tasks by name: those that ship with the package, and those of entry points.

A package adds a task for the embedded model with an entry point of the group `meshtune.tasks` that
names its `Task` (CONTRIBUTING.md).
"""

from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticKnownError

from meshtune.engine.registry import Registry, load
from meshtune.engine.tasks.kind import NAME, Task, TaskName


def _row(name: str, title: str, family: str, *, longest: int, chance: float) -> Task:
    draw = f"{__package__}.{family}:draw_{name}"
    return Task(name=name, title=title, chance=chance, longest=longest, draw=draw)


# In the order of legends and of stored runs.
BUILT_IN = (
    _row("reading", "Reading", "understanding", longest=29, chance=1 / 2),
    _row("entailment", "Entailment", "understanding", longest=29, chance=1 / 3),
    _row("addition", "Addition", "mathematics", longest=9, chance=0.0),
    _row("number_words", "Number words", "mathematics", longest=33, chance=0.0),
    _row("expression", "Expression", "code", longest=13, chance=0.0),
    _row("list_result", "List result", "code", longest=28, chance=0.0),
    _row("ending", "Ending", "comprehension", longest=38, chance=1 / 4),
    _row("instruction", "Instruction", "comprehension", longest=26, chance=0.0),
)
TASKS: Registry[Task] = Registry(
    "meshtune.tasks",
    [f"{__name__}:BUILT_IN"],
    row=Task,
    check=lambda task: load(f"{__package__}.stated:require_stated")(task),
)
TASK_NAMES: tuple[str, ...] = tuple(TASKS)


def _known(name: str) -> str:
    if name in TASKS:
        return name
    *most, last = map(repr, TASK_NAMES)
    raise PydanticKnownError("literal_error", {"expected": f"{', '.join(most)} or {last}"})


def in_order(names: Iterable[TaskName]) -> tuple[TaskName, ...]:
    """Each of the names once, in the order of legends: those of the catalogue, then the others."""
    given = tuple(dict.fromkeys(names))
    known = tuple(name for name in TASK_NAMES if name in given)
    return known + tuple(name for name in given if name not in known)


# What a person writes where a task of a run is named: of the catalogue, or one it brings along.
TaskWord = Annotated[str, Field(pattern=NAME, max_length=40)]
# What a person writes where a task is chosen.
TaskChoice = Annotated[
    str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": list(TASK_NAMES)})
]
