"""Rounds of a run, in pages after the last one seen."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from meshtune.backend.deps import ID_MAX, RunId, Store
from meshtune.backend.errors import NOT_FOUND
from meshtune.backend.round_cache import Pages
from meshtune.backend.schemas.runs import RoundPage
from meshtune.db import rounds, runs
from meshtune.db.session import reading

router = APIRouter(tags=["rounds"])


@router.get("/runs/{run_id}/rounds", responses=NOT_FOUND, response_model=RoundPage)
def list_rounds(
    request: Request,
    run_id: RunId,
    store: Store,
    after: Annotated[int, Query(ge=-1, le=ID_MAX, description="Last round that you have")] = -1,
    limit: Annotated[int, Query(ge=1, le=runs.PAGE_MAX)] = 200,
    detail: Annotated[
        rounds.Detail,
        Query(description="summary: totals; scores: and devices and scores; full: and links"),
    ] = rounds.Detail.FULL,
    every: Annotated[
        int,
        Query(ge=1, le=10_000, description="Every so many rounds, from the first; and the last"),
    ] = 1,
) -> Response:
    """Rounds after `after`, oldest first. Lists that were not asked for come empty."""
    pages: Pages = request.app.state.pages
    with reading(store) as session:  # not a dependency: this is what open pages ask all the time
        standing = runs.standing(session, run_id)

        def page() -> bytes:
            found = rounds.listed(
                session, run_id, after=after, limit=limit, detail=detail, every=every
            )
            whole = RoundPage(
                status=standing.status,
                rounds_done=standing.rounds_done,
                rounds_total=standing.rounds_total,
                rounds=found,
            )
            return whole.model_dump_json().encode()

        body = pages.get((run_id, standing, after, limit, detail, every), page)
    return Response(body, media_type="application/json")
