"""What the cells of a sweep have come to: a row per combination, and the best of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from meshtune.engine.reproduce.statistics import Estimate, estimate
from meshtune.engine.sweep import Values

Metric = Literal["accuracy_own", "accuracy_all", "sent_bits", "airtime_s", "energy_j"]
METRICS: tuple[Metric, ...] = (
    "accuracy_own",
    "accuracy_all",
    "sent_bits",
    "airtime_s",
    "energy_j",
)
Goal = Literal["max", "min"]


@dataclass(frozen=True)
class Outcome:
    """What one cell has come to."""

    values: Values
    seed: int
    run_id: int | None
    status: str | None  # None if the run was deleted
    metrics: Mapping[Metric, float | None]


@dataclass(frozen=True)
class Row:
    """One combination of the axes over its seeds."""

    values: Values
    seeds: int
    statuses: dict[str, int]
    estimates: dict[Metric, Estimate]


def table(outcomes: Sequence[Outcome]) -> list[Row]:
    """A row per combination: mean and 95 % interval of each metric over its completed runs.

    A run that two equal cells share counts once. Runs that diverged or were stopped are counted
    as such and left out of the means, which would else mix finished with unfinished experiments.
    """
    groups: dict[str, dict[int, Outcome]] = {}
    for outcome in outcomes:
        group = groups.setdefault(json.dumps(outcome.values, sort_keys=True), {})
        group.setdefault(outcome.seed, outcome)
    return [_row(list(group.values())) for group in groups.values()]


def best(rows: Sequence[Row], metric: Metric, goal: Goal) -> Row | None:
    """The row with the best mean so far; the first of equals. None if no run is completed."""
    known = [row for row in rows if metric in row.estimates]
    if not known:
        return None
    choose = max if goal == "max" else min
    return choose(known, key=lambda row: row.estimates[metric].mean)


def default_goal(metric: Metric) -> Goal:
    """Accuracy is to be high, a cost low."""
    return "max" if metric.startswith("accuracy") else "min"


def _row(outcomes: Sequence[Outcome]) -> Row:
    statuses: dict[str, int] = {}
    for outcome in outcomes:
        status = outcome.status or "deleted"
        statuses[status] = statuses.get(status, 0) + 1
    completed = [outcome for outcome in outcomes if outcome.status == "completed"]
    estimates = {}
    for metric in METRICS:
        known = [float(v) for o in completed if (v := o.metrics[metric]) is not None]
        if known:
            estimates[metric] = estimate(known)
    return Row(outcomes[0].values, len(outcomes), statuses, estimates)
