"""Numbers for Prometheus."""

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from meshtune.backend.deps import Store
from meshtune.db.census import census
from meshtune.db.errors import StoreUnavailable
from meshtune.db.session import reading

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={
        200: {
            "content": {"text/plain": {"schema": {"type": "string"}}},
            "description": "Prometheus' text format",
        }
    },
)
def metrics(request: Request, store: Store) -> PlainTextResponse:
    """Queue, workers, rounds stored, time of requests and of the database, failures, version."""
    try:
        with reading(store) as session:
            found = census(session)
    except StoreUnavailable:
        found = None  # that it is away is what these numbers must tell
    text = request.app.state.metrics.text(found)
    return PlainTextResponse(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)
