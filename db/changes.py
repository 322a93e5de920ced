"""What changed since: cheap questions that a follower of runs asks again and again."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, Select, func, select, text
from sqlalchemy.orm import Session

from meshtune.db.models import Run, RunEvent
from meshtune.engine.records import RunStatus

CHANGED_MAX = 200  # runs in one answer


@dataclass(frozen=True)
class Head:
    """How far a run is."""

    event_id: int  # its last
    status: RunStatus
    rounds_done: int
    rounds_total: int
    progress: float
    deleted: bool


@dataclass(frozen=True)
class Horizon:
    """The last event that is visible, and which transactions may still add one before it.

    PostgreSQL numbers an event before its transaction ends, so a lower number may appear after a
    higher one. Whoever has it is open now: once all that are open now have ended, none is missing.
    SQLite has one writer at a time; there both transaction numbers are 0.
    """

    event_id: int
    oldest_open: int
    next_unused: int


def data_version(connection: Connection) -> int | None:
    """A number that moves when another connection changes the file; None if the database has none.

    It costs microseconds, so an idle follower asks nothing else. The connection must stay the same.
    """
    if connection.dialect.name != "sqlite":
        return None
    version = int(connection.exec_driver_sql("PRAGMA data_version").scalar_one())
    connection.rollback()  # an open snapshot would keep the log of the database growing
    return version


def heads(session: Session, run_ids: Collection[int]) -> dict[int, Head]:
    """How far these runs are, by run number; purged ones are missing."""
    return _heads(session, select(Run.id).where(Run.id.in_(run_ids)))


def running(session: Session) -> dict[int, Head]:
    """How far the runs are that workers train now."""
    return _heads(
        session, select(Run.id).where(Run.status == RunStatus.RUNNING, Run.deleted_at.is_(None))
    )


def _heads(session: Session, wanted: Select[int]) -> dict[int, Head]:
    last = (
        select(func.max(RunEvent.id))
        .where(RunEvent.run_id == Run.id)
        .correlate(Run)
        .scalar_subquery()
    )
    # One statement: a run that is seen ended is seen with all its rounds.
    rows = session.execute(
        select(
            Run.id,
            func.coalesce(last, 0),
            Run.status,
            Run.rounds_done,
            Run.rounds_total,
            Run.progress,
            Run.deleted_at.is_not(None),
        ).where(Run.id.in_(wanted))
    )
    return {run_id: Head(*head) for run_id, *head in rows}


def horizon(session: Session) -> Horizon:
    """The last event that is visible now."""
    last = func.coalesce(func.max(RunEvent.id), 0)
    if session.get_bind().dialect.name != "postgresql":
        return Horizon(session.scalar(select(last)) or 0, 0, 0)
    # One statement, hence one snapshot for the events and for what is open.
    row = session.execute(
        select(
            last,
            text("pg_snapshot_xmin(pg_current_snapshot())::text"),
            text("pg_snapshot_xmax(pg_current_snapshot())::text"),
        )
    ).one()
    return Horizon(*(int(value) for value in row))


def changed_runs(session: Session, *, after: int, until: int) -> list[tuple[int, int]]:
    """Runs with an event in this span: the last such event and the run, oldest first."""
    last = func.max(RunEvent.id)
    rows = session.execute(
        select(last, RunEvent.run_id)
        .where(RunEvent.id > after, RunEvent.id <= until)
        .group_by(RunEvent.run_id)
        .order_by(last)
        .limit(CHANGED_MAX)
    )
    return [(event_id, run_id) for event_id, run_id in rows]
