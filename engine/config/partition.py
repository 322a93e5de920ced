"""Who holds samples of which tasks."""

from typing import Annotated, Literal

from pydantic import Field

from meshtune.engine.fields import OUR_CHOICE, Finite, KindPart


class OneTask(KindPart):
    """Every device holds one task, in turn, as in the paper."""

    kind: Literal["one_task"] = "one_task"


class SeveralTasks(KindPart):
    """Every device holds several tasks in equal parts: its own and those that follow it."""

    kind: Literal["several_tasks"] = "several_tasks"
    tasks_each: int = Field(
        2,
        ge=2,
        le=64,
        title="Tasks each",
        description="How many of the tasks a device holds; at most all.",
        json_schema_extra=OUR_CHOICE,
    )


class DirichletTasks(KindPart):
    """Every device holds a mixture of the tasks that is drawn for it, most of it its own task."""

    kind: Literal["dirichlet"] = "dirichlet"
    alpha: Annotated[Finite, Field(ge=0.01, le=1e6)] = Field(
        0.5,
        title="Alpha",
        description="Small: nearly one task each. Large: all devices alike.",
        json_schema_extra=OUR_CHOICE,
    )


Partition = Annotated[OneTask | SeveralTasks | DirichletTasks, Field(discriminator="kind")]


def is_one_task(partition: Partition) -> bool:
    """Whether every device holds one task."""
    return isinstance(partition, OneTask)
