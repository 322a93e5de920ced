"""Rows of the store as bodies on the wire."""

from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import Session

from meshtune.backend.schemas.runs import RunDetail, RunEventOut, RunSummary
from meshtune.db import rounds, runs
from meshtune.db.models import Run, RunEvent, Wanted
from meshtune.engine.records import Provenance, RunStatus


def summary(run: Run) -> RunSummary:
    """A run in a list; what is damaged of it says nothing, so that the others are seen."""
    told: dict[str, Any] = {
        "id": run.id,
        "name": run.name,
        "status": run.status,
        "method": run.method,
        "seed": run.seed,
        "devices": run.devices,
        "rounds_done": run.rounds_done,
        "rounds_total": run.rounds_total,
        "cancel_requested": run.status is RunStatus.RUNNING and run.wanted is Wanted.CANCEL,
        "pause_requested": run.status is RunStatus.RUNNING and run.wanted is Wanted.PAUSE,
        "priority": run.priority,
        "note": run.note,
        "cloned_from": run.cloned_from,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "deleted_at": run.deleted_at,
        "accuracy_own": run.accuracy_own,
        "accuracy_all": run.accuracy_all,
        "sent_bits": run.sent_bits,
        "airtime_s": run.airtime_s,
        "energy_j": run.energy_j,
        "reason": run.reason,
    }
    try:
        return RunSummary.model_validate(told)
    except ValidationError as error:
        # All but numbers is whole: types of columns see to that.
        damaged = {str(found["loc"][0]) for found in error.errors()}
        return RunSummary.model_validate(told | {name: _nothing(name) for name in damaged})


def _nothing(name: str) -> int | None:
    return None if name in {"accuracy_own", "accuracy_all", "cloned_from"} else 0


def provenance(run: Run) -> Provenance | None:
    """Versions under which a run was trained; None if they are not known, or not readable here."""
    try:
        return Provenance.model_validate(run.provenance) if run.provenance else None
    except ValidationError:
        return None


def detail(session: Session, run: Run) -> RunDetail:
    """A run, whole but for its rounds."""
    return RunDetail(
        **dict(summary(run)),
        config=runs.config_of(run),
        config_sha256=run.config_sha256,
        provenance=provenance(run),
        events=[event_of(event) for event in runs.events(session, run.id)],
        progress=run.progress,
        seconds_left=rounds.seconds_left(session, run),
    )


def event_of(event: RunEvent) -> RunEventOut:
    """One thing that happened to a run."""
    return RunEventOut(
        id=event.id, at=event.at, kind=event.kind, actor=event.actor, detail=event.detail
    )
