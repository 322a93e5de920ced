"""Records to DataFrames. Pure: no HTTP, no Streamlit, no colours."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from meshtune.engine.config import RunConfig, TaskName
from meshtune.engine.naming import flat
from meshtune.engine.records import RoundRecord, ScoreRecord

ROUND_COLUMNS = (
    "round",
    "train_loss",
    "accuracy_own",
    "accuracy_all",
    "forgetting",
    "exchange_loss",
    "delivered_fraction",
    "sent_bits",
    "airtime_s",
    "energy_j",
    "receive_j",
    "compute_j",
    "round_s",
    "total_bits",
    "total_airtime_s",
    "total_energy_j",
    "wall_s",
    "collision_analytic",
    "collision_real",
)
TASK_COLUMNS = ("round", "task", "own", "all")


@dataclass
class History:
    """What a view has seen of one run so far, kept small: no links, scores only of the last round.

    `extend` takes every round once and in order; rounds seen before are skipped, so the same page
    may arrive twice.
    """

    config: RunConfig
    rounds: list[tuple[Any, ...]] = field(default_factory=list)
    tasks: list[tuple[Any, ...]] = field(default_factory=list)
    scores: tuple[ScoreRecord, ...] = ()
    last_round_index: int = -1
    _best: dict[int, float] = field(default_factory=dict)
    _totals: tuple[int, float, float] = (0, 0.0, 0.0)

    def extend(self, records: Iterable[RoundRecord]) -> None:
        """Append the rounds that are new."""
        for record in records:
            if record.round_index > self.last_round_index:
                self._append(record)

    def _append(self, record: RoundRecord) -> None:
        bits, airtime_s, energy_j = self._totals
        self._totals = (
            bits + record.sent_bits,
            airtime_s + record.airtime_s,
            energy_j + record.energy_j,
        )
        finished = record.round_index + 1
        self.rounds.append(
            (
                finished,
                record.train_loss,
                record.accuracy_own,
                record.accuracy_all,
                self._forgetting(record.scores),
                exchange_loss(record),
                record.delivered_fraction,
                record.sent_bits,
                record.airtime_s,
                record.energy_j,
                *_beyond_air(record),
                *self._totals,
                record.wall_s,
                record.extra.get("collision_analytic_fraction"),
                record.extra.get("collision_empirical_fraction"),
            )
        )
        if record.scores:
            self.scores = record.scores
            self.tasks += [(finished, *row) for row in self._task_means(record.scores)]
        self.last_round_index = record.round_index

    def _task_means(
        self, scores: Sequence[ScoreRecord]
    ) -> list[tuple[TaskName, float | None, float]]:
        own: dict[TaskName, list[float]] = {}
        everyone: dict[TaskName, list[float]] = {}
        for score in scores:
            everyone.setdefault(score.task, []).append(score.accuracy)
            if self.config.fleet.task_of(score.device) == score.task:
                own.setdefault(score.task, []).append(score.accuracy)
        return [
            (task, mean(own[task]) if task in own else None, mean(values))
            for task, values in everyone.items()
        ]

    def _forgetting(self, scores: Sequence[ScoreRecord]) -> float | None:
        """Mean over devices of best own accuracy so far minus own accuracy now (model.md M13)."""
        lost = []
        for score in scores:
            if self.config.fleet.task_of(score.device) != score.task:
                continue
            best = max(self._best.get(score.device, 0.0), score.accuracy)
            self._best[score.device] = best
            lost.append(best - score.accuracy)
        return mean(lost) if lost else None

    def round_frame(self) -> pd.DataFrame:
        """One row per round; `round` counts finished rounds, so the first is 1."""
        frame = pd.DataFrame(self.rounds, columns=list(ROUND_COLUMNS))
        numeric = [name for name in ROUND_COLUMNS if name != "round"]
        return frame.astype(dict.fromkeys(numeric, "float64"))

    def task_frame(self) -> pd.DataFrame:
        """One row per evaluated round and task: mean accuracy of the task's devices and of all."""
        frame = pd.DataFrame(self.tasks, columns=list(TASK_COLUMNS))
        return frame.astype({"own": "float64", "all": "float64"})

    def score_frame(self) -> pd.DataFrame:
        """Accuracy of the last evaluated round: rows are devices, columns are tasks."""
        present = self.config.fleet.present_tasks()
        devices = range(self.config.fleet.devices)
        table = pd.DataFrame(index=list(devices), columns=list(present), dtype="float64")
        for score in self.scores:
            table.loc[score.device, score.task] = score.accuracy
        return table


def _beyond_air(record: RoundRecord) -> tuple[float | None, float | None, float | None]:
    """Receive energy, compute energy and time of a round; nothing in runs that did not count it."""
    if record.round_s is None:
        return None, None, None
    return record.receive_j, record.compute_j, record.round_s


def exchange_loss(record: RoundRecord) -> float | None:
    """Own-task accuracy that the exchange of a round undid; negative where it helped."""
    before = record.extra.get("accuracy_own_before_exchange")
    if before is None or record.accuracy_own is None:
        return None
    return before - record.accuracy_own


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean of at least one value."""
    return sum(values) / len(values)


def last_of(frame: pd.DataFrame, column: str) -> float | None:
    """The last value of `column` that is there."""
    known = frame[column].dropna()
    return None if known.empty else float(known.iloc[-1])


def thinned(frame: pd.DataFrame, column: str, most: int = 1000) -> pd.DataFrame:
    """At most `most` rows of `frame`, keeping first, last, smallest and largest of every bucket."""
    if len(frame) <= most:
        return frame
    buckets = max(1, most // 4)
    kept: set[int] = set()
    for bucket in range(buckets):
        start, stop = bucket * len(frame) // buckets, (bucket + 1) * len(frame) // buckets
        values = frame[column].iloc[start:stop].reset_index(drop=True)
        kept |= {start, stop - 1}
        if values.notna().any():
            kept |= {start + int(values.argmin()), start + int(values.argmax())}
    return frame.iloc[sorted(kept)]


def config_differences(configs: Mapping[str, RunConfig]) -> pd.DataFrame:
    """The config fields in which the runs differ: one row per field, one column per run.

    A field that a run does not have (it belongs to another kind) is None. The name is left out.
    """
    trees = {label: flat(config.model_dump(mode="json")) for label, config in configs.items()}
    names = list(dict.fromkeys(name for tree in trees.values() for name in tree))
    rows = {
        name: [tree.get(name) for tree in trees.values()]
        for name in names
        if name != "name" and len({repr(tree.get(name)) for tree in trees.values()}) > 1
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(trees), dtype="object")
