"""Devices: how many, with which tasks, samples and hardware."""

from typing import Literal

from pydantic import Field

from meshtune.engine.config.partition import OneTask, Partition, is_one_task
from meshtune.engine.fields import OUR_CHOICE, Finite, Part, matters_if
from meshtune.engine.tasks import WORLD_TASKS, TaskName, TaskWord, in_order

ALL = 1.0
HardwareName = Literal["flagship", "midrange", "entry", "wearable"]


class Fleet(Part):
    """Who takes part and what each device knows."""

    devices: int = Field(
        8,
        ge=1,
        le=256,
        title="Devices",
        description="Number of phones in the mesh. Training time grows in proportion.",
    )
    tasks: tuple[TaskWord, ...] = Field(
        WORLD_TASKS["embedded"],
        min_length=1,
        max_length=256,
        title="Tasks",
        description="Tasks dealt to the devices in turn: device i gets entry i, starting over at "
        "the end. Name one task per device to paint them by hand.",
    )
    train_samples: int = Field(
        2000,
        ge=1,
        le=100_000,
        title="Training samples per device",
        description="How many samples each device holds of its own task. Few samples overfit.",
    )

    # Left out of text and hash where it says nothing new, as configs without it mean the same.
    declined: Finite = Field(
        ALL,
        ge=0,
        le=1,
        title="Prompts with a declined request",
        description="Share of the prompts that decline a second request beside the one they ask. "
        "Of the tasks of Alike: at 0 single words tell them apart, at 1 only their order does.",
        exclude_if=lambda share: share == ALL,
        json_schema_extra={**OUR_CHOICE, **matters_if("model.source", none_of=("embedded",))},
    )
    samples_spread: Finite = Field(
        1.0,
        ge=1,
        le=1000,
        title="Spread of samples",
        description="How many times more samples the richest device holds than the poorest. "
        "Weights by data make a difference above 1.",
        json_schema_extra=OUR_CHOICE,
    )
    hardware: tuple[HardwareName, ...] = Field(
        ("midrange",),
        min_length=1,
        max_length=256,
        title="Hardware",
        description="Classes dealt to the devices in turn: how fast a device computes and what "
        "power it draws. The slowest holds up the round.",
        json_schema_extra=OUR_CHOICE,
    )

    # Left out of text and hash where it says nothing new.
    partition: Partition = Field(
        default_factory=OneTask, title="Who holds what", exclude_if=is_one_task
    )

    def task_of(self, device: int) -> TaskName:
        """Task that device number `device` holds, or holds most of."""
        return self.tasks[device % len(self.tasks)]

    def present_tasks(self) -> tuple[TaskName, ...]:
        """Tasks that at least one device holds, each once, as `in_order` has them."""
        return in_order(self.task_of(i) for i in range(self.devices))

    def held_tasks(self) -> tuple[int, ...]:
        """Task that each device holds, as an index into the present tasks."""
        present = self.present_tasks()
        return tuple(present.index(self.task_of(i)) for i in range(self.devices))

    def hardware_of(self, device: int) -> HardwareName:
        """Hardware class of device number `device`."""
        return self.hardware[device % len(self.hardware)]
