"""Runs: ask for one, list them, look at one, steer it, take it away."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from meshtune.backend.archive.tables import csv_lines, jsonl_lines, stored_rounds
from meshtune.backend.deps import ID_MAX, Actor, Known, RunId, Store, Writing
from meshtune.backend.errors import BODY, CONFLICT, NOT_FOUND, InvalidConfig
from meshtune.backend.guards.files import require_kept_rows
from meshtune.backend.replies import runs as replies
from meshtune.backend.schemas.runs import RunCreate, RunDetail, RunList, RunPatch
from meshtune.db import runs, steering
from meshtune.db.errors import RunNotFound
from meshtune.db.session import reading, writing
from meshtune.engine.records import RunStatus

router = APIRouter(prefix="/runs", tags=["runs"])


Words = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]


@router.post("", status_code=201, responses=BODY)
def create_run(
    body: RunCreate, store: Store, plans: Known, actor: Actor, request: Request
) -> RunDetail:
    """Queue a run; refused if the radio or the files of its config cannot work."""
    require_kept_rows(request, body.config)
    found = plans.problems(body.config)
    if found:
        raise InvalidConfig(found)
    try:
        with writing(store) as session:  # here, as others wait for the lock of the database
            run = runs.create(
                session, body.config, cloned_from=body.cloned_from, note=body.note, actor=actor
            )
            return replies.detail(session, run)
    except RunNotFound as error:
        raise InvalidConfig([("cloned_from", str(error))]) from error


async def only_these(
    status: Annotated[
        list[RunStatus] | None,
        Query(max_length=len(RunStatus), description="Repeat for several"),
    ] = None,
    name: Annotated[Words | None, Query(description="Exactly this name")] = None,
    method: Annotated[Words | None, Query(description="Kind of the method, e.g. so_lora")] = None,
    text: Annotated[Words | None, Query(description="Part of name, method, note or reason")] = None,
    deleted: Annotated[bool, Query(description="Those deleted within the last day")] = False,
) -> runs.Only:
    """Which runs a list holds."""
    return runs.Only(status or (), name, method, text, deleted)


# These two are what every open page asks all the time, so they take one thread once: the session
# is no dependency, and the answer is written here.
@router.get("", response_model=RunList)
def list_runs(
    store: Store,
    only: Annotated[runs.Only, Depends(only_these)],
    before: Annotated[int | None, Query(ge=1, le=ID_MAX)] = None,
    limit: Annotated[int, Query(ge=1, le=runs.PAGE_MAX)] = 50,
) -> Response:
    """Runs, newest first."""
    with reading(store) as session:
        found = runs.listed(session, before=before, limit=limit + 1, only=only)
        page = found[:limit]
        listed = RunList(
            runs=[replies.summary(run) for run in page],
            next_before=page[-1].id if len(found) > limit else None,
        )
    return Response(listed.model_dump_json(), media_type="application/json")


@router.get("/{run_id}", responses=NOT_FOUND, response_model=RunDetail)
def get_run(run_id: RunId, store: Store) -> Response:
    """One run, whole but for its rounds."""
    with reading(store) as session:
        told = replies.detail(session, runs.get(session, run_id))
    return Response(told.model_dump_json(), media_type="application/json")


@router.patch("/{run_id}", responses=NOT_FOUND | BODY)
def patch_run(run_id: RunId, body: RunPatch, session: Writing, actor: Actor) -> RunDetail:
    """Change priority, note or name of a run."""
    if body.priority is not None:
        steering.set_priority(session, run_id, body.priority, actor=actor)
    if body.note is not None:
        steering.annotate(session, run_id, body.note, actor=actor)
    if body.name is not None:
        steering.rename(session, run_id, body.name, actor=actor)
    return replies.detail(session, runs.get(session, run_id))


@router.post("/{run_id}/cancel", responses=NOT_FOUND | CONFLICT)
def cancel_run(run_id: RunId, session: Writing, actor: Actor) -> RunDetail:
    """Stop a run for good: at once, or within one local step if running. Its rounds are kept."""
    return replies.detail(session, steering.request_cancel(session, run_id, actor=actor))


@router.post("/{run_id}/pause", responses=NOT_FOUND | CONFLICT)
def pause_run(run_id: RunId, session: Writing, actor: Actor) -> RunDetail:
    """Halt a run: at once if queued, within one local step if running. It can be resumed."""
    return replies.detail(session, steering.request_pause(session, run_id, actor=actor))


@router.post("/{run_id}/resume", responses=NOT_FOUND | CONFLICT)
def resume_run(run_id: RunId, session: Writing, actor: Actor) -> RunDetail:
    """Queue a paused run again; it goes on after its last finished round."""
    return replies.detail(session, steering.request_resume(session, run_id, actor=actor))


@router.post("/{run_id}/retry", responses=NOT_FOUND | CONFLICT)
def retry_run(run_id: RunId, session: Writing, actor: Actor) -> RunDetail:
    """Queue a failed run again; it goes on after its last finished round."""
    return replies.detail(session, steering.retry(session, run_id, actor=actor))


@router.delete("/{run_id}", status_code=204, responses=NOT_FOUND | CONFLICT)
def delete_run(run_id: RunId, session: Writing, actor: Actor) -> None:
    """Hide a run for a day, then forget it. One that waits or is paused is cancelled first."""
    steering.delete(session, run_id, actor=actor)


@router.post("/{run_id}/restore", responses=NOT_FOUND)
def restore_run(run_id: RunId, session: Writing, actor: Actor) -> RunDetail:
    """Take back the deletion of a run."""
    return replies.detail(session, steering.restore(session, run_id, actor=actor))


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
    """Every record of a run, with its config, seed, versions and commit."""
    with reading(store) as session:
        run = replies.detail(session, runs.get(session, run_id))
    lines = csv_lines if file_format == "csv" else jsonl_lines
    return StreamingResponse(
        lines(run, stored_rounds(store, run)),
        media_type="text/csv" if file_format == "csv" else "application/jsonl",
        headers={"content-disposition": f'attachment; filename="run-{run_id}.{file_format}"'},
    )
