"""Tasks by name: those that ship with the package, and those of entry points.

A package adds a task for the embedded model with an entry point of the group `meshtune.tasks` that
names its `Task` (CONTRIBUTING.md).
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, get_args

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticKnownError

from meshtune.engine.registry import Registry, load
from meshtune.engine.tasks.kind import NAME, Task, TaskName, World

LONGEST_ALIKE = 34


def _row(name: str, title: str, family: str, *, longest: int, chance: float) -> Task:
    draw = f"{__package__}.{family}:draw_{name}"
    return Task(name=name, title=title, chance=chance, longest=longest, draw=draw)


def _alike(kind: str, title: str) -> Task:
    return Task(
        name=f"alike_{kind}",
        title=title,
        chance=0.0,
        longest=LONGEST_ALIKE,
        draw=f"{__package__}.alike:draw_{kind}",
        world="alike",
        declined=1.0,
    )


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
    _alike("total", "Total"),
    _alike("gap", "Gap"),
    _alike("bigger", "Bigger number"),
    _alike("smaller", "Smaller number"),
    _alike("first_colour", "First colour"),
    _alike("last_colour", "Last colour"),
    _alike("first_things", "First things"),
    _alike("last_things", "Last things"),
)
TASKS: Registry[Task] = Registry(
    "meshtune.tasks",
    [f"{__name__}:BUILT_IN"],
    row=Task,
    check=lambda task: load(f"{__package__}.stated:require_stated")(task),
)
TASK_NAMES: tuple[str, ...] = tuple(TASKS)
WORLD_TASKS: dict[World, tuple[str, ...]] = {
    world: tuple(task.name for task in TASKS.rows() if task.world == world)
    for world in get_args(World)
}


def dialled(name: TaskName, declined: float) -> Task:
    """The task with that share of prompts that decline a request, if it has such prompts."""
    task = TASKS[name]
    return task if task.declined is None else replace(task, declined=declined)


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
