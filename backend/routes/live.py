"""What happens, as it happens: server-sent events of one run and of all."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request
from fastapi.sse import EventSourceResponse

from meshtune.backend import live
from meshtune.backend.deps import RunId, Store
from meshtune.backend.live import Hub
from meshtune.backend.live_cursors import LIST_CURSOR, RUN_CURSOR, list_cursor, run_cursor
from meshtune.backend.schemas.live import LiveEnd, LiveGone, LiveProgress, LiveStart
from meshtune.backend.schemas.runs import RunEventOut, RunSummary
from meshtune.db.errors import RunNotFound
from meshtune.engine.records import RoundRecord

router = APIRouter(tags=["live"])

RETRY_S = 5
CURSOR_MAX = 8000  # characters; 300 running runs fit
_PROBLEM = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
# Written out: FastAPI would list the model of an error under the media type of the stream.
REFUSED: dict[int | str, dict[str, Any]] = {
    422: {"description": "A field is wrong; `detail` names it", "content": _PROBLEM},
    503: {
        "description": "The database cannot be used right now, or too many streams are open",
        "content": _PROBLEM,
    },
}
MISSING: dict[int | str, dict[str, Any]] = {
    404: {"description": "There is no such run", "content": _PROBLEM}
}
_SINCE = "Id of the last event that you have; `Last-Event-ID` counts more"


async def _hub(request: Request, store: Store) -> AsyncIterator[Hub]:
    """The hub of this process, with a place for one more stream."""
    state = request.app.state
    if getattr(state, "live", None) is None:
        state.live = Hub(store)  # here, because it belongs to the event loop that serves
    hub: Hub = state.live
    if hub.streams >= live.STREAMS_MAX:
        raise HTTPException(
            503,
            f"{live.STREAMS_MAX} streams are open already; close some, or ask again later",
            {"Retry-After": str(RETRY_S)},
        )
    async with hub.following():
        yield hub


async def _existing(run_id: RunId, hub: Annotated[Hub, Depends(_hub)]) -> int:
    if not await hub.exists(run_id):
        raise RunNotFound(run_id)
    return run_id


Following = Annotated[Hub, Depends(_hub)]
ExistingRun = Annotated[int, Depends(_existing)]
RunPlace = Annotated[str | None, Query(pattern=RUN_CURSOR, description=_SINCE)]
ListPlace = Annotated[
    str | None, Query(pattern=LIST_CURSOR, max_length=CURSOR_MAX, description=_SINCE)
]


@router.get(
    "/runs/{run_id}/events/stream",
    response_class=EventSourceResponse,
    responses=REFUSED | MISSING,
)
async def stream_run(
    run_id: ExistingRun,
    hub: Following,
    since: RunPlace = None,
    last_event_id: Annotated[str | None, Header(pattern=RUN_CURSOR)] = None,
) -> AsyncIterator[RoundRecord | RunEventOut | LiveProgress | LiveEnd]:
    """Follow a run until it ends.

    Events: `round` (totals of a stored round), `move` (what happened to the run), `progress`
    (within a round, without id), and at last `end`: then close, or the browser would reconnect.
    Without `since` it starts at the first round.
    """
    async for line in live.run_events(hub, run_id, run_cursor(last_event_id or since)):
        yield line  # type: ignore[misc]  # FastAPI documents the type and sends the event


@router.get("/events/stream", response_class=EventSourceResponse, responses=REFUSED)
async def stream_runs(
    hub: Following,
    since: ListPlace = None,
    last_event_id: Annotated[str | None, Header(pattern=LIST_CURSOR, max_length=CURSOR_MAX)] = None,
) -> AsyncIterator[LiveStart | RunSummary | LiveGone | LiveProgress]:
    """Follow all runs.

    Events: `start` (ask for the list once it is there, and nothing is missed), `run` (a run as it
    is after a change or a stored round), `gone` (deleted), `progress` (without id).
    """
    place = last_event_id or since
    cursor = None if place is None else list_cursor(place)
    async for line in live.list_events(hub, cursor):
        yield line  # type: ignore[misc]  # FastAPI documents the type and sends the event
