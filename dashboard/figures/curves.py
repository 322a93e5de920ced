"""Accuracy and costs of one run over its rounds. Pure."""

from typing import Literal

import pandas as pd
import plotly.graph_objects as go

from meshtune.dashboard.figures.frames import thinned
from meshtune.dashboard.figures.layout import (
    LABELS_UP_TO,
    blank_figure,
    faded,
    legend_below,
    name_lines,
    percent_axis,
    round_axis,
    step_up,
)
from meshtune.dashboard.look import format as fmt, theme
from meshtune.engine import quantities as words
from meshtune.engine.config import RunConfig

MARKERS_UP_TO = 60  # points; more would hide the line
TASK_COLUMN_TITLES = {
    "own": "Accuracy of each task's own devices",
    "all": "Accuracy of all devices on each task",
}
XAxis = Literal["round", "total_bits", "total_airtime_s", "total_energy_j"]
XAXES: dict[XAxis, tuple[str, str]] = {
    "round": ("Rounds finished", ""),
    "total_bits": (words.BITS_SENT.word, words.BITS_SENT.unit),
    "total_airtime_s": (words.AIRTIME.word, words.AIRTIME.unit),
    "total_energy_j": (words.TRANSMIT.word, words.TRANSMIT.unit),
}


def task_curves(frame: pd.DataFrame, column: Literal["own", "all"], config: RunConfig) -> go.Figure:
    """Accuracy per task over the rounds: of the devices that hold the task, or of all devices."""
    tasks = config.fleet.present_tasks()
    figure = blank_figure(TASK_COLUMN_TITLES[column], theme.TALL)
    ends: dict[str, tuple[float, str]] = {}
    for task in tasks:
        look = theme.TASKS[task]
        rows = _with_gaps(frame[frame["task"] == task], column, config.evaluation.every_rounds)
        figure.add_trace(
            go.Scatter(
                x=list(rows["round"]),
                y=_percent(rows[column]),
                name=look.title,
                mode="lines+markers" if config.rounds <= MARKERS_UP_TO else "lines",
                line={"color": look.color, "width": 2},
                marker={"symbol": theme.plotly_symbol(task), "size": 6, "color": look.color},
                hovertemplate="%{y:.1f} %",
            )
        )
        if rows[column].notna().any():
            ends[look.title] = (100 * float(rows[column].dropna().iloc[-1]), look.color)
    percent_axis(figure)
    round_axis(figure, config.rounds)
    name_lines(figure, ends, len(tasks))
    if len(tasks) > LABELS_UP_TO:
        legend_below(figure)
    return figure


def total_curve(
    frame: pd.DataFrame, column: XAxis, config: RunConfig, mode: theme.Mode
) -> go.Figure:
    """A cost added up over the rounds."""
    title, unit = XAXES[column]
    done = int(frame["round"].iloc[-1]) if len(frame) else 0
    last = float(frame[column].iloc[-1]) if len(frame) else 0.0
    # the prefix of the expected end, so that the axis keeps its unit while the run goes on
    scale = fmt.scale_for(last * config.rounds / done if done else 0.0, unit)
    rows = thinned(frame, column)
    look = theme.method_look(config.method.kind)
    figure = blank_figure(f"{title}, added up", theme.MEDIUM)
    figure.add_trace(
        go.Scatter(
            x=list(rows["round"]),
            y=[scale.of(value) for value in rows[column]],
            name=title,
            mode="lines",
            line={"color": look.tint.of(mode), "width": 2},
            fill="tozeroy",
            fillcolor=faded(look.tint.of(mode)),
            text=[fmt.quantity(value, unit) for value in rows[column]],
            hovertemplate="%{text}",
            showlegend=False,
        )
    )
    figure.update_yaxes(
        title={"text": f"{title} ({scale.unit})"}, range=[0, step_up(scale.of(last))]
    )
    round_axis(figure, config.rounds)
    return figure


def _with_gaps(frame: pd.DataFrame, column: str, every_rounds: int) -> pd.DataFrame:
    """Evaluated rounds only, with an empty row wherever an evaluation is missing."""
    known = frame.dropna(subset=[column]).sort_values("round")
    if known.empty:
        return known
    jumps = known["round"].diff() > every_rounds
    if not jumps.any():
        return thinned(known, column)
    holes = known[jumps].copy()
    holes["round"] -= 0.5
    holes[column] = float("nan")
    whole = pd.concat([known, holes]).sort_values("round", kind="stable")
    return thinned(whole, column)


def _percent(series: pd.Series) -> list[float | None]:
    return [None if pd.isna(value) else round(100 * float(value), 3) for value in series]
