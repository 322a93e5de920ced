"""The store at a glance, for those who watch over it."""

from dataclasses import dataclass

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from meshtune.db.clock import lease_time
from meshtune.db.models import Run, Worker
from meshtune.db.session import migrations
from meshtune.engine.records import ENDED, RunStatus


@dataclass(frozen=True)
class Counts:
    """The queue at a glance."""

    queued: int
    running: int
    workers: int
    paused: int = 0


def counts(session: Session) -> Counts:
    """How many runs wait and run, and how many workers are alive."""
    open_runs = (
        select(Run.status, func.count()).where(Run.status.not_in(ENDED)).group_by(Run.status)
    )
    by_status = dict(session.execute(open_runs).all())
    alive = select(func.count()).select_from(Worker).where(Worker.seen_until >= lease_time(session))
    return Counts(
        queued=by_status.get(RunStatus.QUEUED, 0),
        running=by_status.get(RunStatus.RUNNING, 0),
        workers=session.scalar(alive) or 0,
        paused=by_status.get(RunStatus.PAUSED, 0),
    )


@dataclass(frozen=True)
class Census:
    """How many of what there are."""

    runs: dict[RunStatus, int]
    rounds: int
    workers: int


def census(session: Session) -> Census:
    """Runs by status, rounds stored and workers alive."""
    rows = session.execute(
        select(Run.status, func.count(), func.sum(Run.rounds_done)).group_by(Run.status)
    ).all()
    found = {status: number for status, number, _ in rows}
    return Census(
        runs={status: found.get(status, 0) for status in RunStatus},
        rounds=sum(rounds for *_, rounds in rows),
        workers=counts(session).workers,
    )


def revision(session: Session) -> str | None:
    """Which migration the tables are at."""
    return MigrationContext.configure(session.connection()).get_current_revision()


def newest_revision() -> str | None:
    """Which migration this program was written for."""
    return ScriptDirectory.from_config(migrations()).get_current_head()
