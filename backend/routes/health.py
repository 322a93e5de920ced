"""Is the service up."""

from importlib.metadata import version
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from backend.deps import Reading
from backend.schemas import Health, Wire
from db import runs
from db.census import newest_revision, revision
from db.errors import StoreUnavailable

router = APIRouter(prefix="/health", tags=["health"])


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
    seen = runs.counts(session)
    return Health(
        status="ok",
        version=version("meshtune"),
        database=session.get_bind().dialect.name,
        queued=seen.queued,
        running=seen.running,
        workers=seen.workers,
    )


@router.get("/live")
async def live() -> Live:
    """The process answers, whatever else is wrong: restart it if this fails."""
    return Live()


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
    seen = runs.counts(session).workers > 0
    if worker and not seen:
        raise StoreUnavailable("no worker gave a sign of life; start one with `meshtune worker`")
    return Ready(worker_seen=seen)
