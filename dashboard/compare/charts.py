"""Figures of a comparison: curves with intervals, cost fronts, parallel coordinates. Pure."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from meshtune.backend.schemas.compare import POINTS_MAX, Accuracy, Axis, Who
from meshtune.dashboard.compare.arms import Arm, Band, Column, largest_cost
from meshtune.dashboard.figures.layout import (
    LABELS_UP_TO,
    blank_figure,
    faded,
    name_lines,
    percent_axis,
    step_up,
)
from meshtune.dashboard.look import format as fmt, theme
from meshtune.engine import quantities as words
from meshtune.engine.config import TaskName

Values = NDArray[np.float64]

COMPARED: dict[Column, str] = {
    "accuracy_own": "Accuracy on the own task",
    "accuracy_all": "Accuracy over all tasks",
    "exchange_loss": words.UNDONE.word,
    "forgetting": words.FORGETTING.word,
}
LOSSES: dict[Column, str] = {  # in points, zero is good
    "exchange_loss": "Own task, lost (pt)",
    "forgetting": "Own task, below the best so far (pt)",
}
AXES: dict[Axis, tuple[str, str]] = {
    "round": ("Rounds finished", ""),
    "total_bits": (words.BITS_SENT.word, words.BITS_SENT.unit),
    "total_airtime_s": (words.AIRTIME.word, words.AIRTIME.unit),
    "total_energy_j": (words.TRANSMIT.word, words.TRANSMIT.unit),
    "total_wall_s": (words.MACHINE_TIME.word, words.MACHINE_TIME.unit),
}
METRICS: dict[Accuracy, str] = {
    "accuracy_all": "Accuracy over all tasks",
    "accuracy_own": "Accuracy on the own task",
}
SMALL_POINTS = 90  # of a line in a small chart


def color_of(arm: Arm, mode: theme.Mode) -> str:
    """Colour of the method of an arm."""
    return theme.method_look(arm.method).tint.of(mode)


# Curves


def comparison(
    arms: Sequence[Arm],
    column: Column,
    axis: Axis,
    mode: theme.Mode,
    *,
    small: bool = False,
) -> go.Figure:
    """One quantity of the arms against rounds or a cost; the reference is drawn first.

    Args:
        arms: the lines.
        column: the quantity.
        axis: along the horizontal.
        mode: light or dark.
        small: without names at the lines, for a grid of small charts with one legend.
    """
    bands = {arm.key: arm.values(column) for arm in arms}
    figure = _overlay(COMPARED[column], arms, bands, axis, mode, small=small)
    if column in LOSSES:
        low, high = _range(bands.values())
        figure.layout.yaxis.dtick = None
        figure.update_yaxes(
            title={"text": LOSSES[column]},
            range=[-step_up(-low) if low < -0.05 else 0, max(10.0, step_up(high))],
            zeroline=low < 0,
        )
        for trace in figure.data:
            if trace.hoverinfo != "skip":
                trace.hovertemplate = trace.hovertemplate.replace(" %", " pt", 1)
    return figure


def task_comparison(
    arms: Sequence[Arm], task: TaskName, who: Who, axis: Axis, mode: theme.Mode
) -> go.Figure:
    """Accuracy on one task, of the devices that hold it or of all, in a small chart."""
    holding = [arm for arm in arms if task in arm.tasks]
    bands = {arm.key: arm.task(task, who) for arm in holding}
    title = theme.TASKS[task].title
    return _overlay(title, holding, bands, axis, mode, small=True)


def _overlay(
    title: str,
    arms: Sequence[Arm],
    bands: Mapping[str, Band],
    axis: Axis,
    mode: theme.Mode,
    *,
    small: bool = False,
) -> go.Figure:
    name, unit = AXES[axis]
    largest = 0.0 if axis == "round" else largest_cost(arms, axis)
    scale = fmt.scale_for(largest, unit)
    figure = blank_figure(title, theme.SMALL if small else theme.MEDIUM)
    figure.update_layout(showlegend=False)
    reference = next((arm for arm in arms if arm.reference), None)
    against = None if reference is None else _known(reference, bands[reference.key], axis)
    ends: dict[str, tuple[float, str]] = {}
    shades, lines = [], []
    for arm in arms:
        at, band = _with_gaps(arm, arm.along(axis), bands[arm.key])
        silent = bool(unit and len(at) and largest and not np.nanmax(at))
        if silent:
            at, band = _level(band, largest)
        kept = _thinned(band.mean, SMALL_POINTS if small else POINTS_MAX)
        at, band = at[kept], _part(band, kept)
        words = _words(at, band, None if arm.reference else against)
        if band.half is not None:
            shades.append(_shade(arm, at / scale.factor, band, mode))
        lines.append(_line(arm, at / scale.factor, band, mode, silent=silent))
        lines[-1].customdata = words
        last, _ = band.last()
        if last is not None:
            ends[arm.short] = (100 * last, color_of(arm, mode))
    figure.add_traces([*shades, *lines])
    percent_axis(figure)
    label = name if axis == "round" else f"{name}, added up ({scale.unit})"
    planned = max((arm.rounds_total for arm in arms), default=1)
    limit = planned if axis == "round" else scale.of(largest)
    figure.update_xaxes(title={"text": label}, range=[0, limit * 1.01 or 1])
    if not small:
        name_ends(figure, ends, len(arms))
    return figure


def name_ends(figure: go.Figure, ends: dict[str, tuple[float, str]], lines: int) -> None:
    """Names at the ends of up to four lines; more are named once, above all charts."""
    if lines <= LABELS_UP_TO:
        name_lines(figure, ends, lines)


def _line(arm: Arm, at: Values, band: Band, mode: theme.Mode, *, silent: bool) -> go.Scatter:
    return go.Scatter(
        x=_plain(at, 6),
        y=_plain(100 * band.mean, 2),
        name=f"{arm.title} (sends nothing)" if silent else arm.title,
        mode="lines",
        legendgroup=arm.key,
        line={"color": color_of(arm, mode), "width": 2, "dash": "dot" if silent else arm.dash},
        hovertemplate="%{y:.1f} %%{customdata}",
    )


def _words(at: Values, band: Band, against: tuple[Values, Values] | None) -> list[str]:
    """What the hover says after a value: half of its interval, difference to the reference."""
    intervals = [""] * len(at)
    if band.half is not None:
        intervals = [f" ± {100 * half:.1f}" if np.isfinite(half) else "" for half in band.half]
    if against is None:
        return intervals
    return [
        f"{interval} ({apart})"
        for interval, apart in zip(intervals, _apart(at, band.mean, against), strict=True)
    ]


def _with_gaps(arm: Arm, at: Values, band: Band) -> tuple[Values, Band]:
    """An empty point wherever an evaluation is missing."""
    missing = np.flatnonzero(np.diff(np.array(arm.round)) > arm.every_rounds) + 1
    if not len(missing):
        return at, band
    half = None if band.half is None else np.insert(band.half, missing, np.nan)
    middle = (at[missing - 1] + at[missing]) / 2
    return np.insert(at, missing, middle), Band(np.insert(band.mean, missing, np.nan), half)


def _shade(arm: Arm, at: Values, band: Band, mode: theme.Mode) -> go.Scatter:
    """The 95 % interval as one closed area under the line."""
    half = np.zeros_like(at) if band.half is None else band.half
    known = np.isfinite(band.mean) & np.isfinite(half)
    place = at[known]
    low, high = ((band.mean + sign * half)[known] for sign in (-1, 1))
    return go.Scatter(
        x=_plain(np.concatenate([place, place[::-1]]), 6),
        y=_plain(100 * np.concatenate([high, low[::-1]]), 2),
        fill="toself",
        fillcolor=faded(color_of(arm, mode)),
        line={"width": 0},
        mode="lines",
        name=f"{arm.title}, 95 % interval",
        legendgroup=arm.key,
        showlegend=False,
        hoverinfo="skip",
    )


def _level(band: Band, largest: float) -> tuple[Values, Band]:
    """An arm that sends nothing has no cost axis: its last value, drawn as a level to beat."""
    last, half = band.last()
    mean = np.array([last, last], dtype=np.float64)
    return np.array([0.0, largest]), Band(mean, None if half is None else np.array([half, half]))


def _known(arm: Arm, band: Band, axis: Axis) -> tuple[Values, Values]:
    at = arm.along(axis)
    known = np.isfinite(band.mean)
    return at[known], band.mean[known]


def _apart(at: Values, mean: Values, against: tuple[Values, Values]) -> list[str]:
    """Difference to the last point of the reference at no larger round or cost, in points."""
    places, values = against
    if not len(places):
        return [fmt.MISSING] * len(at)
    found = np.searchsorted(places, at, side="right") - 1
    return [
        fmt.points(value - values[place] if place >= 0 else None)
        for value, place in zip(mean, found, strict=True)
    ]


def _thinned(mean: Values, points: int) -> list[int]:
    """Places of about `points` values, evenly; the first, the last and all gaps among them."""
    if len(mean) <= points:
        return list(range(len(mean)))
    even = np.linspace(0, len(mean) - 1, points).round().astype(int)
    return sorted({*even.tolist(), *np.flatnonzero(~np.isfinite(mean)).tolist()})


def _part(band: Band, kept: Sequence[int]) -> Band:
    places = list(kept)
    return Band(band.mean[places], None if band.half is None else band.half[places])


def _range(bands: Iterable[Band]) -> tuple[float, float]:
    """Smallest and largest mean, in points."""
    values = np.concatenate([np.empty(0), *(100 * band.mean for band in bands)])
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)


def _plain(values: Values, digits: int) -> list[float | None]:
    """Numbers short enough for the wire; missing ones are None, which is a gap."""
    return [round(value, digits) if np.isfinite(value) else None for value in values.tolist()]
