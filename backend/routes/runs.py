"""Runs: ask for one, list them, look at one, stop it, take it away."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from backend import replies
from backend.deps import ID_MAX, Reading, RunId, Store, Writing
from backend.errors import BODY, CONFLICT, NOT_FOUND, InvalidConfig
from backend.export import csv_lines, jsonl_lines, stored_rounds
from backend.schemas import RunCreate, RunDetail, RunList
from db import runs
from db.session import reading
from engine.plan import problems
from engine.records import RunStatus

router = APIRouter(prefix="/runs", tags=["runs"])


@router.post("", status_code=201, responses=BODY)
def create_run(body: RunCreate, session: Writing) -> RunDetail:
    """Queue a run; refused if the radio or the files of its config cannot work."""
    found = problems(body.config)
    if found:
        raise InvalidConfig(found)
    return replies.detail(session, runs.create(session, body.config))


@router.get("")
def list_runs(
    session: Reading,
    before: Annotated[int | None, Query(ge=1, le=ID_MAX)] = None,
    limit: Annotated[int, Query(ge=1, le=runs.PAGE_MAX)] = 50,
    status: Annotated[list[RunStatus] | None, Query(description="Repeat for several")] = None,
) -> RunList:
    """Runs, newest first."""
    found = runs.listed(session, before=before, limit=limit + 1, status=status or ())
    page = found[:limit]
    return RunList(
        runs=[replies.summary(run) for run in page],
        next_before=page[-1].id if len(found) > limit else None,
    )


@router.get("/{run_id}", responses=NOT_FOUND)
def get_run(run_id: RunId, session: Reading) -> RunDetail:
    """One run, whole but for its rounds."""
    return replies.detail(session, runs.get(session, run_id))


@router.post("/{run_id}/cancel", responses=NOT_FOUND | CONFLICT)
def cancel_run(run_id: RunId, session: Writing) -> RunDetail:
    """Stop a run: at once if queued, within one local step if running. Its rounds are kept."""
    return replies.detail(session, runs.request_cancel(session, run_id))


@router.get(
    "/{run_id}/export",
    response_class=StreamingResponse,
    responses=NOT_FOUND
    | {200: {"content": {"text/csv": {}, "application/jsonl": {}}, "description": "The file"}},
)
def export_run(
    run_id: RunId,
    store: Store,
    file_format: Annotated[Literal["csv", "jsonl"], Query(alias="format")] = "csv",
) -> StreamingResponse:
    """Every record of a run; the first line says config, seed, versions and commit."""
    with reading(store) as session:
        run = replies.detail(session, runs.get(session, run_id))
    lines = csv_lines if file_format == "csv" else jsonl_lines
    return StreamingResponse(
        lines(run, stored_rounds(store, run)),
        media_type="text/csv" if file_format == "csv" else "application/jsonl",
        headers={"content-disposition": f'attachment; filename="run-{run_id}.{file_format}"'},
    )
