"""What must hold at every moment, and at the end."""

from dataclasses import dataclass, field

from sqlalchemy import Engine, func, select

from meshtune.db import runs
from meshtune.db.models import Round, Run
from meshtune.db.session import reading
from meshtune.engine.config import RunConfig
from meshtune.engine.records import RoundRecord, RunStatus
from tests.support.workers import records


@dataclass
class Watch:
    """Rounds seen so far; none may ever go away or count twice."""

    store: Engine
    seen: dict[int, int] = field(default_factory=dict)
    lost: int = 0
    doubled: int = 0

    def look(self) -> None:
        """Compare one moment of the store with all moments before."""
        with reading(self.store) as session:
            counted = dict(
                session.execute(select(Round.run_id, func.count()).group_by(Round.run_id)).all()
            )
            stand = session.execute(select(Run.id, Run.rounds_done, Run.sent_bits)).all()
            bits = dict(
                session.execute(
                    select(Round.run_id, func.sum(Round.sent_bits)).group_by(Round.run_id)
                ).all()
            )
        for run_id, done, sent_bits in stand:
            held = counted.get(run_id, 0)
            self.lost += max(0, self.seen.get(run_id, 0) - held, done - held)
            self.doubled += max(0, held - done) + (sent_bits > bits.get(run_id, 0))
            self.seen[run_id] = held

    @property
    def rounds(self) -> int:
        """Rounds stored."""
        return sum(self.seen.values())


def undone(store: Engine) -> list[Run]:
    """Runs that have not ended."""
    with reading(store) as session:
        return [run for run in runs.listed(session, limit=500) if run.finished_at is None]


def difference(store: Engine, run: Run, twin: list[RoundRecord]) -> str | None:
    """What of a run is not as in its twin; None if all is equal to the bit."""
    if run.status is not RunStatus.COMPLETED:
        return f"it is {run.status}: {run.reason}"
    found = records(store, run.id)
    if len(found) != len(twin):
        return f"{len(found)} rounds instead of {len(twin)}"
    for ours, theirs in zip(found, twin, strict=True):
        if ours != theirs:
            names = [n for n in type(ours).model_fields if getattr(ours, n) != getattr(theirs, n)]
            return f"round {ours.round_index}: {', '.join(names)}"
    return None


def config_of(store: Engine, run: Run) -> RunConfig:
    """The config of a stored run."""
    with reading(store) as session:
        return runs.config_of(runs.get(session, run.id))
