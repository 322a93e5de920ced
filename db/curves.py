"""What a comparison reads of a run: totals of all rounds, and scores of the evaluated ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from meshtune.db.models import Round, RoundCurve, Run
from meshtune.db.round_curves import curve_values

TOTALS = ("accuracy_own", "accuracy_all", "sent_bits", "airtime_s", "energy_j", "wall_s")


@dataclass(frozen=True)
class Scored:
    """What curves need of the scores of one evaluated round."""

    own: Sequence[float | None]  # accuracy on the own task, per device
    tasks: Mapping[str, Sequence[float | None]]  # mean of the devices that hold a task, and of all
    own_before_exchange: float | None


@dataclass(frozen=True)
class Stored:
    """One run as curves see it."""

    totals: Mapping[str, Sequence[Any]]  # one value per stored round, by name in TOTALS
    scored: Mapping[int, Scored]  # by index of an evaluated round, in order


def stored(session: Session, run_id: int) -> Stored:
    """Everything that the curves of a run are drawn from; its long lists are not read."""
    columns = [getattr(Round, name) for name in TOTALS]
    query = select(Round.round_index, *columns).where(Round.run_id == run_id)
    rows = session.execute(query.order_by(Round.round_index)).all()
    read = list(zip(*rows, strict=True)) if rows else [()] * (1 + len(TOTALS))
    totals = dict(zip(TOTALS, read[1:], strict=True))
    kept = _kept(session, run_id)
    evaluated = [
        index for index, own in zip(read[0], totals["accuracy_own"], strict=True) if own is not None
    ]
    if older := [index for index in evaluated if index not in kept]:
        kept |= _older(session, run_id, older)
    return Stored(totals, {index: kept[index] for index in evaluated if index in kept})


def configs(session: Session, run_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Stored configs by run number."""
    rows = session.execute(select(Run.id, Run.config).where(Run.id.in_(run_ids)))
    return {row.id: row.config for row in rows}


def _kept(session: Session, run_id: int) -> dict[int, Scored]:
    columns = (RoundCurve.own, RoundCurve.tasks, RoundCurve.own_before_exchange)
    query = select(RoundCurve.round_index, *columns).where(RoundCurve.run_id == run_id)
    return {
        index: Scored(own, tasks, before)
        for index, own, tasks, before in session.execute(query)
        if own is not None and tasks is not None  # else damaged: taken from the scores themselves
    }


def _older(session: Session, run_id: int, indices: Sequence[int]) -> dict[int, Scored]:
    """Rounds that were stored before `round_curves` was there; slow, for their scores are long."""
    query = select(Round.round_index, Round.devices, Round.scores, Round.extra).where(
        Round.run_id == run_id, Round.round_index.between(indices[0], indices[-1])
    )
    wanted, found = set(indices), {}
    for row in session.execute(query).mappings():
        if row["round_index"] in wanted and None not in row.values():  # None is damaged
            values = curve_values({**row})
            index = values.pop("round_index")
            found[index] = Scored(**values)
    return found
