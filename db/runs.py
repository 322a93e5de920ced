"""Runs as they are created, found and read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import or_, select
from sqlalchemy.orm import Session, defer

from meshtune.db.clock import today
from meshtune.db.errors import RunDeleted, RunNotFound, UnreadableConfig
from meshtune.db.models import Run, RunEvent
from meshtune.db.moves import PERSON, note_event, visible
from meshtune.engine.config import RunConfig, config_hash, plain_errors
from meshtune.engine.records import RunStatus

PAGE_MAX = 500  # rounds or runs in one answer
COMPARED_MAX = 50  # runs in one answer


@dataclass(frozen=True)
class Only:
    """Which runs a list holds; an empty field says nothing."""

    status: Sequence[RunStatus] = ()
    name: str | None = None  # exactly this
    method: str | None = None
    text: str | None = None  # somewhere in name, method, note or reason; capitals do not matter
    deleted: bool = False  # those that were deleted, instead of those that were not


@dataclass(frozen=True)
class Standing:
    """Where a run stands. While it is the same, so are all the rounds that are stored of it."""

    status: RunStatus
    rounds_done: int
    rounds_total: int
    fence: int


def create(
    session: Session,
    config: RunConfig,
    *,
    cloned_from: int | None = None,
    note: str | None = None,
    actor: str = PERSON,
) -> Run:
    """A new run at the end of the queue, perhaps with the config of another, edited.

    Raises:
        RunNotFound: there is no run `cloned_from`.
    """
    if cloned_from is not None:
        get(session, cloned_from)
    run = Run(
        name=config.name,
        method=config.method.kind,
        seed=config.seed,
        devices=config.fleet.devices,
        rounds_total=config.rounds,
        config=config.model_dump(mode="json"),
        config_sha256=config_hash(config),
        status=RunStatus.QUEUED,
        cloned_from=cloned_from,
        note=note or None,
        created_at=today(),
    )
    session.add(run)
    session.flush()  # gives it its number
    origin = f"cloned from run {cloned_from}" if cloned_from is not None else None
    note_event(session, run, "created", actor=actor, detail=origin)
    return run


def get(session: Session, run_id: int) -> Run:
    """The run with this number.

    Raises:
        RunNotFound: there is none, or it was deleted.
    """
    return visible(run_id, session.get(Run, run_id, populate_existing=True))


def standing(session: Session, run_id: int) -> Standing:
    """Where the run stands.

    Raises:
        RunNotFound: there is none, or it was deleted.
    """
    columns = (Run.status, Run.rounds_done, Run.rounds_total, Run.fence, Run.deleted_at)
    row = session.execute(select(*columns).where(Run.id == run_id)).one_or_none()
    if row is None:
        raise RunNotFound(run_id)
    if row.deleted_at is not None:
        raise RunDeleted(run_id)
    return Standing(row.status, row.rounds_done, row.rounds_total, row.fence)


def config_of(run: Run) -> RunConfig:
    """The config of a stored run.

    Raises:
        UnreadableConfig: another version stored it, or it is damaged.
    """
    if run.config is None:
        raise UnreadableConfig(run.id, "config", "its text is damaged")
    try:
        return RunConfig.model_validate(run.config)
    except ValidationError as error:
        raise UnreadableConfig(run.id, *plain_errors(error.errors(), RunConfig)[0]) from error


def listed(
    session: Session,
    *,
    before: int | None = None,
    limit: int = 50,
    status: Sequence[RunStatus] = (),
    only: Only | None = None,
) -> list[Run]:
    """Runs, newest first: those with a number below `before`, of these statuses if any is named.

    Configs are not read: a list does not show them, and each one takes longer than all the rest.
    """
    only = only or Only(status=status)
    query = select(Run).options(defer(Run.config), defer(Run.provenance))
    query = query.where(
        Run.deleted_at.is_not(None) if only.deleted else Run.deleted_at.is_(None),
        *([Run.id < before] if before is not None else []),
        *([Run.status.in_(only.status)] if only.status else []),
        *([Run.name == only.name] if only.name else []),
        *([Run.method == only.method] if only.method else []),
        *([_holds(only.text)] if only.text else []),
    )
    return list(session.scalars(query.order_by(Run.id.desc()).limit(min(limit, PAGE_MAX + 1))))


def _holds(words: str) -> Any:
    columns = (Run.name, Run.method, Run.note, Run.reason)
    return or_(*(column.icontains(words, autoescape=True) for column in columns))


def events(session: Session, run_id: int, *, after: int = 0) -> list[RunEvent]:
    """What happened to the run after event number `after`, oldest first."""
    query = select(RunEvent).where(RunEvent.run_id == run_id, RunEvent.id > after)
    return list(session.scalars(query.order_by(RunEvent.id)))
