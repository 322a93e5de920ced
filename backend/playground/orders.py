"""What the API and the playground's process say to each other."""

from dataclasses import dataclass
from pathlib import Path

from meshtune.backend.schemas.learn import RoutingOut
from meshtune.backend.schemas.playground import AnsweredOut, AskIn
from meshtune.engine.config import RunConfig


@dataclass(frozen=True)
class Order:
    """A question, about the state in the checkpoint `name`; its file only where it is needed."""

    ask: AskIn
    rounds_done: int
    name: str
    config: RunConfig
    path: Path | None


@dataclass(frozen=True)
class RouteOrder:
    """Route test prompts of all tasks at the input of a layer of the embedded model."""

    layer: int


@dataclass(frozen=True)
class FileNeeded:
    """The state is not in memory: ask again with its file."""


@dataclass(frozen=True)
class Refused:
    """Why there is no answer: the field it is about, and one sentence."""

    field: str
    sentence: str


Reply = AnsweredOut | RoutingOut | FileNeeded | Refused
