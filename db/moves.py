"""Moves of a run from status to status, and the log of them. The only writer of a status."""

from sqlalchemy.orm import Session

from meshtune.db.clock import today
from meshtune.db.errors import IllegalTransition, RunDeleted, RunNotFound
from meshtune.db.models import Run, RunEvent
from meshtune.engine.records import ENDED, LEGAL_MOVES, RunStatus

PERSON = "person"  # actor of events that somebody asked for
REASON_MAX = 1000  # characters


def move(
    session: Session, run: Run, to: RunStatus, *, actor: str, reason: str | None = None
) -> None:
    """The one place where a status changes: legal moves only, each with its event."""
    require_legal(run, to)
    reason = reason and _storable(reason)
    run.status = to
    run.owner = None
    run.lease_until = None
    run.progress = 0.0
    if to in ENDED:
        run.finished_at = today()
        run.reason = reason
    note_event(session, run, str(to), actor=actor, detail=reason)


def stop(session: Session, run: Run, to: RunStatus, *, actor: str) -> None:
    """Halt or end the run because somebody asked for it."""
    move(session, run, to, actor=actor, reason=stop_reason(run, to))


def stop_reason(run: Run, to: RunStatus) -> str:
    """Why a run halts that somebody asked to stop."""
    return f"{to} on request after {run.rounds_done} of {run.rounds_total} rounds"


def require_legal(run: Run, to: RunStatus) -> None:
    """Refuse a move that the table of moves does not have.

    Raises:
        IllegalTransition: it is none.
    """
    if to not in LEGAL_MOVES[run.status]:
        raise IllegalTransition(run.id, run.status, to)


def note_event(
    session: Session, run: Run, kind: str, *, actor: str, detail: str | None = None
) -> None:
    """Add to the log what happened to the run."""
    session.add(
        RunEvent(
            run_id=run.id, at=today(), kind=kind, actor=actor, fence=run.fence or 0, detail=detail
        )
    )


def locked(session: Session, run_id: int) -> Run:
    """The run, held against other writers until the transaction ends.

    Raises:
        RunNotFound: there is none, or it was deleted.
    """
    return visible(run_id, session.get(Run, run_id, populate_existing=True, with_for_update=True))


def visible(run_id: int, run: Run | None) -> Run:
    """The run that was found under this number.

    Raises:
        RunNotFound: there is none, or it was deleted.
    """
    if run is None:
        raise RunNotFound(run_id)
    if run.deleted_at is not None:
        raise RunDeleted(run_id)
    return run


def _storable(reason: str) -> str:
    # An error may quote anything: no database stores half a character, PostgreSQL no zero byte.
    whole = reason.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    return whole[:REASON_MAX]
