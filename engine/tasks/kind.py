"""What a task tells before a sample of it is drawn."""

from dataclasses import dataclass
from typing import Literal

World = Literal["embedded", "alike"]  # of tasks that one base model has read the language of

NAME = r"^[a-z][a-z0-9_]*$"
TaskName = str  # records keep the names of tasks that are not installed here


@dataclass(frozen=True, kw_only=True)
class Task:
    """A generator of samples.

    Attributes:
        name: In configs and records.
        title: On screens.
        chance: Accuracy of a blind guess, between 0 and 1.
        longest: Tokens of its longest sample: the simulation pads to it.
        draw: "module:function" from a generator to a `meshtune.engine.tasks.base.Sample`.
        world: The model of the package that reads its language.
        declined: Share of its prompts that decline a second request, given to `draw` as well; None
            for a task without such prompts.
    """

    name: TaskName
    title: str
    chance: float
    longest: int
    draw: str
    world: World = "embedded"
    declined: float | None = None
