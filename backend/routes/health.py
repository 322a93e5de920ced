"""Is the service up."""

from importlib.metadata import version

from fastapi import APIRouter

from backend.deps import Reading
from backend.schemas import Health
from db import runs

router = APIRouter(tags=["health"])


@router.get("/health")
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
