"""The store at a glance, for those who watch over it."""

from dataclasses import dataclass

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from meshtune.db import runs
from meshtune.db.models import Run
from meshtune.db.session import migrations
from meshtune.engine.records import RunStatus


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
        workers=runs.counts(session).workers,
    )


def revision(session: Session) -> str | None:
    """Which migration the tables are at."""
    return MigrationContext.configure(session.connection()).get_current_revision()


def newest_revision() -> str | None:
    """Which migration this program was written for."""
    return ScriptDirectory.from_config(migrations()).get_current_head()
