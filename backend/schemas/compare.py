"""What the API says of several runs side by side. Light, so that the dashboard shares it."""

from typing import Any, Literal, get_args

from pydantic import Field

from meshtune.backend.schemas.runs import RunSummary, Wire
from meshtune.engine.config import TaskName, TaskWord
from meshtune.engine.records import Provenance
from meshtune.engine.sweep_results import Metric

Accuracy = Literal["accuracy_own", "accuracy_all"]
Cost = Literal["total_bits", "total_airtime_s", "total_energy_j", "total_wall_s"]
Axis = Literal["round", Cost]
Who = Literal["own", "all"]
ACCURACIES: tuple[Accuracy, ...] = get_args(Accuracy)
COSTS: tuple[Cost, ...] = get_args(Cost)
AXES: tuple[Axis, ...] = ("round", *COSTS)
POINTS_MAX = 300  # of a curve in one answer
LEVELS = 100  # accuracies to reach: 1 % to 100 %


class Candidate(RunSummary):
    """A run that can be compared."""

    group: str = Field(description="Equal for runs whose configs differ in seed and name only")


class Candidates(Wire):
    """Newest first."""

    runs: list[Candidate]


class TaskCurve(Wire):
    """Accuracy on one task at the points of a curve."""

    own: list[float | None] = Field(description="Mean over the devices that hold the task")
    all: list[float | None] = Field(description="Mean over all devices")


class RunCurves(Wire):
    """Curves of one run at some of its evaluated rounds; all lists are as long as `round`."""

    round: list[int] = Field(
        description="Finished rounds, so the first is 1: evenly many evaluated rounds, and the last"
    )
    every_rounds: int = Field(description="Rounds between two points; more means a missing one")
    values: dict[str, list[float | None]] = Field(
        description="accuracy_own, accuracy_all, forgetting (M13), exchange_loss: shares; their "
        "words are in docs/metrics.md"
    )
    costs: dict[Cost, list[float]] = Field(
        description="Added up from the first round: bits sent, airtime, transmit energy, machine "
        "time"
    )
    tasks: dict[TaskName, TaskCurve]
    reach: dict[Accuracy, dict[Axis, list[float]]] = Field(
        description="Where the run first reaches 1 %, 2 %, ... of accuracy, linear between "
        "evaluations; a list ends at the last level that is reached"
    )
    totals: dict[Cost, float] = Field(description="After the last stored round")

    def reached(self, metric: Accuracy, axis: Axis, level: int) -> float | None:
        """Where on `axis` the run first reaches `level` percent; None if it never does."""
        places = self.reach[metric][axis]
        return places[level - 1] if level <= len(places) else None


class ComparedRun(Wire):
    """One run in a comparison."""

    run: Candidate
    config: dict[str, Any] = Field(description="As it was stored")
    config_sha256: str
    provenance: Provenance | None
    curves: RunCurves


class Study(Wire):
    """Several runs side by side, in the order asked."""

    runs: list[ComparedRun]


class EstimateOut(Wire):
    """A mean over seeds."""

    mean: float
    half_width: float | None = Field(
        description="Of the 95 % interval by Student's t over seeds; None for a single seed"
    )
    count: int


class PairedTest(Wire):
    """A group against the reference group: differences of completed runs with the same seed."""

    group: str
    metric: Metric
    seeds: list[int] = Field(description="That both groups have completed")
    difference: EstimateOut | None = Field(description="This group minus the reference")
    effect: float | None = Field(
        description="Cohen's d_z: mean difference by its standard deviation over seeds"
    )
    p_t: float | None = Field(description="Two-sided, paired t test")
    p_t_holm: float | None = Field(description="Corrected by Holm over the groups of this answer")
    p_wilcoxon: float | None = Field(description="Two-sided, exact signed-rank test")
    p_wilcoxon_holm: float | None
    why_not: str | None = Field(description="One sentence where there is no test")


class GroupOut(Wire):
    """Runs whose configs differ in seed and name only."""

    group: str
    runs: list[int]
    seeds: list[int] = Field(description="Of its completed runs")
    estimates: dict[Metric, EstimateOut] = Field(description="Over its completed runs")


class Paired(Wire):
    """Groups of seeds, and what each is against the group of the reference run."""

    reference: str = Field(description="Group of the reference run")
    groups: list[GroupOut]
    tests: list[PairedTest] = Field(description="For every other group and metric")


class Shown(Wire):
    """How a comparison is looked at."""

    axis: Axis = Field("round", description="Along the horizontal axis")
    metric: Accuracy = Field("accuracy_all", description="Of costs, levels and tests")
    who: Who = Field("all", description="Per task: the devices that hold it, or all devices")
    level: int = Field(50, ge=1, le=LEVELS, description="Accuracy to reach, in percent")
    tasks: tuple[TaskWord, ...] = Field((), description="With a chart of their own; all if empty")
    together: bool = Field(True, description="The seeds of a group are one line")


class ReportInput(Wire):
    """Everything that a report is made of."""

    study: Study
    paired: Paired
    shown: Shown
