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
from sqlalchemy import CursorResult, delete as deletion, exists, func, or_, select, text, update
from sqlalchemy.orm import Session, defer

from meshtune.db.errors import (
    ClaimLost,
    IllegalTransition,
    RunDeleted,
    RunNotFound,
    UnreadableConfig,
    UnreadableRound,
)
from meshtune.db.models import Round, RoundCurve, Run, RunEvent, Wanted, Worker
from meshtune.db.round_curves import curve_values
from meshtune.engine.config import RunConfig, config_hash, name_problem, plain_errors
from meshtune.engine.records import ENDED, LEGAL_MOVES, Provenance, RoundRecord, RunStatus

MAX_ATTEMPTS = 5  # claims in a row that end with a lost worker and no finished round
RETRY_MAX_S = 60.0
AWAKE_S = 60.0  # more patience with a lease whose owner is known to be awake: it is late, not lost
PAGE_MAX = 500  # rounds or runs in one answer
RECENT_ROUNDS = 5  # the time left is judged by these
PERSON = "person"  # actor of events that somebody asked for
REASON_MAX = 1000  # characters
NAME_MAX = 80  # characters, as in a config
NOTE_MAX = 2000  # characters
PRIORITY_MAX = 100  # and as much below zero
COMPARED_MAX = 50  # runs in one answer
UNDO_S = 86_400.0  # a deleted run can be restored for a day
PURGED_MAX = 20  # runs in one transaction, so that others need not wait long for the lock


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
    paused: int = 0


@dataclass(frozen=True)
class Only:
    """Which runs a list holds; an empty field says nothing."""

    status: Sequence[RunStatus] = ()
    name: str | None = None  # exactly this
    method: str | None = None
    text: str | None = None  # somewhere in name, method, note or reason; capitals do not matter
    deleted: bool = False  # those that were deleted, instead of those that were not


# Creating and reading


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
        created_at=_today(),
    )
    session.add(run)
    session.flush()  # gives it its number
    origin = f"cloned from run {cloned_from}" if cloned_from is not None else None
    _note(session, run, "created", actor=actor, detail=origin)
    return run


def get(session: Session, run_id: int) -> Run:
    """The run with this number.

    Raises:
        RunNotFound: there is none, or it was deleted.
    """
    return _seen(run_id, session.get(Run, run_id, populate_existing=True))


@dataclass(frozen=True)
class Standing:
    """Where a run stands. While it is the same, so are all the rounds that are stored of it."""

    status: RunStatus
    rounds_done: int
    rounds_total: int
    fence: int


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
    Detail.FULL: (
        *_TOTALS,
        Round.devices,
        Round.scores,
        Round.links,
        Round.merges,
        Round.layers,
        Round.routes,
    ),
}


def rounds(
    session: Session,
    run_id: int,
    *,
    after: int = -1,
    limit: int = 200,
    detail: Detail = Detail.FULL,
    every: int = 1,
) -> list[RoundRecord]:
    """Rounds with an index above `after`, oldest first; lists not asked for come empty.

    Of the rounds 0, 1, 2 ... only every `every`-th, and the last that is stored.

    Raises:
        UnreadableRound: one of them is damaged.
    """
    query = (
        select(*_READ[detail])
        .where(Round.run_id == run_id, Round.round_index > after)
        .order_by(Round.round_index)
        .limit(min(limit, PAGE_MAX))
    )
    if every > 1:
        last = select(func.max(Round.round_index)).where(Round.run_id == run_id).scalar_subquery()
        query = query.where(or_(Round.round_index % every == 0, Round.round_index == last))
    return [_record(run_id, {**row}) for row in session.execute(query).mappings()]


def _record(run_id: int, row: dict[str, Any]) -> RoundRecord:
    empty: dict[str, Any] = {"devices": (), "scores": (), "links": ()}
    try:
        return RoundRecord.model_validate(empty | row)
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"]))
        raise UnreadableRound(run_id, row["round_index"], field) from error


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


def request_cancel(session: Session, run_id: int, *, actor: str = PERSON) -> Run:
    """Stop the run for good: at once, or within a local step while a worker trains it.

    Asking twice is no error.

    Raises:
        RunNotFound: there is none.
        IllegalTransition: it has ended otherwise.
    """
    run = _locked(session, run_id)
    if run.status is RunStatus.RUNNING:
        _ask(session, run, Wanted.CANCEL, actor=actor)
    elif run.status is not RunStatus.CANCELLED:
        _check(run, RunStatus.CANCELLED)
        run.wanted = Wanted.CANCEL
        _stop(session, run, RunStatus.CANCELLED, actor=actor)
    return run


def request_pause(session: Session, run_id: int, *, actor: str = PERSON) -> Run:
    """Halt the run: at once while it is queued, within a local step while a worker trains it.

    It keeps its finished rounds and goes on when resumed. Asking twice is no error.

    Raises:
        RunNotFound: there is none.
        IllegalTransition: it has ended, or is being cancelled.
    """
    run = _locked(session, run_id)
    _not_being_cancelled(run, RunStatus.PAUSED)
    if run.status is RunStatus.RUNNING:
        _ask(session, run, Wanted.PAUSE, actor=actor)
    elif run.status is not RunStatus.PAUSED:
        _check(run, RunStatus.PAUSED)
        run.wanted = Wanted.PAUSE
        _stop(session, run, RunStatus.PAUSED, actor=actor)
    return run


def request_resume(session: Session, run_id: int, *, actor: str = PERSON) -> Run:
    """Put a paused run back into the queue, or take back a pause that is not yet obeyed.

    A run that waits or trains anyway stays as it is.

    Raises:
        RunNotFound: there is none.
        IllegalTransition: it has ended, or is being cancelled.
    """
    run = _locked(session, run_id)
    _not_being_cancelled(run, "resumed")
    if run.status in ENDED:
        raise IllegalTransition(run.id, run.status, "resumed")
    if run.status is RunStatus.RUNNING:
        _ask(session, run, Wanted.RUN, actor=actor)
    elif run.status is RunStatus.PAUSED:
        _queue_again(session, run, actor=actor, reason="resumed on request")
    return run


def retry(session: Session, run_id: int, *, actor: str = PERSON) -> Run:
    """Queue a failed run again; it goes on after its last finished round.

    Raises:
        RunNotFound: there is none.
        IllegalTransition: it has not failed.
    """
    run = _locked(session, run_id)
    if run.status is not RunStatus.FAILED:
        raise IllegalTransition(run.id, run.status, "retried")
    _queue_again(session, run, actor=actor, reason="retried on request")
    run.finished_at = None
    run.reason = None
    return run


def set_priority(session: Session, run_id: int, priority: int, *, actor: str = PERSON) -> Run:
    """Let the run go before queued ones of a lower priority; higher first, then older first."""
    run = _locked(session, run_id)
    if abs(priority) > PRIORITY_MAX:
        raise ValueError(f"a priority is at most {PRIORITY_MAX} above or below 0, not {priority}")
    if priority != run.priority:
        _note(session, run, "priority", actor=actor, detail=f"{run.priority} -> {priority}")
        run.priority = priority
    return run


def annotate(session: Session, run_id: int, note: str, *, actor: str = PERSON) -> Run:
    """Write on the run what people want to remember about it; an empty note takes it away."""
    run = _locked(session, run_id)
    if len(note) > NOTE_MAX:
        raise ValueError(f"a note has at most {NOTE_MAX} characters, not {len(note)}")
    if (note or None) != run.note:
        _note(session, run, "note", actor=actor, detail=note or None)
        run.note = note or None
    return run


def rename(session: Session, run_id: int, name: str, *, actor: str = PERSON) -> Run:
    """Give the run another name in lists; its config and the hash of it stay as they were run."""
    run = _locked(session, run_id)
    if not 0 < len(name) <= NAME_MAX:
        raise ValueError(f"a name has 1 to {NAME_MAX} characters, not {len(name)}")
    if unseen := name_problem(name):
        raise ValueError(f"the name {unseen}")
    if name != run.name:
        _note(session, run, "renamed", actor=actor, detail=f"{run.name} -> {name}")
        run.name = name
    return run


def delete(session: Session, run_id: int, *, actor: str = PERSON) -> None:
    """Hide the run; it can be restored for a day. One that waits or is paused is cancelled first.

    Raises:
        RunNotFound: there is none, or it is deleted already.
        IllegalTransition: a worker trains it.
    """
    run = _locked(session, run_id)
    if run.status is RunStatus.RUNNING:
        raise IllegalTransition(run.id, run.status, "deleted", because="cancel it first")
    if run.status not in ENDED:
        run.wanted = Wanted.CANCEL
        _stop(session, run, RunStatus.CANCELLED, actor=actor)
    run.deleted_at = _today()
    _note(session, run, "deleted", actor=actor)


def restore(session: Session, run_id: int, *, actor: str = PERSON) -> Run:
    """Show a deleted run again, as it was; one that is not deleted stays as it is.

    Raises:
        RunNotFound: there is none, or it is purged.
    """
    run = session.get(Run, run_id, populate_existing=True, with_for_update=True)
    if run is None:
        raise RunNotFound(run_id)
    if run.deleted_at is not None:
        run.deleted_at = None
        _note(session, run, "restored", actor=actor)
    return run


def purge_deleted(session: Session, *, older_than_s: float = UNDO_S) -> list[int]:
    """Forget runs deleted longer ago than that, with rounds and events; their numbers.

    At most `PURGED_MAX` at a time. Their checkpoints are files, so they are the caller's to delete.
    """
    # A moment later than any that is stored when no time has to pass at all.
    until = datetime.fromtimestamp(_today().timestamp() - older_than_s, UTC)
    gone = list(
        session.scalars(
            select(Run.id)
            .where(Run.deleted_at.is_not(None), Run.deleted_at <= until)
            .order_by(Run.id)
            .limit(PURGED_MAX)
            .with_for_update(skip_locked=True)
        )
    )
    for table, number in ((Round, Round.run_id), (RunEvent, RunEvent.run_id), (Run, Run.id)):
        session.execute(deletion(table).where(number.in_(gone)))
    return gone


# Owning

Knows = Callable[[str], bool]  # what a worker can say of another by its name


def nobody(_owner: str) -> bool:
    """What is known of owners elsewhere."""
    return False


def work_waits(session: Session, *, is_awake: Knows = nobody) -> bool:
    """Whether `claim_next` would find something; a cheap question before taking the write lock."""
    now = _now(session)
    due = (Run.status == RunStatus.QUEUED) & (Run.not_before <= now)
    if session.scalar(select(exists().where(due))):
        return True
    stale = (Run.status == RunStatus.RUNNING) & (Run.lease_until < now)
    return any(_is_over(run, now, is_awake) for run in session.scalars(select(Run).where(stale)))


def claim_next(
    session: Session, worker: str, *, lease_s: float, is_awake: Knows = nobody
) -> Claim | None:
    """The run that is next in the queue, now owned by `worker`; None if nothing waits.

    Runs whose lease is over go back to the queue first. A resumed run keeps the rounds up to its
    checkpoint and loses any later ones in this same transaction; they will be equal anyway.
    """
    now = _now(session)
    requeue_stale(session, actor=worker, is_awake=is_awake)
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
        deletion(Round).where(Round.run_id == run.id, Round.round_index >= run.rounds_done)
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


def note(session: Session, claim: Claim, kind: str, detail: str) -> None:
    """Add an event to a run that is held.

    Raises:
        ClaimLost: another claim owns the run.
    """
    _note(session, _held(session, claim), kind, actor=claim.worker, detail=detail)


def append_round(
    session: Session, claim: Claim, record: RoundRecord, checkpoint: str, *, lease_s: float
) -> bool:
    """Store a round, its checkpoint and the progress together; whether somebody wants it to stop.

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
    stored = record.model_dump(mode="json")
    session.add(Round(run_id=claim.run_id, fence=claim.fence, **stored))
    if record.scores:
        session.add(RoundCurve(run_id=claim.run_id, **curve_values(stored)))
    return wanted is not Wanted.RUN


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
        reason = _stopped(run, status)
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
    session: Session, *, actor: str, is_dead: Knows | None = None, is_awake: Knows = nobody
) -> list[int]:
    """Runs whose lease is over, or whose owner `is_dead`, given back; their numbers.

    An owner that `is_awake` only could not renew its lease (the machine was suspended, the database
    locked) and may be about to finish a round: it has `AWAKE_S` more.
    """
    now = _now(session)
    query = select(Run).where(Run.status == RunStatus.RUNNING)
    if is_dead is None:
        query = query.where(Run.lease_until < now)
    query = query.with_for_update(skip_locked=True).execution_options(populate_existing=True)
    given_back = []
    for run in session.scalars(query).all():
        over = _is_over(run, now, is_awake)
        if over or (is_dead is not None and run.owner is not None and is_dead(run.owner)):
            reason = "its lease ran out" if over else "its worker is gone"
            _give_back(session, run, actor=actor, reason=reason)
            given_back.append(run.id)
    return given_back


def _is_over(run: Run, now: float, is_awake: Knows) -> bool:
    if run.lease_until is None or run.lease_until >= now:
        return False
    late = run.owner is not None and is_awake(run.owner)
    return run.lease_until + (AWAKE_S if late else 0.0) < now


# Workers


def worker_beat(session: Session, name: str, *, slots: int, lease_s: float) -> None:
    """A sign of life of a worker process, busy or idle."""
    now = _now(session)
    worker = session.get(Worker, name)
    if worker is None:
        session.execute(deletion(Worker).where(Worker.seen_until < now - 86_400))
        worker = Worker(name=name, slots=slots, started_at=_today(), seen_until=0.0)
        session.add(worker)
    worker.seen_until = now + lease_s


def worker_gone(session: Session, name: str) -> None:
    """A worker process said goodbye."""
    session.execute(deletion(Worker).where(Worker.name == name))


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
        paused=by_status.get(RunStatus.PAUSED, 0),
    )


# Inside

_ASKED = {
    Wanted.CANCEL: "cancel asked",
    Wanted.PAUSE: "pause asked",
    Wanted.RUN: "resume asked",
}


def _move(
    session: Session, run: Run, to: RunStatus, *, actor: str, reason: str | None = None
) -> None:
    """The one place where a status changes: legal moves only, each with its event."""
    _check(run, to)
    reason = reason and _storable(reason)
    run.status = to
    run.owner = None
    run.lease_until = None
    run.progress = 0.0
    if to in ENDED:
        run.finished_at = _today()
        run.reason = reason
    _note(session, run, str(to), actor=actor, detail=reason)


def _storable(reason: str) -> str:
    # An error may quote anything: no database stores half a character, PostgreSQL no zero byte.
    whole = reason.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    return whole[:REASON_MAX]


def _check(run: Run, to: RunStatus) -> None:
    if to not in LEGAL_MOVES[run.status]:
        raise IllegalTransition(run.id, run.status, to)


def _ask(session: Session, run: Run, want: Wanted, *, actor: str) -> None:
    """Tell the worker of a running run. A cancel stays a cancel; asking twice changes nothing."""
    if run.wanted is want:
        return
    run.wanted = want
    _note(session, run, _ASKED[want], actor=actor)


def _not_being_cancelled(run: Run, wanted: str) -> None:
    if run.status is RunStatus.RUNNING and run.wanted is Wanted.CANCEL:
        raise IllegalTransition(run.id, run.status, wanted, because="it is being cancelled")


def _stop(session: Session, run: Run, to: RunStatus, *, actor: str) -> None:
    _move(session, run, to, actor=actor, reason=_stopped(run, to))


def _queue_again(session: Session, run: Run, *, actor: str, reason: str) -> None:
    """A person wants it to go on: at once, whatever happened to it before."""
    run.wanted = Wanted.RUN
    run.attempt = 0
    run.not_before = 0.0
    _move(session, run, RunStatus.QUEUED, actor=actor, reason=reason)


def _give_back(session: Session, run: Run, *, actor: str, reason: str) -> None:
    if run.wanted is Wanted.CANCEL:
        _stop(session, run, RunStatus.CANCELLED, actor=actor)
    elif run.wanted is Wanted.PAUSE:
        _stop(session, run, RunStatus.PAUSED, actor=actor)
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
    return _seen(run_id, session.get(Run, run_id, populate_existing=True, with_for_update=True))


def _seen(run_id: int, run: Run | None) -> Run:
    if run is None:
        raise RunNotFound(run_id)
    if run.deleted_at is not None:
        raise RunDeleted(run_id)
    return run


def _stopped(run: Run, to: RunStatus) -> str:
    return f"{to} on request after {run.rounds_done} of {run.rounds_total} rounds"


def _resumed(run: Run) -> str | None:
    return f"goes on after round {run.rounds_done}" if run.rounds_done else None


def _today() -> datetime:
    return datetime.now(UTC)


def _now(session: Session) -> float:
    # Leases are compared across machines on PostgreSQL: its clock. SQLite lives on one machine.
    if session.get_bind().dialect.name == "postgresql":
        return float(session.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or 0.0)
    return time.time()
