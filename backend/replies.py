"""Rows of the store as bodies on the wire."""

from sqlalchemy.orm import Session

from backend.schemas import RunDetail, RunEventOut, RunSummary
from db import runs
from db.models import Run, RunEvent, Wanted
from engine.records import Provenance, RunStatus


def summary(run: Run) -> RunSummary:
    """A run in a list."""
    return RunSummary(
        id=run.id,
        name=run.name,
        status=run.status,
        method=run.method,
        seed=run.seed,
        devices=run.devices,
        rounds_done=run.rounds_done,
        rounds_total=run.rounds_total,
        cancel_requested=run.status is RunStatus.RUNNING and run.wanted is Wanted.CANCEL,
        created_at=run.created_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        accuracy_own=run.accuracy_own,
        accuracy_all=run.accuracy_all,
        sent_bits=run.sent_bits,
        airtime_s=run.airtime_s,
        energy_j=run.energy_j,
        reason=run.reason,
    )


def detail(session: Session, run: Run) -> RunDetail:
    """A run, whole but for its rounds."""
    return RunDetail(
        **dict(summary(run)),
        config=runs.config_of(run),
        config_sha256=run.config_sha256,
        provenance=Provenance.model_validate(run.provenance) if run.provenance else None,
        events=[_event(event) for event in runs.events(session, run.id)],
        progress=run.progress,
        seconds_left=runs.seconds_left(session, run),
    )


def _event(event: RunEvent) -> RunEventOut:
    return RunEventOut(id=event.id, at=event.at, kind=event.kind, detail=event.detail)
