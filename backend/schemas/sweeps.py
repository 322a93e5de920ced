"""What the API takes and gives of sweeps. Light, so that the dashboard shares it."""

from collections.abc import Mapping
from datetime import datetime

from pydantic import Field, JsonValue

from meshtune.backend.schemas.runs import Wire
from meshtune.engine.reproduce.statistics import Estimate
from meshtune.engine.sweep import SweepSpec
from meshtune.engine.sweep_results import Goal, Metric


class SweepSummary(Wire):
    """One sweep in a list."""

    id: int
    name: str
    created_at: datetime
    stopped_at: datetime | None
    fields: list[str] = Field(description="Config fields that vary, dotted")
    cells: int
    statuses: dict[str, int] = Field(description="Cells per status of their runs")


class SweepList(Wire):
    """Newest first."""

    sweeps: list[SweepSummary]
    next_before: int | None = Field(
        description="Pass as `before` for the next page; None at the end"
    )


class EstimateOut(Wire):
    """A mean over the completed runs of a row."""

    mean: float
    half_width: float | None = Field(
        description="Of the 95 % interval, Student's t over seeds; None for a single run"
    )
    count: int = Field(description="Completed runs behind it")


class CellOut(Wire):
    """One cell: a combination of values with one seed."""

    position: int
    values: dict[str, JsonValue]
    seed: int
    run_id: int | None = Field(description="None if the run was deleted")
    status: str = Field(description="Of the run; `deleted` if it is gone")
    reused: bool = Field(description="The run was in the store before the sweep")
    rounds_done: int
    rounds_total: int


class RowOut(Wire):
    """One combination of values over its seeds."""

    values: dict[str, JsonValue]
    seeds: int
    statuses: dict[str, int]
    metrics: dict[Metric, EstimateOut] = Field(
        description="Of completed runs at their end; a metric that none has is missing"
    )


class SweepDetail(SweepSummary):
    """One sweep: its cells, and a table with one row per combination of values."""

    spec: SweepSpec
    table: list[RowOut]
    metric: Metric = Field(description="By which `best` is chosen")
    goal: Goal
    best: RowOut | None = Field(description="Best mean so far; None before a run is completed")
    states: list[CellOut] = Field(description="All cells, in order")


def estimates_out(estimates: Mapping[Metric, Estimate]) -> dict[Metric, EstimateOut]:
    """Estimates as the wire has them."""
    return {
        metric: EstimateOut(mean=e.mean, half_width=e.half_width, count=e.count)
        for metric, e in estimates.items()
    }
