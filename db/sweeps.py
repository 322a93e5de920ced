"""Sweeps: many runs that differ in a few fields, and which run answers which cell.

A sweep owns no results: each cell names a run, and equal cells, in one sweep or in several, name
the same one. What a cell has come to is read from its run.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, and_, exists, func, select
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column

from meshtune.db import runs, steering
from meshtune.db.clock import today
from meshtune.db.errors import IllegalTransition, StoreError
from meshtune.db.models import Base, Run, Wanted
from meshtune.db.moves import PERSON
from meshtune.engine.records import ENDED, RunStatus
from meshtune.engine.sweep import Cell, SweepSpec, config_sha256
from meshtune.engine.sweep_results import METRICS, Outcome

DELETED = "deleted"  # stands for the status of a run that is gone
# Runs that a new cell takes instead of training again; the first kind that is there.
REUSED = (RunStatus.COMPLETED, RunStatus.RUNNING, RunStatus.QUEUED)


class SweepNotFound(StoreError):
    """No sweep has this number."""

    def __init__(self, sweep_id: int) -> None:
        super().__init__(f"there is no sweep {sweep_id}; the list of sweeps has those that exist")
        self.sweep_id = sweep_id


class UnreadableSweep(StoreError):
    """What was asked of a sweep does not fit this version."""

    def __init__(self, sweep_id: int) -> None:
        super().__init__(
            f"what sweep {sweep_id} asks for was stored by another version of Meshtune, or is "
            "damaged; its runs are as they were"
        )
        self.sweep_id = sweep_id


class Sweep(Base):
    """One sweep as it was asked for."""

    __tablename__ = "sweeps"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    spec: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    stopped_at: Mapped[datetime | None]


class SweepCell(Base):
    """One cell of a sweep and the run that answers it; no run once that was purged."""

    __tablename__ = "sweep_cells"
    __table_args__ = (Index("ix_sweep_cells_run_id", "run_id"),)

    sweep_id: Mapped[int] = mapped_column(ForeignKey("sweeps.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    values: Mapped[dict[str, Any]]
    seed: Mapped[int] = mapped_column(BigInteger)
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id", ondelete="SET NULL"))
    reused: Mapped[bool]  # the run was in the store before the sweep


@dataclass(frozen=True)
class CellState:
    """A cell and where its run stands; run, status and progress are None if the run is gone."""

    position: int
    outcome: Outcome
    reused: bool
    rounds_done: int
    rounds_total: int


def create(
    session: Session, spec: SweepSpec, planned: Sequence[Cell], *, actor: str = PERSON
) -> Sweep:
    """A new sweep: queues a run for each cell that nothing in the store answers yet.

    Args:
        session: open for writing.
        spec: what was asked.
        planned: its cells (`meshtune.engine.sweep.cells`), found before the database is locked.
        actor: who asked.
    """
    sweep = Sweep(
        name=spec.name, spec=spec.model_dump(mode="json"), created_at=today(), stopped_at=None
    )
    session.add(sweep)
    session.flush()  # gives it its number
    known = {} if spec.fresh else _answers(session, planned)
    made: dict[str, int] = {}
    for position, cell in enumerate(planned):
        run_id = known.get(cell.sha256)
        if run_id is None:
            if cell.sha256 not in made:
                made[cell.sha256] = runs.create(session, cell.config, actor=actor).id
            run_id = made[cell.sha256]
        session.add(
            SweepCell(
                sweep_id=sweep.id,
                position=position,
                values=cell.values,
                seed=cell.seed,
                run_id=run_id,
                reused=cell.sha256 in known,
            )
        )
    session.flush()
    return sweep


def get(session: Session, sweep_id: int) -> Sweep:
    """The sweep with this number.

    Raises:
        SweepNotFound: there is none.
    """
    sweep = session.get(Sweep, sweep_id, populate_existing=True)
    if sweep is None:
        raise SweepNotFound(sweep_id)
    return sweep


def listed(session: Session, *, before: int | None = None, limit: int = 50) -> list[Sweep]:
    """Sweeps, newest first: those with a number below `before`."""
    query = select(Sweep).order_by(Sweep.id.desc()).limit(min(limit, runs.PAGE_MAX))
    if before is not None:
        query = query.where(Sweep.id < before)
    return list(session.scalars(query))


def status_counts(session: Session, sweep_ids: Sequence[int]) -> dict[int, dict[str, int]]:
    """Per sweep, how many of its cells stand at which status."""
    query = (
        select(SweepCell.sweep_id, Run.status, func.count())
        .join(Run, _runs_of(SweepCell), isouter=True)
        .where(SweepCell.sweep_id.in_(sweep_ids))
        .group_by(SweepCell.sweep_id, Run.status)
    )
    counts: dict[int, dict[str, int]] = {sweep_id: {} for sweep_id in sweep_ids}
    for sweep_id, status, count in session.execute(query):
        counts[sweep_id][str(status or DELETED)] = count
    return counts


def states(session: Session, sweep_id: int) -> list[CellState]:
    """All cells of a sweep, in order, with what their runs have come to."""
    metrics = [getattr(Run, metric) for metric in METRICS]
    query = (
        select(SweepCell, Run.id, Run.status, Run.rounds_done, Run.rounds_total, *metrics)
        .join(Run, _runs_of(SweepCell), isouter=True)
        .where(SweepCell.sweep_id == sweep_id)
        .order_by(SweepCell.position)
    )
    return [
        CellState(
            position=cell.position,
            outcome=Outcome(
                values=cell.values,
                seed=cell.seed,
                run_id=run_id,
                status=None if status is None else str(status),
                metrics=dict(zip(METRICS, measured, strict=True)),
            ),
            reused=cell.reused,
            rounds_done=done or 0,
            rounds_total=total or 0,
        )
        for cell, run_id, status, done, total, *measured in session.execute(query)
    ]


def stop(session: Session, sweep_id: int, *, actor: str = PERSON) -> Sweep:
    """Cancel the runs that only this sweep wants; finished ones are kept. Twice is no error.

    Left alone are runs that a person started, and those that a sweep not stopped shares.

    Raises:
        SweepNotFound: there is none.
    """
    sweep = get(session, sweep_id)
    if sweep.stopped_at is None:
        sweep.stopped_at = today()
        session.flush()
    for run_id in session.scalars(_only_ours(sweep_id)).all():
        with suppress(IllegalTransition):  # it ended while we looked
            steering.request_cancel(session, run_id, actor=actor)
    return sweep


# Inside


def _answers(session: Session, planned: Sequence[Cell]) -> dict[str, int]:
    """Runs in the store that answer planned cells, by hash: completed ones before others."""
    query = (
        select(Run.id, Run.status, Run.config)
        .where(
            Run.status.in_(REUSED),
            Run.wanted == Wanted.RUN,
            Run.seed.in_({cell.config.seed for cell in planned}),
            Run.rounds_total.in_({cell.config.rounds for cell in planned}),
            Run.method.in_({cell.config.method.kind for cell in planned}),
            _not_deleted(),
        )
        .order_by(Run.id.desc())
    )
    wanted = {cell.sha256 for cell in planned}
    found: dict[str, tuple[int, int]] = {}
    for run_id, status, config in session.execute(query):
        if config is None:  # damaged
            continue
        sha256 = config_sha256(config)
        rank = (REUSED.index(status), run_id)
        if sha256 in wanted and (sha256 not in found or rank[0] < found[sha256][0]):
            found[sha256] = rank
    return {sha256: run_id for sha256, (_, run_id) in found.items()}


def _only_ours(sweep_id: int) -> Any:
    """Query of the runs that stop with a sweep."""
    maker, other = aliased(SweepCell), aliased(SweepCell)
    made = exists().where(maker.run_id == Run.id, maker.reused.is_(False))
    shared = exists().where(
        other.run_id == Run.id,
        other.sweep_id != sweep_id,
        other.sweep_id == Sweep.id,
        Sweep.stopped_at.is_(None),
    )
    return (
        select(Run.id)
        .join(SweepCell, SweepCell.run_id == Run.id)
        .where(SweepCell.sweep_id == sweep_id, Run.status.not_in(ENDED), made, ~shared)
        .distinct()
        .order_by(Run.id)
    )


def _runs_of(cell: Any) -> Any:
    return and_(Run.id == cell.run_id, _not_deleted())


def _not_deleted() -> Any:
    return Run.deleted_at.is_(None)
