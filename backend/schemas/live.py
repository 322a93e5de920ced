"""What live events say. Light, so that the dashboard shares it."""

from pydantic import Field

from meshtune.backend.schemas.runs import Wire
from meshtune.engine.records import RunStatus


class LiveProgress(Wire):
    """How far a running run is; it has no id, because the next one replaces it."""

    run_id: int
    status: RunStatus
    rounds_done: int
    rounds_total: int
    progress: float = Field(ge=0.0, le=1.0, description="Share of the current round's steps done")


class LiveEnd(Wire):
    """Nothing follows: do not reconnect."""

    run_id: int
    status: RunStatus | None = Field(description="How the run ended; None if it was deleted")


class LiveStart(Wire):
    """The stream stands here; a list that is asked for now misses nothing."""

    cursor: str


class LiveGone(Wire):
    """The run was deleted."""

    run_id: int
