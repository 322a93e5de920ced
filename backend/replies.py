"""Rows of the store as bodies on the wire."""

from sqlalchemy.orm import Session

from backend.schemas import CurvesOut, RunDetail, RunEventOut, RunSummary
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
        pause_requested=run.status is RunStatus.RUNNING and run.wanted is Wanted.PAUSE,
        priority=run.priority,
        note=run.note,
        cloned_from=run.cloned_from,
        created_at=run.created_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        deleted_at=run.deleted_at,
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
        events=[event_of(event) for event in runs.events(session, run.id)],
        progress=run.progress,
        seconds_left=runs.seconds_left(session, run),
    )


def curves(found: runs.Curves) -> CurvesOut:
    """A run in a comparison."""
    run = found.run
    return CurvesOut(
        id=run.id,
        name=run.name,
        method=run.method,
        seed=run.seed,
        status=run.status,
        rounds_done=run.rounds_done,
        rounds_total=run.rounds_total,
        round_index=found.round_index,
        values={field.value: values for field, values in found.values.items()},
    )


def event_of(event: RunEvent) -> RunEventOut:
    """One thing that happened to a run."""
    return RunEventOut(
        id=event.id, at=event.at, kind=event.kind, actor=event.actor, detail=event.detail
    )
