"""Who trains a run, and what only that worker may write.

A run is owned by lease: `claim_next` gives a worker a fence number, and every later write of that
worker names it. Once another claim has raised the number, those writes change nothing and raise
`ClaimLost`; so a worker that was stopped, presumed dead and woken again can do no harm.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CursorResult, delete as deletion, exists, func, select, update
from sqlalchemy.orm import Session

from meshtune.db.clock import lease_time, today
from meshtune.db.errors import ClaimLost, IllegalTransition, UnreadableConfig
from meshtune.db.models import Round, RoundCurve, Run, Wanted, Worker
from meshtune.db.moves import move, note_event, stop, stop_reason
from meshtune.db.round_curves import curve_values
from meshtune.db.runs import config_of
from meshtune.engine.config import RunConfig
from meshtune.engine.records import ENDED, Provenance, RoundRecord, RunStatus

MAX_ATTEMPTS = 5  # claims in a row that end with a lost worker and no finished round
RETRY_MAX_S = 60.0
AWAKE_S = 60.0  # more patience with a lease whose owner is known to be awake: it is late, not lost


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


Knows = Callable[[str], bool]  # what a worker can say of another by its name


def nobody(_owner: str) -> bool:
    """What is known of owners elsewhere."""
    return False


def work_waits(session: Session, *, is_awake: Knows = nobody) -> bool:
    """Whether `claim_next` would find something; a cheap question before taking the write lock."""
    now = lease_time(session)
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
    requeue_stale(session, actor=worker, is_awake=is_awake)
    run = _taken(session, worker, lease_s)
    if run is None:
        return None
    session.execute(
        deletion(Round).where(Round.run_id == run.id, Round.round_index >= run.rounds_done)
    )
    note_event(session, run, str(RunStatus.RUNNING), actor=worker, detail=_resumed(run))
    try:
        config = config_of(run)
    except UnreadableConfig as error:
        move(session, run, RunStatus.FAILED, actor=worker, reason=str(error))
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


def _taken(session: Session, worker: str, lease_s: float) -> Run | None:
    """The run that is next, marked as running under a new fence."""
    now = lease_time(session)
    chosen = (
        select(Run.id)
        .where(Run.status == RunStatus.QUEUED, Run.not_before <= now)
        .order_by(Run.priority.desc(), Run.id)
        .limit(1)
        .with_for_update(skip_locked=True)  # compiles to nothing on SQLite, where we hold the lock
        .scalar_subquery()
    )
    return session.scalars(
        update(Run)
        .where(Run.id == chosen, Run.status == RunStatus.QUEUED)
        .values(
            status=RunStatus.RUNNING,
            owner=worker,
            fence=Run.fence + 1,
            attempt=Run.attempt + 1,
            lease_until=now + lease_s,
            started_at=func.coalesce(Run.started_at, today().timestamp()),
        )
        .returning(Run)
        .execution_options(populate_existing=True)
    ).one_or_none()


def record_provenance(session: Session, claim: Claim, provenance: Provenance) -> None:
    """Remember under which versions the run is trained; a change on resuming becomes an event.

    Raises:
        ClaimLost: another claim owns the run.
    """
    run = _held(session, claim)
    now = provenance.model_dump(mode="json")
    before = run.provenance
    if before is not None and before != now:
        changed = [
            f"{k}: {before.get(k)} -> {now.get(k)}"
            for k in before | now
            if before.get(k) != now.get(k)
        ]
        note_event(
            session, run, "environment changed", actor=claim.worker, detail="; ".join(changed)
        )
    run.provenance = now


def note(session: Session, claim: Claim, kind: str, detail: str) -> None:
    """Add an event to a run that is held.

    Raises:
        ClaimLost: another claim owns the run.
    """
    note_event(session, _held(session, claim), kind, actor=claim.worker, detail=detail)


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
        "lease_until": lease_time(session) + lease_s,
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
        .values(lease_until=lease_time(session) + lease_s, progress=min(max(progress, 0.0), 1.0))
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
        reason = stop_reason(run, status)
    move(session, run, status, actor=claim.worker, reason=reason)
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
    now = lease_time(session)
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


def worker_beat(session: Session, name: str, *, slots: int, lease_s: float) -> None:
    """A sign of life of a worker process, busy or idle."""
    now = lease_time(session)
    worker = session.get(Worker, name)
    if worker is None:
        session.execute(deletion(Worker).where(Worker.seen_until < now - 86_400))
        worker = Worker(name=name, slots=slots, started_at=today(), seen_until=0.0)
        session.add(worker)
    worker.seen_until = now + lease_s


def worker_gone(session: Session, name: str) -> None:
    """A worker process said goodbye."""
    session.execute(deletion(Worker).where(Worker.name == name))


def _give_back(session: Session, run: Run, *, actor: str, reason: str) -> None:
    if run.wanted is Wanted.CANCEL:
        stop(session, run, RunStatus.CANCELLED, actor=actor)
    elif run.wanted is Wanted.PAUSE:
        stop(session, run, RunStatus.PAUSED, actor=actor)
    elif run.attempt >= MAX_ATTEMPTS:
        gave_up = f"gave up after {run.attempt} attempts without a finished round: {reason}"
        move(session, run, RunStatus.FAILED, actor=actor, reason=gave_up)
    else:
        # The first loss is retried at once: most often somebody restarted the machine.
        again_s = min(2.0**run.attempt, RETRY_MAX_S)
        run.not_before = lease_time(session) + again_s if run.attempt > 1 else 0.0
        move(session, run, RunStatus.QUEUED, actor=actor, reason=reason)


def _mine(claim: Claim) -> tuple[Any, Any, Any]:
    return (Run.id == claim.run_id, Run.fence == claim.fence, Run.status == RunStatus.RUNNING)


def _held(session: Session, claim: Claim) -> Run:
    query = select(Run).where(*_mine(claim)).with_for_update()
    run = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if run is None:
        raise ClaimLost(claim.run_id, claim.fence)
    return run


def _resumed(run: Run) -> str | None:
    return f"goes on after round {run.rounds_done}" if run.rounds_done else None
