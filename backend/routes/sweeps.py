"""Sweeps: ask for one, list them, look at one, stop it, take its table away."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from meshtune.backend.deps import ID_MAX, Actor, Reading, Store, Writing
from meshtune.backend.errors import BODY, InvalidConfig
from meshtune.backend.replies import sweeps as sweep_replies
from meshtune.backend.schemas.runs import Problem
from meshtune.backend.schemas.sweeps import SweepDetail, SweepList
from meshtune.db import runs, sweeps
from meshtune.db.session import writing
from meshtune.engine.sweep import SweepRefused, SweepSpec
from meshtune.engine.sweep_results import Goal, Metric

NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such sweep"}
}

router = APIRouter(prefix="/sweeps", tags=["sweeps"])

SweepId = Annotated[int, Path(ge=1, le=ID_MAX, description="Number of the sweep")]
ChosenMetric = Annotated[Metric, Query(description="By which the best row is chosen")]
ChosenGoal = Annotated[
    Goal | None, Query(description="What is best; max for accuracies and min for costs if left out")
]


@router.post("", status_code=201, responses=BODY)
def create_sweep(body: SweepSpec, store: Store, actor: Actor) -> SweepDetail:
    """Queue the runs of a sweep; refused whole if one cell is wrong.

    Cells that a completed, running or queued run of the store answers already name that run.
    """
    try:
        planned = sweep_replies.checked_cells(body)
    except SweepRefused as error:
        raise InvalidConfig([(error.field, error.sentence)]) from error
    with writing(store) as session:
        created = sweeps.create(session, body, planned, actor=actor)
        return sweep_replies.detail(session, created)


@router.get("")
def list_sweeps(
    session: Reading,
    before: Annotated[int | None, Query(ge=1, le=ID_MAX)] = None,
    limit: Annotated[int, Query(ge=1, le=runs.PAGE_MAX)] = 50,
) -> SweepList:
    """Sweeps, newest first."""
    found = sweeps.listed(session, before=before, limit=limit + 1)
    page = found[:limit]
    return SweepList(
        sweeps=sweep_replies.summaries(session, page),
        next_before=page[-1].id if len(found) > limit else None,
    )


@router.get("/{sweep_id}", responses=NOT_FOUND)
def get_sweep(
    sweep_id: SweepId,
    session: Reading,
    metric: ChosenMetric = "accuracy_all",
    goal: ChosenGoal = None,
) -> SweepDetail:
    """One sweep: its cells, its table and the best row so far."""
    return sweep_replies.detail(session, sweeps.get(session, sweep_id), metric, goal)


@router.post("/{sweep_id}/stop", responses=NOT_FOUND)
def stop_sweep(sweep_id: SweepId, session: Writing, actor: Actor) -> SweepDetail:
    """Cancel what only this sweep wants; finished runs are kept. Stopping twice is no error."""
    return sweep_replies.detail(session, sweeps.stop(session, sweep_id, actor=actor))


@router.get(
    "/{sweep_id}/table.csv",
    response_class=Response,
    responses=NOT_FOUND | {200: {"content": {"text/csv": {}}, "description": "The table"}},
)
def sweep_table(sweep_id: SweepId, session: Reading) -> Response:
    """One line per combination of values: seeds, statuses, mean and interval of each metric."""
    sweeps.get(session, sweep_id)
    return Response(
        "".join(sweep_replies.csv_lines(session, sweep_id)),
        media_type="text/csv",
        headers={"content-disposition": f'attachment; filename="sweep-{sweep_id}.csv"'},
    )
