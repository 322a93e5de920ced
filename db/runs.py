"""Everything that reads or changes a run. The only writer of a run's status.

A run is owned by lease: `claim_next` gives a worker a fence number, and every later write of that
worker names it. Once another claim has raised the number, those writes change nothing and raise
`ClaimLost`; so a worker that was stopped, presumed dead and woken again can do no harm.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import ValidationError
from sqlalchemy import CursorResult, delete, exists, func, or_, select, text, update
from sqlalchemy.orm import Session

from db.errors import ClaimLost, IllegalTransition, RunNotFound, UnreadableConfig
from db.models import Round, Run, RunEvent, Wanted, Worker
from engine.config import RunConfig, config_hash, plain_errors
from engine.records import ENDED, LEGAL_MOVES, Provenance, RoundRecord, RunStatus

MAX_ATTEMPTS = 5  # claims in a row that end with a lost worker and no finished round
RETRY_MAX_S = 60.0
PAGE_MAX = 500  # rounds or runs in one answer
RECENT_ROUNDS = 5  # the time left is judged by these
PERSON = "person"  # actor of events that somebody asked for
REASON_MAX = 1000  # characters


class Detail(StrEnum):
    """How much of a round to read."""

    SUMMARY = "summary"  # totals
    SCORES = "scores"  # and devices and scores
    FULL = "full"  # and links


@dataclass(frozen=True)
class Claim:
    """A run as its worker holds it: what to do and the fence that proves the right to do it."""

    run_id: int
    fence: int
    worker: str
    attempt: int
    config: RunConfig
    rounds_done: int
    checkpoint: str | None


@dataclass(frozen=True)
class Counts:
    """The queue at a glance."""

    queued: int
    running: int
    workers: int


# Creating and reading


def create(session: Session, config: RunConfig) -> Run:
    """A new run at the end of the queue."""
    run = Run(
        name=config.name,
        method=config.method.kind,
        seed=config.seed,
        devices=config.fleet.devices,
        rounds_total=config.rounds,
        config=config.model_dump(mode="json"),
        config_sha256=config_hash(config),
        status=RunStatus.QUEUED,
        created_at=_today(),
    )
    session.add(run)
    session.flush()  # gives it its number
    _note(session, run, "created", actor=PERSON)
    return run


def get(session: Session, run_id: int) -> Run:
    """The run with this number.

    Raises:
        RunNotFound: there is none.
    """
    run = session.get(Run, run_id, populate_existing=True)
    if run is None:
        raise RunNotFound(run_id)
    return run


def config_of(run: Run) -> RunConfig:
    """The config of a stored run.

    Raises:
        UnreadableConfig: another version stored it.
    """
    try:
        return RunConfig.model_validate(run.config)
    except ValidationError as error:
        raise UnreadableConfig(run.id, *plain_errors(error.errors())[0]) from error


def listed(
    session: Session,
    *,
    before: int | None = None,
    limit: int = 50,
    status: Sequence[RunStatus] = (),
) -> list[Run]:
    """Runs, newest first: those with a number below `before`, of these statuses if any is named."""
    query = select(Run).order_by(Run.id.desc()).limit(min(limit, PAGE_MAX))
    if before is not None:
        query = query.where(Run.id < before)
    if status:
        query = query.where(Run.status.in_(status))
    return list(session.scalars(query))


def events(session: Session, run_id: int, *, after: int = 0) -> list[RunEvent]:
    """What happened to the run after event number `after`, oldest first."""
    query = select(RunEvent).where(RunEvent.run_id == run_id, RunEvent.id > after)
    return list(session.scalars(query.order_by(RunEvent.id)))


_TOTALS = (
    Round.round_index,
    Round.train_loss,
    Round.accuracy_own,
    Round.accuracy_all,
    Round.consensus_distance,
    Round.delivered_fraction,
    Round.sent_bits,
    Round.airtime_s,
    Round.energy_j,
    Round.receive_j,
    Round.compute_j,
    Round.round_s,
    Round.extra,
    Round.wall_s,
)
_READ = {
    Detail.SUMMARY: _TOTALS,
    Detail.SCORES: (*_TOTALS, Round.devices, Round.scores),
    Detail.FULL: (*_TOTALS, Round.devices, Round.scores, Round.links, Round.merges),
}


def rounds(
    session: Session,
    run_id: int,
    *,
    after: int = -1,
    limit: int = 200,
    detail: Detail = Detail.FULL,
) -> list[RoundRecord]:
    """Rounds with an index above `after`, oldest first; lists not asked for come empty."""
    query = (
        select(*_READ[detail])
        .where(Round.run_id == run_id, Round.round_index > after)
        .order_by(Round.round_index)
        .limit(min(limit, PAGE_MAX))
    )
    empty: dict[str, Any] = {"devices": (), "scores": (), "links": ()}
    return [
        RoundRecord.model_validate(empty | dict(row)) for row in session.execute(query).mappings()
    ]


def seconds_left(session: Session, run: Run) -> float | None:
    """Time until a running run ends, judged by its last rounds; None where that is unknown."""
    if run.status is not RunStatus.RUNNING or run.rounds_done == 0:
        return None
    recent = (
        select(Round.wall_s)
        .where(Round.run_id == run.id, Round.round_index >= run.rounds_done - RECENT_ROUNDS)
        .subquery()
    )
    mean_s = session.scalar(select(func.avg(recent.c.wall_s))) or 0.0
    return max(0.0, (run.rounds_total - run.rounds_done - run.progress) * mean_s)


# Asking


def request_cancel(session: Session, run_id: int) -> Run:
    """Stop the run: at once while it is queued, within a local step while a worker trains it.

    Asking twice is no error.

    Raises:
        RunNotFound: there is none.
        IllegalTransition: it has ended already.
    """
    run = _locked(session, run_id)
    if run.status in ENDED:
        raise IllegalTransition(run.id, run.status, RunStatus.CANCELLED)
    if run.status is RunStatus.QUEUED:
        run.wanted = Wanted.CANCEL
        _move(session, run, RunStatus.CANCELLED, actor=PERSON, reason=_cancelled(run))
    elif run.wanted is not Wanted.CANCEL:
        run.wanted = Wanted.CANCEL
        _note(session, run, "cancel asked", actor=PERSON)
    return run


# Owning


def work_waits(session: Session) -> bool:
    """Whether `claim_next` would find something; a cheap question before taking the write lock."""
    now = _now(session)
    due = (Run.status == RunStatus.QUEUED) & (Run.not_before <= now)
    stale = (Run.status == RunStatus.RUNNING) & (Run.lease_until < now)
    return bool(session.scalar(select(exists().where(or_(due, stale)))))


def claim_next(session: Session, worker: str, *, lease_s: float) -> Claim | None:
    """The run that is next in the queue, now owned by `worker`; None if nothing waits.

    Runs whose lease is over go back to the queue first. A resumed run keeps the rounds up to its
    checkpoint and loses any later ones in this same transaction; they will be equal anyway.
    """
    now = _now(session)
    requeue_stale(session, actor=worker)
    chosen = (
        select(Run.id)
        .where(Run.status == RunStatus.QUEUED, Run.not_before <= now)
        .order_by(Run.priority.desc(), Run.id)
        .limit(1)
        .with_for_update(skip_locked=True)  # compiles to nothing on SQLite, where we hold the lock
        .scalar_subquery()
    )
    run = session.scalars(
        update(Run)
        .where(Run.id == chosen, Run.status == RunStatus.QUEUED)
        .values(
            status=RunStatus.RUNNING,
            owner=worker,
            fence=Run.fence + 1,
            attempt=Run.attempt + 1,
            lease_until=now + lease_s,
            started_at=func.coalesce(Run.started_at, _today().timestamp()),
        )
        .returning(Run)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if run is None:
        return None
    session.execute(
        delete(Round).where(Round.run_id == run.id, Round.round_index >= run.rounds_done)
    )
    _note(session, run, str(RunStatus.RUNNING), actor=worker, detail=_resumed(run))
    try:
        config = config_of(run)
    except UnreadableConfig as error:
        _move(session, run, RunStatus.FAILED, actor=worker, reason=str(error))
        return None
    return Claim(
        run_id=run.id,
        fence=run.fence,
        worker=worker,
        attempt=run.attempt,
        config=config,
        rounds_done=run.rounds_done,
        checkpoint=run.checkpoint,
    )


def record_provenance(session: Session, claim: Claim, provenance: Provenance) -> None:
    """Remember under which versions the run is trained; a change on resuming becomes an event.

    Raises:
        ClaimLost: another claim owns the run.
    """
    run = _held(session, claim)
    now = provenance.model_dump(mode="json")
    before = run.provenance
    if before is not None and before != now:
        changed = [f"{k}: {before.get(k)} -> {now[k]}" for k in now if before.get(k) != now[k]]
        _note(session, run, "environment changed", actor=claim.worker, detail="; ".join(changed))
    run.provenance = now


def append_round(
    session: Session, claim: Claim, record: RoundRecord, checkpoint: str, *, lease_s: float
) -> bool:
    """Store a round, its checkpoint and the progress together; whether cancel was asked.

    Raises:
        ClaimLost: another claim owns the run, or this is not the round that comes next.
    """
    values: dict[str, Any] = {
        "rounds_done": record.round_index + 1,
        "checkpoint": checkpoint,
        "progress": 0.0,
        "attempt": 0,
        "lease_until": _now(session) + lease_s,
        "sent_bits": Run.sent_bits + record.sent_bits,
        "airtime_s": Run.airtime_s + record.airtime_s,
        "energy_j": Run.energy_j + record.energy_j,
    }
    if record.accuracy_own is not None:
        values |= {"accuracy_own": record.accuracy_own, "accuracy_all": record.accuracy_all}
    wanted = session.scalar(
        update(Run)
        .where(*_mine(claim), Run.rounds_done == record.round_index)
        .values(values)
        .returning(Run.wanted)
        .execution_options(synchronize_session=False)
    )
    if wanted is None:
        raise ClaimLost(claim.run_id, claim.fence)
    session.add(Round(run_id=claim.run_id, fence=claim.fence, **record.model_dump(mode="json")))
    return wanted is Wanted.CANCEL


def beat(session: Session, claim: Claim, *, progress: float, lease_s: float) -> None:
    """Keep the run for another `lease_s` and show how far its current round is.

    Raises:
        ClaimLost: another claim owns the run.
    """
    changed: CursorResult[Any] = session.execute(  # type: ignore[assignment]
        update(Run)
        .where(*_mine(claim))
        .values(lease_until=_now(session) + lease_s, progress=min(max(progress, 0.0), 1.0))
        .execution_options(synchronize_session=False)
    )
    if changed.rowcount != 1:
        raise ClaimLost(claim.run_id, claim.fence)


def wanted(session: Session, claims: Sequence[Claim]) -> dict[int, Wanted]:
    """What people want of these runs, by run number; runs no longer held are missing."""
    held = {claim.run_id: claim.fence for claim in claims}
    rows = session.execute(
        select(Run.id, Run.fence, Run.wanted).where(
            Run.id.in_(held), Run.status == RunStatus.RUNNING
        )
    )
    return {run_id: want for run_id, fence, want in rows if held[run_id] == fence}


def finish(session: Session, claim: Claim, status: RunStatus, reason: str | None = None) -> Run:
    """End the run with its outcome.

    Raises:
        ClaimLost: another claim owns the run.
        IllegalTransition: `status` is no end.
    """
    run = _held(session, claim)
    if status not in ENDED:
        raise IllegalTransition(run.id, run.status, status)
    if status is RunStatus.CANCELLED and reason is None:
        reason = _cancelled(run)
    _move(session, run, status, actor=claim.worker, reason=reason)
    return run


def release(session: Session, claim: Claim, reason: str) -> Run:
    """Give the run back in good order; its worker stops, another goes on from the checkpoint.

    Raises:
        ClaimLost: another claim owns the run.
    """
    run = _held(session, claim)
    run.attempt = 0  # nobody was lost
    _give_back(session, run, actor=claim.worker, reason=reason)
    return run


def report_loss(session: Session, claim: Claim, reason: str) -> Run:
    """Give the run back because the process that trained it died.

    Raises:
        ClaimLost: another claim owns the run.
    """
    run = _held(session, claim)
    _give_back(session, run, actor=claim.worker, reason=reason)
    return run


def requeue_stale(
    session: Session, *, actor: str, is_dead: Callable[[str], bool] | None = None
) -> list[int]:
    """Runs whose lease is over, or whose owner `is_dead`, given back; their numbers."""
    now = _now(session)
    query = select(Run).where(Run.status == RunStatus.RUNNING)
    if is_dead is None:
        query = query.where(Run.lease_until < now)
    query = query.with_for_update(skip_locked=True).execution_options(populate_existing=True)
    given_back = []
    for run in session.scalars(query).all():
        over = run.lease_until is not None and run.lease_until < now
        if over or (is_dead is not None and run.owner is not None and is_dead(run.owner)):
            reason = "its lease ran out" if over else "its worker is gone"
            _give_back(session, run, actor=actor, reason=reason)
            given_back.append(run.id)
    return given_back


# Workers


def worker_beat(session: Session, name: str, *, slots: int, lease_s: float) -> None:
    """A sign of life of a worker process, busy or idle."""
    now = _now(session)
    worker = session.get(Worker, name)
    if worker is None:
        session.execute(delete(Worker).where(Worker.seen_until < now - 86_400))
        worker = Worker(name=name, slots=slots, started_at=_today(), seen_until=0.0)
        session.add(worker)
    worker.seen_until = now + lease_s


def worker_gone(session: Session, name: str) -> None:
    """A worker process said goodbye."""
    session.execute(delete(Worker).where(Worker.name == name))


def counts(session: Session) -> Counts:
    """How many runs wait and run, and how many workers are alive."""
    open_runs = (
        select(Run.status, func.count()).where(Run.status.not_in(ENDED)).group_by(Run.status)
    )
    by_status = dict(session.execute(open_runs).all())
    alive = select(func.count()).select_from(Worker).where(Worker.seen_until >= _now(session))
    return Counts(
        queued=by_status.get(RunStatus.QUEUED, 0),
        running=by_status.get(RunStatus.RUNNING, 0),
        workers=session.scalar(alive) or 0,
    )


# Inside


def _move(
    session: Session, run: Run, to: RunStatus, *, actor: str, reason: str | None = None
) -> None:
    """The one place where a status changes: legal moves only, each with its event."""
    if to not in LEGAL_MOVES[run.status]:
        raise IllegalTransition(run.id, run.status, to)
    run.status = to
    run.owner = None
    run.lease_until = None
    run.progress = 0.0
    if to in ENDED:
        run.finished_at = _today()
        run.reason = reason and reason[:REASON_MAX]
    _note(session, run, str(to), actor=actor, detail=reason and reason[:REASON_MAX])


def _give_back(session: Session, run: Run, *, actor: str, reason: str) -> None:
    if run.wanted is Wanted.CANCEL:
        _move(session, run, RunStatus.CANCELLED, actor=actor, reason=_cancelled(run))
    elif run.attempt >= MAX_ATTEMPTS:
        gave_up = f"gave up after {run.attempt} attempts without a finished round: {reason}"
        _move(session, run, RunStatus.FAILED, actor=actor, reason=gave_up)
    else:
        # The first loss is retried at once: most often somebody restarted the machine.
        again_s = min(2.0**run.attempt, RETRY_MAX_S)
        run.not_before = _now(session) + again_s if run.attempt > 1 else 0.0
        _move(session, run, RunStatus.QUEUED, actor=actor, reason=reason)


def _note(session: Session, run: Run, kind: str, *, actor: str, detail: str | None = None) -> None:
    session.add(
        RunEvent(
            run_id=run.id, at=_today(), kind=kind, actor=actor, fence=run.fence or 0, detail=detail
        )
    )


def _mine(claim: Claim) -> tuple[Any, Any, Any]:
    return (Run.id == claim.run_id, Run.fence == claim.fence, Run.status == RunStatus.RUNNING)


def _held(session: Session, claim: Claim) -> Run:
    query = select(Run).where(*_mine(claim)).with_for_update()
    run = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if run is None:
        raise ClaimLost(claim.run_id, claim.fence)
    return run


def _locked(session: Session, run_id: int) -> Run:
    run = session.get(Run, run_id, populate_existing=True, with_for_update=True)
    if run is None:
        raise RunNotFound(run_id)
    return run


def _cancelled(run: Run) -> str:
    return f"cancelled on request after {run.rounds_done} of {run.rounds_total} rounds"


def _resumed(run: Run) -> str | None:
    return f"goes on after round {run.rounds_done}" if run.rounds_done else None


def _today() -> datetime:
    return datetime.now(UTC)


def _now(session: Session) -> float:
    # Leases are compared across machines on PostgreSQL: its clock. SQLite lives on one machine.
    if session.get_bind().dialect.name == "postgresql":
        return float(session.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or 0.0)
    return time.time()
