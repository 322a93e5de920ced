"""Sweeps of the store as bodies on the wire and as text, for the API and the command line."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import Session

from meshtune.backend.schemas.sweeps import (
    CellOut,
    RowOut,
    SweepDetail,
    SweepSummary,
    estimates_out,
)
from meshtune.db import sweeps
from meshtune.db.sweeps import DELETED, CellState, Sweep, UnreadableSweep
from meshtune.engine.config import name_problem
from meshtune.engine.planning.plan import file_problems
from meshtune.engine.records import RunStatus
from meshtune.engine.sweep import Cell, SweepRefused, SweepSpec, cells, shown
from meshtune.engine.sweep_results import METRICS, Goal, Metric, Row, best, default_goal, table

STATUSES = (*map(str, RunStatus), DELETED)


def checked_cells(spec: SweepSpec) -> list[Cell]:
    """The cells of a sweep, none of which lacks an input file; nor has it a name that nobody sees.

    Whether the radio carries anything is not asked: planning takes up to a second per cell, and
    a corner where nothing arrives is a result of a sweep.

    Raises:
        SweepRefused: the name or a cell is wrong, the cell by axis and value.
    """
    if unseen := name_problem(spec.name):
        raise SweepRefused("name", unseen)
    planned = cells(spec)
    for cell in planned:
        found = file_problems(cell.config)
        if found:
            field, sentence = found[0]
            named = ", ".join(f"{name} = {shown(value)}" for name, value in cell.values.items())
            raise SweepRefused(f"axes.{field}", f"with {named or 'the base'}: {sentence}")
    return planned


def summaries(session: Session, found: Sequence[Sweep]) -> list[SweepSummary]:
    """Sweeps in a list."""
    counts = sweeps.status_counts(session, [sweep.id for sweep in found])
    return [_summary(sweep, counts[sweep.id]) for sweep in found]


def detail(
    session: Session, sweep: Sweep, metric: Metric = "accuracy_all", goal: Goal | None = None
) -> SweepDetail:
    """A sweep, whole."""
    states = sweeps.states(session, sweep.id)
    rows = table([state.outcome for state in states])
    chosen = goal or default_goal(metric)
    try:
        spec = SweepSpec.model_validate(sweep.spec)
    except ValidationError as error:
        raise UnreadableSweep(sweep.id) from error
    leader = best(rows, metric, chosen)
    counts = sweeps.status_counts(session, [sweep.id])[sweep.id]
    return SweepDetail(
        **dict(_summary(sweep, counts)),
        spec=spec,
        table=[_row(row) for row in rows],
        metric=metric,
        goal=chosen,
        best=None if leader is None else _row(leader),
        states=[_cell(state) for state in states],
    )


def csv_lines(session: Session, sweep_id: int) -> Iterator[str]:
    """The table of a sweep: a column per varied field, counts, and three per metric."""
    rows = table([state.outcome for state in sweeps.states(session, sweep_id)])
    fields = list(dict.fromkeys(field for row in rows for field in row.values))
    measured = [f"{m}_{part}" for m in METRICS for part in ("mean", "half_width_95", "n")]
    yield _line([*fields, "seeds", *STATUSES, *measured])
    for row in rows:
        values = [shown(row.values[field]) if field in row.values else "" for field in fields]
        counts = [row.statuses.get(status, 0) for status in STATUSES]
        yield _line([*values, row.seeds, *counts, *_numbers(row)])


def _numbers(row: Row) -> Iterator[Any]:
    for metric in METRICS:
        found = row.estimates.get(metric)
        yield from ("", "", 0) if found is None else (found.mean, found.half_width, found.count)


def _line(cells_of_line: Sequence[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells_of_line)
    return buffer.getvalue()


def _summary(sweep: Sweep, counts: dict[str, int]) -> SweepSummary:
    # As it was stored: a sweep of another version must not keep the others from being listed.
    spec = sweep.spec or {}
    varied = [*spec.get("axes", {}), *(field for row in spec.get("rows", ()) for field in row)]
    return SweepSummary(
        id=sweep.id,
        name=sweep.name,
        created_at=sweep.created_at,
        stopped_at=sweep.stopped_at,
        fields=list(dict.fromkeys(varied)),
        cells=sum(counts.values()),
        statuses=counts,
    )


def _row(row: Row) -> RowOut:
    return RowOut(
        values=row.values,
        seeds=row.seeds,
        statuses=row.statuses,
        metrics=estimates_out(row.estimates),
    )


def _cell(state: CellState) -> CellOut:
    outcome = state.outcome
    return CellOut(
        position=state.position,
        values=outcome.values,
        seed=outcome.seed,
        run_id=outcome.run_id,
        status=outcome.status or DELETED,
        reused=state.reused,
        rounds_done=state.rounds_done,
        rounds_total=state.rounds_total,
    )
