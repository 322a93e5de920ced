"""Is the service up."""

import time
from importlib.metadata import version
from typing import Annotated, Literal

import anyio
from fastapi import APIRouter, Query, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from meshtune.backend.deps import Reading
from meshtune.backend.errors import problem
from meshtune.backend.schemas.runs import Health, Wire
from meshtune.db import census
from meshtune.db.census import newest_revision, revision
from meshtune.db.errors import StoreUnavailable

router = APIRouter(prefix="/health", tags=["health"])


LIVE_S = 10.0  # an ordinary answer takes a thousandth of it


class Live(Wire):
    """The process answers."""

    status: Literal["live"] = "live"


class Ready(Wire):
    """The process can do its work."""

    status: Literal["ready"] = "ready"
    worker_seen: bool = Field(description="Whether some worker lives; without one, runs wait")


@router.get("")
def health(session: Reading) -> Health:
    """The queue at a glance; status 503 if the database does not answer."""
    seen = census.counts(session)
    return Health(
        status="ok",
        version=version("meshtune"),
        database=session.get_bind().dialect.name,
        queued=seen.queued,
        running=seen.running,
        workers=seen.workers,
    )


@router.get("/live", response_model=Live)
async def live() -> Live | Response:
    """The process answers, whatever else is wrong: restart it if this fails.

    It goes through a thread, as nearly every other answer does, and back: were all threads stuck,
    or the loop that serves them, nobody else would be answered either.
    """
    started_s = time.monotonic()
    with anyio.move_on_after(LIVE_S):
        await run_in_threadpool(_nothing)
    if time.monotonic() - started_s >= LIVE_S:
        detail = f"no thread was free within {LIVE_S:g} s: all of them work or wait"
        return problem(503, "Starved", detail)
    return Live()


def _nothing() -> None:
    """What a free thread does at once."""


@router.get("/ready")
def ready(
    session: Reading,
    worker: Annotated[bool, Query(description="Whether a living worker is needed too")] = False,
) -> Ready:
    """The database answers and fits this version; status 503 if not: send it no requests then.

    A worker is part of it only on demand: the API does its own work without one, and a worker
    that waits for a ready API would otherwise wait for itself.
    """
    at, expected = revision(session), newest_revision()
    if at != expected:
        raise StoreUnavailable(
            f"the database is at revision {at}, this version needs {expected}; "
            "restart the API to upgrade it, or install the version that wrote it"
        )
    seen = census.counts(session).workers > 0
    if worker and not seen:
        raise StoreUnavailable("no worker gave a sign of life; start one with `meshtune worker`")
    return Ready(worker_seen=seen)
