"""What people ask of a run: to stop, pause, go on, be called otherwise, be forgotten."""

from datetime import UTC, datetime

from sqlalchemy import delete as deletion, select
from sqlalchemy.orm import Session

from meshtune.db.clock import today
from meshtune.db.errors import IllegalTransition, RunNotFound
from meshtune.db.models import Round, Run, RunEvent, Wanted
from meshtune.db.moves import PERSON, locked, move, note_event, require_legal, stop
from meshtune.engine.config import name_problem
from meshtune.engine.records import ENDED, RunStatus

NAME_MAX = 80  # characters, as in a config
NOTE_MAX = 2000  # characters
PRIORITY_MAX = 100  # and as much below zero
UNDO_S = 86_400.0  # a deleted run can be restored for a day
PURGED_MAX = 20  # runs in one transaction, so that others need not wait long for the lock


_ASKED = {
    Wanted.CANCEL: "cancel asked",
    Wanted.PAUSE: "pause asked",
    Wanted.RUN: "resume asked",
}


def request_cancel(session: Session, run_id: int, *, actor: str = PERSON) -> Run:
    """Stop the run for good: at once, or within a local step while a worker trains it.

    Asking twice is no error.

    Raises:
        RunNotFound: there is none.
        IllegalTransition: it has ended otherwise.
    """
    run = locked(session, run_id)
    if run.status is RunStatus.RUNNING:
        _ask(session, run, Wanted.CANCEL, actor=actor)
    elif run.status is not RunStatus.CANCELLED:
        require_legal(run, RunStatus.CANCELLED)
        run.wanted = Wanted.CANCEL
        stop(session, run, RunStatus.CANCELLED, actor=actor)
    return run


def request_pause(session: Session, run_id: int, *, actor: str = PERSON) -> Run:
    """Halt the run: at once while it is queued, within a local step while a worker trains it.

    It keeps its finished rounds and goes on when resumed. Asking twice is no error.

    Raises:
        RunNotFound: there is none.
        IllegalTransition: it has ended, or is being cancelled.
    """
    run = locked(session, run_id)
    _not_being_cancelled(run, RunStatus.PAUSED)
    if run.status is RunStatus.RUNNING:
        _ask(session, run, Wanted.PAUSE, actor=actor)
    elif run.status is not RunStatus.PAUSED:
        require_legal(run, RunStatus.PAUSED)
        run.wanted = Wanted.PAUSE
        stop(session, run, RunStatus.PAUSED, actor=actor)
    return run


def request_resume(session: Session, run_id: int, *, actor: str = PERSON) -> Run:
    """Put a paused run back into the queue, or take back a pause that is not yet obeyed.

    A run that waits or trains anyway stays as it is.

    Raises:
        RunNotFound: there is none.
        IllegalTransition: it has ended, or is being cancelled.
    """
    run = locked(session, run_id)
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
    run = locked(session, run_id)
    if run.status is not RunStatus.FAILED:
        raise IllegalTransition(run.id, run.status, "retried")
    _queue_again(session, run, actor=actor, reason="retried on request")
    run.finished_at = None
    run.reason = None
    return run


def set_priority(session: Session, run_id: int, priority: int, *, actor: str = PERSON) -> Run:
    """Let the run go before queued ones of a lower priority; higher first, then older first."""
    run = locked(session, run_id)
    if abs(priority) > PRIORITY_MAX:
        raise ValueError(f"a priority is at most {PRIORITY_MAX} above or below 0, not {priority}")
    if priority != run.priority:
        note_event(session, run, "priority", actor=actor, detail=f"{run.priority} -> {priority}")
        run.priority = priority
    return run


def annotate(session: Session, run_id: int, note: str, *, actor: str = PERSON) -> Run:
    """Write on the run what people want to remember about it; an empty note takes it away."""
    run = locked(session, run_id)
    if len(note) > NOTE_MAX:
        raise ValueError(f"a note has at most {NOTE_MAX} characters, not {len(note)}")
    if (note or None) != run.note:
        note_event(session, run, "note", actor=actor, detail=note or None)
        run.note = note or None
    return run


def rename(session: Session, run_id: int, name: str, *, actor: str = PERSON) -> Run:
    """Give the run another name in lists; its config and the hash of it stay as they were run."""
    run = locked(session, run_id)
    if not 0 < len(name) <= NAME_MAX:
        raise ValueError(f"a name has 1 to {NAME_MAX} characters, not {len(name)}")
    if unseen := name_problem(name):
        raise ValueError(f"the name {unseen}")
    if name != run.name:
        note_event(session, run, "renamed", actor=actor, detail=f"{run.name} -> {name}")
        run.name = name
    return run


def delete(session: Session, run_id: int, *, actor: str = PERSON) -> None:
    """Hide the run; it can be restored for a day. One that waits or is paused is cancelled first.

    Raises:
        RunNotFound: there is none, or it is deleted already.
        IllegalTransition: a worker trains it.
    """
    run = locked(session, run_id)
    if run.status is RunStatus.RUNNING:
        raise IllegalTransition(run.id, run.status, "deleted", because="cancel it first")
    if run.status not in ENDED:
        run.wanted = Wanted.CANCEL
        stop(session, run, RunStatus.CANCELLED, actor=actor)
    run.deleted_at = today()
    note_event(session, run, "deleted", actor=actor)


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
        note_event(session, run, "restored", actor=actor)
    return run


def purge_deleted(session: Session, *, older_than_s: float = UNDO_S) -> list[int]:
    """Forget runs deleted longer ago than that, with rounds and events; their numbers.

    At most `PURGED_MAX` at a time. Their checkpoints are files, so they are the caller's to delete.
    """
    # A moment later than any that is stored when no time has to pass at all.
    until = datetime.fromtimestamp(today().timestamp() - older_than_s, UTC)
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


def _ask(session: Session, run: Run, want: Wanted, *, actor: str) -> None:
    """Tell the worker of a running run. A cancel stays a cancel; asking twice changes nothing."""
    if run.wanted is want:
        return
    run.wanted = want
    note_event(session, run, _ASKED[want], actor=actor)


def _not_being_cancelled(run: Run, wanted: str) -> None:
    if run.status is RunStatus.RUNNING and run.wanted is Wanted.CANCEL:
        raise IllegalTransition(run.id, run.status, wanted, because="it is being cancelled")


def _queue_again(session: Session, run: Run, *, actor: str, reason: str) -> None:
    """A person wants it to go on: at once, whatever happened to it before."""
    run.wanted = Wanted.RUN
    run.attempt = 0
    run.not_before = 0.0
    move(session, run, RunStatus.QUEUED, actor=actor, reason=reason)
