"""Rounds of a run, in pages after the last one seen."""

from typing import Annotated

from fastapi import APIRouter, Query

from backend.deps import ID_MAX, Reading, RunId
from backend.errors import NOT_FOUND
from backend.schemas import RoundPage
from db import runs

router = APIRouter(prefix="/runs", tags=["rounds"])


@router.get("/{run_id}/rounds", responses=NOT_FOUND)
def list_rounds(
    run_id: RunId,
    session: Reading,
    after: Annotated[int, Query(ge=-1, le=ID_MAX, description="Last round that you have")] = -1,
    limit: Annotated[int, Query(ge=1, le=runs.PAGE_MAX)] = 200,
    detail: Annotated[
        runs.Detail,
        Query(description="summary: totals; scores: and devices and scores; full: and links"),
    ] = runs.Detail.FULL,
) -> RoundPage:
    """Rounds after `after`, oldest first. Lists that were not asked for come empty."""
    run = runs.get(session, run_id)
    return RoundPage(
        status=run.status,
        rounds_done=run.rounds_done,
        rounds_total=run.rounds_total,
        rounds=runs.rounds(session, run_id, after=after, limit=limit, detail=detail),
    )
