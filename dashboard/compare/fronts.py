"""Figures that set accuracy against cost: front, levels reached, parallel coordinates. Pure."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import plotly.graph_objects as go

from meshtune.backend.schemas.compare import Accuracy, Axis, Cost
from meshtune.dashboard.compare.arms import Arm, differing_fields, largest_cost, shown
from meshtune.dashboard.compare.charts import AXES, METRICS, color_of, name_ends
from meshtune.dashboard.figures.layout import blank_figure, faded, percent_axis
from meshtune.dashboard.look import format as fmt, theme
from meshtune.engine import quantities as words
from meshtune.engine.naming import flat
from meshtune.engine.records import ENDED
from meshtune.engine.reproduce.statistics import estimate

ROW_PX = 34  # of an arm in the chart of levels
FIELDS_MOST = 5  # config fields among the parallel coordinates
LOG_FROM = 30.0  # a positive field as wide as this is spread by ratios


@dataclass(frozen=True)
class Outcome:
    """Where an arm ended: cost and accuracy, means over its drawn runs."""

    arm: Arm
    cost: float
    accuracy: float


def outcomes(arms: Sequence[Arm], metric: Accuracy, cost: Cost) -> list[Outcome]:
    """Arms that have an accuracy, in their order."""
    found = []
    for arm in arms:
        known = [value for value in arm.finals(metric) if value is not None]
        if known:
            found.append(Outcome(arm, fmean(arm.totals(cost)), fmean(known)))
    return found


def front(points: Sequence[Outcome]) -> list[Outcome]:
    """Those that no other beats in accuracy at no more cost, cheapest first."""
    kept: list[Outcome] = []
    for each in sorted(points, key=lambda point: (point.cost, -point.accuracy)):
        if not kept or each.accuracy > kept[-1].accuracy:
            kept.append(each)
    return kept


def pareto(arms: Sequence[Arm], metric: Accuracy, cost: Cost, mode: theme.Mode) -> go.Figure:
    """Final accuracy against what it cost: every run a dot, every arm a mark, the front a line."""
    name, unit = AXES[cost]
    scale = fmt.scale_for(largest_cost(arms, cost), unit)
    points = outcomes(arms, metric, cost)
    figure = blank_figure(f"{METRICS[metric]} and its cost", theme.MEDIUM)
    _draw_front(figure, front(points), scale, mode)
    for each in points:
        if len(each.arm.drawn) > 1:
            figure.add_trace(_seeds(each.arm, metric, cost, scale, mode))
    for each in points:
        figure.add_trace(_mark(each, metric, cost, scale, mode))
    percent_axis(figure)
    figure.update_xaxes(title={"text": f"{name} in the whole run ({scale.unit})"})
    figure.update_xaxes(rangemode="tozero")
    figure.update_layout(hovermode="closest", showlegend=False)
    ends = {p.arm.short: (100 * p.accuracy, color_of(p.arm, mode)) for p in points}
    name_ends(figure, ends, len(points))
    return figure


def _draw_front(
    figure: go.Figure, best: Sequence[Outcome], scale: fmt.Scale, mode: theme.Mode
) -> None:
    figure.add_trace(
        go.Scatter(
            x=[scale.of(each.cost) for each in best],
            y=[100 * each.accuracy for each in best],
            name="Front: nothing is better at no more cost",
            mode="lines",
            line={"color": theme.HAIRLINE.of(mode), "width": 6, "shape": "hv"},
            showlegend=False,
            hoverinfo="skip",
        )
    )


def _seeds(
    arm: Arm, metric: Accuracy, cost: Cost, scale: fmt.Scale, mode: theme.Mode
) -> go.Scatter:
    known = [each for each in arm.drawn if getattr(each.run, metric) is not None]
    return go.Scatter(
        x=[scale.of(each.curves.totals[cost]) for each in known],
        y=[100 * getattr(each.run, metric) for each in known],
        name=f"{arm.label}, seeds",
        legendgroup=arm.key,
        showlegend=False,
        mode="markers",
        marker={"color": color_of(arm, mode), "size": 5, "opacity": 0.45},
        customdata=[f"run {each.run.id}, seed {each.run.seed}" for each in known],
        hovertemplate=f"%{{y:.1f}} %, %{{x:.3g}} {scale.unit}<extra>%{{customdata}}</extra>",
    )


def _mark(
    each: Outcome, metric: Accuracy, cost: Cost, scale: fmt.Scale, mode: theme.Mode
) -> go.Scatter:
    known = [value for value in each.arm.finals(metric) if value is not None]
    half = estimate(known).half_width
    spread = estimate([scale.of(value) for value in each.arm.totals(cost)]).half_width
    bar = {"color": color_of(each.arm, mode), "thickness": 1.5, "width": 4}
    return go.Scatter(
        x=[scale.of(each.cost)],
        y=[100 * each.accuracy],
        name=each.arm.title,
        legendgroup=each.arm.key,
        mode="markers",
        marker={
            "color": color_of(each.arm, mode),
            "size": 11,
            "line": {"color": theme.PAPER.of(mode), "width": 1.5},
        },
        error_y=None if half is None else {"type": "data", "array": [100 * half], **bar},
        error_x=None if not spread else {"type": "data", "array": [spread], **bar},
        hovertemplate=f"%{{y:.1f}} %, %{{x:.3g}} {scale.unit}",
    )


# Levels


@dataclass(frozen=True)
class Reach:
    """Where the runs of an arm first reach a level, and how many of them do."""

    arm: Arm
    places: tuple[float, ...]  # of those that reach it
    runs: int

    @property
    def median(self) -> float | None:
        """Median over all runs, those that never arrive counted as later than all others.

        None if it is one of these.
        """
        ordered = [*sorted(self.places), *([math.inf] * (self.runs - len(self.places)))]
        if not ordered:
            return None
        middle = (ordered[(self.runs - 1) // 2] + ordered[self.runs // 2]) / 2
        return middle if math.isfinite(middle) else None

    @property
    def told(self) -> str:
        """How many runs reach it, in words."""
        if len(self.places) == self.runs:
            return "reached" if self.runs == 1 else f"all {self.runs} reach it"
        if self.runs == 1 or not self.places:
            over = all(each.run.status in ENDED for each in self.arm.members)
            return "not reached" if over else "not reached yet"
        return f"{len(self.places)} of {self.runs} reach it"


def reaches(arms: Sequence[Arm], metric: Accuracy, axis: Axis, level: int) -> list[Reach]:
    """For every arm, where it reaches `level` percent."""
    found = []
    for arm in arms:
        places = arm.reached(metric, axis, level)
        known = tuple(place for place in places if place is not None)
        found.append(Reach(arm, known, len(places)))
    return found


def levels(
    arms: Sequence[Arm], metric: Accuracy, axis: Axis, level: int, mode: theme.Mode
) -> go.Figure:
    """What it takes to reach an accuracy: a bar to the median, a dot per run."""
    name, unit = AXES[axis]
    found = reaches(arms, metric, axis, level)
    largest = max((place for each in found for place in each.places), default=0.0)
    scale = fmt.scale_for(largest, unit)
    height = max(theme.MEDIUM, 96 + ROW_PX * len(arms))
    figure = blank_figure(f"{name} to reach {level} % {METRICS[metric].lower()}", height)
    rows = [each.arm.short for each in found]
    for row, each in zip(rows, found, strict=True):
        if each.median is not None:
            figure.add_trace(_bar(each, row, scale, mode))
        figure.add_trace(_dots(each, row, scale, mode))
        if each.median is None or len(each.places) < each.runs:
            _say(figure, each, row, scale)
    longest = max((len(row) for row in rows), default=0)
    label = f"{name} ({scale.unit})" if unit else name
    figure.update_xaxes(title={"text": label}, range=[0, 1.12 * scale.of(largest) or 1])
    figure.update_yaxes(
        categoryorder="array", categoryarray=rows[::-1], type="category", showgrid=False
    )
    figure.update_layout(
        hovermode="closest", showlegend=False, barmode="overlay", margin={"l": 16 + 7 * longest}
    )
    return figure


def _bar(each: Reach, row: str, scale: fmt.Scale, mode: theme.Mode) -> go.Bar:
    return go.Bar(
        x=[scale.of(each.median or 0.0)],
        y=[row],
        orientation="h",
        name=f"{row}, median",
        width=0.5,
        marker={"color": faded(color_of(each.arm, mode)), "line": {"width": 0}},
        hovertemplate=f"median %{{x:.4g}} {scale.unit}<extra></extra>",
    )


def _dots(each: Reach, row: str, scale: fmt.Scale, mode: theme.Mode) -> go.Scatter:
    return go.Scatter(
        x=[scale.of(place) for place in each.places],
        y=[row] * len(each.places),
        name=row,
        mode="markers",
        marker={"color": color_of(each.arm, mode), "size": 8},
        hovertemplate=f"%{{x:.4g}} {scale.unit}<extra></extra>",
    )


def _say(figure: go.Figure, each: Reach, row: str, scale: fmt.Scale) -> None:
    figure.add_annotation(
        x=scale.of(max(each.places)) if each.places else 0,
        y=row,
        text=each.told,
        xanchor="left",
        xshift=8,
        showarrow=False,
        font={"size": 12},
    )


# Parallel coordinates


@dataclass(frozen=True)
class Coordinate:
    """One upright axis: what it shows, where each arm crosses it, what its ends are."""

    title: str
    heights: tuple[float | None, ...]  # 0 to 1, per arm
    words: tuple[str, ...]  # per arm
    ends: tuple[str, str]  # below, above


def parallel(arms: Sequence[Arm], mode: theme.Mode) -> go.Figure:
    """Config fields in which the arms differ, then results; a line per arm."""
    axes = coordinates(arms)
    places = list(range(len(axes)))
    figure = blank_figure("From config to results", theme.MEDIUM)
    figure.update_layout(
        hovermode="closest",
        margin={"l": 34, "r": 34, "t": 64, "b": 34},
        shapes=[_upright(place, theme.MUTED.of(mode)) for place in places],
        annotations=[name for place, axis in enumerate(axes) for name in _axis_names(place, axis)],
    )
    for number, arm in enumerate(arms):
        figure.add_trace(
            go.Scatter(
                x=places,
                y=[axis.heights[number] for axis in axes],
                name=arm.title,
                mode="lines+markers",
                line={"color": color_of(arm, mode), "width": 2, "dash": arm.dash},
                marker={"color": color_of(arm, mode), "size": 7},
                customdata=[[axis.title, axis.words[number]] for axis in axes],
                hovertemplate="%{customdata[0]}: %{customdata[1]}",
                showlegend=False,
            )
        )
    edge = 0.3 if len(axes) > 1 else 0.5
    figure.update_xaxes(visible=False, range=[-edge, len(axes) - 1 + edge], fixedrange=True)
    figure.update_yaxes(visible=False, range=[-0.02, 1.02], fixedrange=True)
    return figure


def _upright(place: int, color: str) -> dict[str, Any]:
    line = {"color": color, "width": 1}
    return {"type": "line", "x0": place, "x1": place, "y0": 0, "y1": 1, "line": line,
            "opacity": 0.35}  # fmt: skip


def _axis_names(place: int, axis: Coordinate) -> list[dict[str, Any]]:
    """The title of an axis, and what its ends are."""
    below, above = axis.ends
    words = (
        (f"<b>{axis.title}</b>", 1, "bottom", 18),
        (above, 1, "bottom", 3),
        (below, 0, "top", -4),
    )
    return [
        {"x": place, "y": height, "text": text, "yanchor": anchor, "yshift": shift,
         "showarrow": False, "font": {"size": 12}}
        for text, height, anchor, shift in words
    ]  # fmt: skip


def coordinates(arms: Sequence[Arm]) -> list[Coordinate]:
    """The axes: up to five differing config fields that all arms have, then the results."""
    trees = [flat(arm.members[0].config) for arm in arms]
    names = [
        name
        for name in differing_fields([arm.members[0].config for arm in arms])
        if all(tree.get(name) is not None for tree in trees)
    ]
    axes = [_field(name, [tree[name] for tree in trees]) for name in names[:FIELDS_MOST]]
    axes += [
        _result(title, [_mean(arm.finals(metric)) for arm in arms], fmt.percent)
        for metric, title in SHORT_METRICS.items()
    ]
    return axes + [
        _result(title, [_mean(arm.totals(cost)) for arm in arms], write)
        for cost, (title, write) in SHORT_COSTS.items()
    ]


SHORT_METRICS: dict[Accuracy, str] = {
    "accuracy_own": words.OWN_TASK.word,
    "accuracy_all": words.ALL_TASKS.word,
}
SHORT_COSTS: dict[Cost, tuple[str, Callable[[float | None], str]]] = {
    "total_bits": (words.BITS_SENT.word, fmt.bits),
    "total_airtime_s": (words.AIRTIME.word, fmt.seconds),
    "total_energy_j": (words.TRANSMIT.word, fmt.joules),
}


def _field(name: str, values: Sequence[Any]) -> Coordinate:
    title = name.rpartition(".")[2].replace("_", " ")
    if title == "kind":
        title = name.split(".")[-2]
    words = tuple(shown(value) for value in values)
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        heights = _spread([float(value) for value in values])
        ordered = sorted(range(len(values)), key=lambda place: values[place])
        ends = (words[ordered[0]], words[ordered[-1]])
        return Coordinate(title.capitalize(), heights, words, ends)
    choices = list(dict.fromkeys(words))
    step = 1 / max(1, len(choices) - 1)
    heights = tuple(choices.index(each) * step for each in words)
    return Coordinate(title.capitalize(), heights, words, (choices[0], choices[-1]))


def _spread(values: Sequence[float]) -> tuple[float, ...]:
    """Values on 0 to 1, by ratios where they are positive and far apart."""
    if min(values) > 0 and max(values) / min(values) >= LOG_FROM:
        values = [math.log(value) for value in values]
    low, high = min(values), max(values)
    return tuple((value - low) / (high - low) if high > low else 0.5 for value in values)


def _result(
    title: str, values: Sequence[float | None], write: Callable[[float | None], str]
) -> Coordinate:
    known = [value for value in values if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    heights = tuple(
        None if value is None else (value - low) / (high - low) if high > low else 0.5
        for value in values
    )
    words = tuple(write(value) for value in values)
    return Coordinate(title, heights, words, (write(low), write(high)))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
