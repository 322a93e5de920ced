"""What goes over the pipe between a supervisor and the child that trains."""

from dataclasses import dataclass
from enum import Enum

from meshtune.engine.records import RunStatus


class Order(Enum):
    """What a supervisor tells a busy child."""

    FINISH_ROUND = "finish the round, then stop"
    STOP = "stop before the next step"


class Outcome(Enum):
    """How a child ends its work, where that is no status of the run."""

    INTERRUPTED = "stopped as told"
    CLAIM_LOST = "somebody else owns the run"
    STORE_LOST = "the database cannot be written"


@dataclass(frozen=True)
class Ready:
    """The engine is loaded."""


@dataclass(frozen=True)
class Progress:
    """Share of the current round that is done."""

    share: float


@dataclass(frozen=True)
class Stored:
    """A round is in the store."""

    round_index: int


@dataclass(frozen=True)
class Ended:
    """The last word of a child."""

    outcome: RunStatus | Outcome
    reason: str | None = None


Message = Ready | Progress | Stored | Ended
