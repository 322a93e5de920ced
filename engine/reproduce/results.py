"""What one run of the comparison leaves behind, and the file that collects such results."""

import json
import os
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import Field, ValidationError

from meshtune.engine.config import TaskName
from meshtune.engine.records import Fraction, Provenance, Record, RoundRecord

FILE_NAME = "runs.jsonl"


class Milestone(Record):
    """Where a run stood after an evaluated round. Costs are sums since the start."""

    rounds_done: int = Field(ge=0)
    accuracy: dict[TaskName, Fraction] = Field(description="Per task, mean over devices")
    accuracy_own: Fraction | None = Field(description="None before the first round")
    accuracy_all: Fraction = Field(description="Mean over devices and tasks")
    bits: int = Field(ge=0)
    airtime_s: float = Field(ge=0.0)
    energy_j: float = Field(ge=0.0)
    extra: dict[str, float] = Field(description="Diagnostics of that round")


class RunResult(Record):
    """One arm with one seed."""

    arm: str
    seed: int
    config_hash: str
    learning_rate: float
    rounds: int = Field(description="Finished rounds")
    diverged: bool
    milestones: tuple[Milestone, ...] = Field(min_length=1)
    bits: int = Field(ge=0, description="Sum over all links and rounds, lost messages included")
    airtime_s: float = Field(ge=0.0)
    energy_j: float = Field(ge=0.0)
    trained_values: int = Field(
        ge=0, description="Values that one device trains, mean over devices"
    )
    message_bits: float = Field(ge=0.0, description="Median message; 0 if nothing was sent")
    wall_s: float = Field(ge=0.0)
    provenance: Provenance

    @property
    def accuracy(self) -> float:
        """Mean multi-task accuracy at the end; a diverged model answers nothing right."""
        return 0.0 if self.diverged else self.milestones[-1].accuracy_all

    @property
    def task_accuracy(self) -> dict[TaskName, float]:
        """Accuracy per task at the end, mean over devices."""
        last = self.milestones[-1].accuracy
        return dict.fromkeys(last, 0.0) if self.diverged else dict(last)

    @property
    def curve(self) -> list[tuple[float, float]]:
        """Bits on air and mean multi-task accuracy after every evaluation."""
        return [(float(point.bits), point.accuracy_all) for point in self.milestones]


Results = Mapping[str, Mapping[int, RunResult]]  # arm -> seed -> result


def by_arm(results: Iterable[RunResult]) -> Results:
    """Results sorted by arm and seed."""
    table: dict[str, dict[int, RunResult]] = {}
    for result in results:
        table.setdefault(result.arm, {})[result.seed] = result
    return table


def milestones(
    records: Iterable[RoundRecord], untrained: Mapping[TaskName, float]
) -> tuple[Milestone, ...]:
    """The evaluated rounds of a run, after the milestone of the untrained model."""
    bits, airtime_s, energy_j = 0, 0.0, 0.0
    points = [
        Milestone(
            rounds_done=0,
            accuracy=dict(untrained),
            accuracy_own=None,
            accuracy_all=statistics.fmean(untrained.values()),
            bits=0,
            airtime_s=0.0,
            energy_j=0.0,
            extra={},
        )
    ]
    for record in records:
        bits += record.sent_bits
        airtime_s += record.airtime_s
        energy_j += record.energy_j
        if record.accuracy_all is None:
            continue
        by_task: dict[TaskName, list[float]] = {}
        for score in record.scores:
            by_task.setdefault(score.task, []).append(score.accuracy)
        points.append(
            Milestone(
                rounds_done=record.round_index + 1,
                accuracy={task: statistics.fmean(shares) for task, shares in by_task.items()},
                accuracy_own=record.accuracy_own,
                accuracy_all=record.accuracy_all,
                bits=bits,
                airtime_s=airtime_s,
                energy_j=energy_j,
                extra=record.extra,
            )
        )
    return tuple(points)


def median_message_bits(records: Iterable[RoundRecord]) -> float:
    """Median length of a message over all rounds and links; 0 if nothing was sent.

    The median is what a device sends of its own expert: copies for others come in few rounds.
    """
    lengths = [link.payload_bits for record in records for link in record.links]
    return float(statistics.median(lengths)) if lengths else 0.0


def load_results(folder: Path) -> list[RunResult]:
    """Every result that is stored in `folder`.

    A line that was cut short when its writer was killed is no result.
    """
    file = folder / FILE_NAME
    if not file.exists():
        return []
    found = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found.append(RunResult.model_validate(json.loads(line)))
        except (json.JSONDecodeError, ValidationError):
            continue
    return found


def store_result(folder: Path, result: RunResult) -> None:
    """Append a result; it is on disk when this returns."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / FILE_NAME
    # The last writer may have been killed in the middle of a line.
    torn = file.exists() and file.read_bytes()[-1:] not in (b"", b"\n")
    with file.open("a", encoding="utf-8") as sink:
        sink.write(("\n" if torn else "") + result.model_dump_json() + "\n")
        sink.flush()
        os.fsync(sink.fileno())
