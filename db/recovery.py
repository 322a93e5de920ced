"""What a worker tells of the recovery of a run."""

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.errors import ClaimLost
from db.models import Run, RunEvent
from db.runs import Claim
from engine.records import RunStatus


def note(session: Session, claim: Claim, kind: str, detail: str) -> None:
    """Add an event to a run that is held.

    Raises:
        ClaimLost: another claim owns the run.
    """
    held = select(Run.id).where(
        Run.id == claim.run_id, Run.fence == claim.fence, Run.status == RunStatus.RUNNING
    )
    if session.scalar(held.with_for_update()) is None:
        raise ClaimLost(claim.run_id, claim.fence)
    session.add(
        RunEvent(
            run_id=claim.run_id,
            at=datetime.now(UTC),
            kind=kind,
            actor=claim.worker,
            fence=claim.fence,
            detail=detail,
        )
    )
