"""Curves of one run from what is stored of it: pure numbers, no database."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meshtune.backend.schemas.compare import (
    ACCURACIES,
    COSTS,
    LEVELS,
    POINTS_MAX,
    Axis,
    Cost,
    RunCurves,
    TaskCurve,
)
from meshtune.db.curves import Scored, Stored
from meshtune.engine.config import TaskName

SUM_OF: dict[Cost, str] = {
    "total_bits": "sent_bits",
    "total_airtime_s": "airtime_s",
    "total_energy_j": "energy_j",
    "total_wall_s": "wall_s",
}
DIGITS = 5  # of a share: a thousandth of a percent

Values = NDArray[np.float64]


def run_curves(stored: Stored, every_rounds: int, points: int = POINTS_MAX) -> RunCurves:
    """The curves of a run at no more than `points` of its evaluated rounds.

    Args:
        stored: all its rounds.
        every_rounds: between two evaluations, by its config.
        points: at least 2.
    """
    sums = {cost: list(accumulate(stored.totals[name])) for cost, name in SUM_OF.items()}
    evaluated = np.array(list(stored.scored), dtype=np.int64)
    values = _values(stored, evaluated)
    kept, stride = picked(len(evaluated), points)
    costs = {cost: [total[evaluated[place]] for place in kept] for cost, total in sums.items()}
    return RunCurves(
        round=[int(evaluated[place]) + 1 for place in kept],
        every_rounds=every_rounds * stride,
        values={name: _plain(curve[kept]) for name, curve in values.items()},
        costs={cost: [_short(value) for value in total] for cost, total in costs.items()},
        tasks=_tasks(list(stored.scored.values()), kept),
        reach={name: _reach(values[name], evaluated, sums) for name in ACCURACIES},
        totals={cost: float(total[-1]) if total else 0.0 for cost, total in sums.items()},
    )


def picked(count: int, points: int) -> tuple[list[int], int]:
    """Places of every so many of `count` points, and the last; and how many that is.

    The same for runs of the same length, so that seeds keep the same rounds.
    """
    stride = max(1, -(-count // max(1, points - 1)))
    places = list(range(0, count, stride))
    if count and places[-1] != count - 1:
        places.append(count - 1)
    return places, stride


def _values(stored: Stored, evaluated: NDArray[np.int64]) -> dict[str, Values]:
    def column(name: str) -> Values:
        whole = np.array(stored.totals[name], dtype=np.float64)
        return whole[evaluated]

    scored = list(stored.scored.values())
    own = column("accuracy_own")
    before = np.array([each.own_before_exchange for each in scored], dtype=np.float64)
    return {
        "accuracy_own": own,
        "accuracy_all": column("accuracy_all"),
        "forgetting": forgetting([each.own for each in scored]),
        "exchange_loss": before - own,
    }


def forgetting(own: Sequence[Sequence[float | None]]) -> Values:
    """Mean over devices of the best own accuracy so far minus the one now (M13), per round.

    Args:
        own: accuracy on the own task per evaluated round and device; a missing one is left out.
    """
    if not own:
        return np.array([], dtype=np.float64)
    table = np.array(own, dtype=np.float64)
    best = np.fmax.accumulate(table, axis=0)
    known = np.isfinite(table)
    lost = np.where(known, best - table, 0.0).sum(axis=1)
    count = known.sum(axis=1)
    return np.where(count > 0, lost / np.maximum(count, 1), np.nan)


def _tasks(scored: Sequence[Scored], kept: Sequence[int]) -> dict[TaskName, TaskCurve]:
    names = dict.fromkeys(task for each in scored for task in each.tasks)
    chosen = [scored[place] for place in kept]
    return {
        task: TaskCurve(
            own=[_digits(each.tasks.get(task, (None, None))[0]) for each in chosen],
            all=[_digits(each.tasks.get(task, (None, None))[1]) for each in chosen],
        )
        for task in names
    }


def _reach(
    accuracy: Values, evaluated: NDArray[np.int64], sums: Mapping[Cost, Sequence[float]]
) -> dict[Axis, list[float]]:
    """Per axis, where each level is first reached: linear between two evaluations.

    All axes share the place between the evaluations, as in engine/reproduce/statistics.py.
    """
    best = np.maximum.accumulate(np.nan_to_num(accuracy)) if len(accuracy) else accuracy
    levels = np.arange(1, LEVELS + 1) / LEVELS
    levels = levels[levels <= (best[-1] + 1e-9 if len(best) else 0.0)]
    after = np.searchsorted(best, levels - 1e-9)
    before = np.maximum(after - 1, 0)
    rise = accuracy[after] - accuracy[before]
    share = np.where(rise > 0, (levels - accuracy[before]) / np.where(rise > 0, rise, 1.0), 1.0)
    share = np.clip(np.where(after == 0, 1.0, share), 0.0, 1.0)

    def between(curve: Values) -> list[float]:
        at = curve[before] + share * (curve[after] - curve[before])
        return [_short(value) for value in np.where(after == 0, curve[after], at)]

    found: dict[Axis, list[float]] = {"round": between(evaluated.astype(np.float64) + 1)}
    for cost in COSTS:
        whole = np.array(sums[cost], dtype=np.float64)
        found[cost] = between(whole[evaluated])
    return found


def _plain(curve: Values) -> list[float | None]:
    return [_digits(value) for value in curve.tolist()]


def _digits(value: Any) -> float | None:
    return None if value is None or value != value else round(value, DIGITS)


def _short(value: float) -> float:
    """Seven significant digits: enough for any chart, and half as long."""
    return float(f"{value:.7g}")
