"""The wire contract of the playground. Light, so that the dashboard shares it."""

from typing import Annotated, Literal

from pydantic import Field

from meshtune.backend.schemas.runs import Wire
from meshtune.engine.config import TaskName, TaskWord
from meshtune.engine.fields import InputName
from meshtune.engine.methods.gates import GateLevel, GateName

ArmName = Literal["base", "own", "merged", "gated", "oracle", "outside"]
PROMPT_MOST = 2000  # characters
Prompt = Annotated[str, Field(max_length=PROMPT_MOST, pattern=r"^[^\x00]*$")]
NUMBER_MAX = 10_000


class PlaygroundOut(Wire):
    """What can be asked of a run."""

    rounds: list[int] = Field(description="Finished rounds whose state is kept, oldest first")
    tasks: list[TaskName]
    devices: list[TaskName] = Field(description="Own task of every device")
    missing: str | None = Field(description="Why nothing can be asked; None if something can")
    adapters: list[InputName] = Field(
        default_factory=list, description="PEFT folders below adapters/ of the state folder"
    )


class GateIn(Wire):
    """How to gate, where it should differ from the run."""

    kind: GateName | None = None
    level: GateLevel | None = None
    blend: Literal["hard", "soft"] | None = None
    top_k: int | None = Field(None, ge=1, le=256, description="Only the best so many experts")
    off: list[Annotated[int, Field(ge=0, le=255)]] = Field(
        default_factory=list,
        max_length=256,
        description="Experts switched off, by their place in the library",
    )


class AskIn(Wire):
    """One prompt to one device: typed, or test question `number` of `task`."""

    run_id: int = Field(ge=1, le=2**31 - 1)
    device: int = Field(0, ge=0, le=255)
    rounds_done: int | None = Field(
        None, ge=1, le=10_000_000, description="After so many rounds; the newest if not given"
    )
    prompt: Prompt | None = Field(None, description="Typed; a test question if not given")
    task: TaskWord | None = Field(None, description="Of the question; told to the oracle only")
    number: int = Field(0, ge=0, le=NUMBER_MAX, description="Which test question of the task")
    gate: GateIn = Field(default_factory=GateIn)
    adapter: InputName | None = Field(
        None, description="A PEFT folder below adapters/ of the state folder that answers as well"
    )


class ArmOut(Wire):
    """What one arm said."""

    name: ArmName
    text: str
    correct: bool | None = Field(description="None for a typed prompt, whose answer nobody knows")
    likely: list[tuple[str, float]] = Field(description="Probabilities of the first answer token")
    options: list[tuple[str, float]] = Field(
        description="Offered answers and how likely each is among them"
    )


class ExpertOut(Wire):
    """An expert that the device holds, in the order of its library."""

    task: TaskName
    on: bool
    weight: float = Field(description="Mean over modules and prompt tokens")


class AnsweredOut(Wire):
    """What all arms said, and how the gate weighed the experts."""

    rounds_done: int
    prompt: str
    task: TaskName | None
    answer: str | None = Field(description="The right one; None if nobody knows")
    choices: list[str]
    tokens: list[str]
    arms: list[ArmOut]
    missing: dict[ArmName, str] = Field(description="Arms that make no sense here, and why")
    experts: list[ExpertOut]
    modules: list[str]
    gate: list[list[list[float]]] = Field(
        description="Weight by module, token (one if alike for all), expert"
    )
    gate_kind: str
    gate_level: str
    gate_blend: str
    kinds: list[GateName] = Field(description="Gates that this library can be asked with")
    merged_of: str
    seconds: float = Field(description="Time the answer took here")
