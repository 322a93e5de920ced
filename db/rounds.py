"""Rounds of a run as they are read: in pages, with as much of each as asked.

Workers add them with `leases.append_round`.
"""

from enum import StrEnum
from typing import Any

from pydantic import ValidationError
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from meshtune.db.errors import UnreadableRound
from meshtune.db.models import Round, Run
from meshtune.db.runs import PAGE_MAX
from meshtune.engine.records import RoundRecord, RunStatus

RECENT_ROUNDS = 5  # the time left is judged by these


class Detail(StrEnum):
    """How much of a round to read."""

    SUMMARY = "summary"  # totals
    SCORES = "scores"  # and devices and scores
    FULL = "full"  # and links


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


def listed(
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
