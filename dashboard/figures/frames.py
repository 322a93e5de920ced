"""Records to DataFrames. Pure: no HTTP, no Streamlit, no colours."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from meshtune.engine.records import RoundRecord

ROUND_COLUMNS = (
    "round",
    "accuracy_own",
    "accuracy_all",
    "sent_bits",
    "airtime_s",
    "energy_j",
    "receive_j",
    "compute_j",
    "round_s",
    "total_bits",
    "total_airtime_s",
    "total_energy_j",
    "collision_analytic",
    "collision_real",
    "delivered_fraction",
)
TASK_COLUMNS = ("round", "task", "own", "all")


@dataclass
class History:
    """What a view has seen of one run so far, kept small: one row of numbers a round.

    `extend` takes every round once and in order; rounds seen before are skipped, so the same page
    may arrive twice.
    """

    rounds: list[tuple[Any, ...]] = field(default_factory=list)
    last_round_index: int = -1
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
        self.rounds.append(
            (
                record.round_index + 1,
                record.accuracy_own,
                record.accuracy_all,
                record.sent_bits,
                record.airtime_s,
                record.energy_j,
                *_beyond_air(record),
                *self._totals,
                record.extra.get("collision_analytic_fraction"),
                record.extra.get("collision_empirical_fraction"),
                record.delivered_fraction,
            )
        )
        self.last_round_index = record.round_index

    def round_frame(self) -> pd.DataFrame:
        """One row per round; `round` counts finished rounds, so the first is 1."""
        frame = pd.DataFrame(self.rounds, columns=list(ROUND_COLUMNS))
        numeric = [name for name in ROUND_COLUMNS if name != "round"]
        return frame.astype(dict.fromkeys(numeric, "float64"))


def _beyond_air(record: RoundRecord) -> tuple[float | None, float | None, float | None]:
    """Receive energy, compute energy and time of a round; nothing in runs that did not count it."""
    if record.round_s is None:
        return None, None, None
    return record.receive_j, record.compute_j, record.round_s


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
