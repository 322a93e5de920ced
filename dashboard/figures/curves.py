"""DataFrames to Plotly figures. Pure: colours come from theme, numbers from format.

Text, grid and paper take the colours of the page in static/chart.js; only data colours are here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import plotly.graph_objects as go

from meshtune.dashboard.figures.frames import thinned
from meshtune.dashboard.look import format as fmt, theme
from meshtune.dashboard.look.words import word
from meshtune.engine import quantities as words
from meshtune.engine.config import RunConfig
from meshtune.engine.planning.values import Plan, PlannedLink, Spread

MARKERS_UP_TO = 60  # points; more would hide the line
LABELS_UP_TO = 4  # lines; more are named in a legend
LABEL_PX = 15  # two names at line ends closer than this are pushed apart
FRAME_PX = 80  # title, axis and its name: what of the height is no plot
LINKS_UP_TO = 400  # dots per panel; of more links, every so many is drawn
PANEL_GAP = 0.13  # between panels, as a share of the width
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


def step_up(largest: float) -> float:
    """The next of 1, 1.5, 2, 3, 5, 7.5 times a power of ten, so that ranges grow in steps."""
    if largest <= 0 or largest != largest:
        return 1.0
    power = 10.0 ** _floor_log10(largest)
    for step in (1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0):
        if largest <= step * power * 1.0000001:
            return step * power
    return 10.0 * power


def _floor_log10(value: float) -> int:
    return int(f"{value:e}".split("e")[1])


def task_curves(frame: pd.DataFrame, column: Literal["own", "all"], config: RunConfig) -> go.Figure:
    """Accuracy per task over the rounds: of the devices that hold the task, or of all devices."""
    tasks = config.fleet.present_tasks()
    figure = blank_figure(TASK_COLUMN_TITLES[column], theme.SMALL)
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
    figure = blank_figure(f"{title}, added up", theme.SMALL)
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


@dataclass(frozen=True)
class Panel:
    """One quality of the links: what to draw and in which unit."""

    title: str
    scale: fmt.Scale
    spread: Spread
    of: Callable[[PlannedLink], float | None]
    from_zero: bool = False


def link_spread(plan: Plan, mode: theme.Mode) -> go.Figure | None:
    """Mean SNR, mean rate and loss of every link by distance; the middle 80 % are shaded.

    None if the channel knows no radio.
    """
    panels = _panels(plan)
    if not panels:
        return None
    every = max(1, -(-len(plan.links) // LINKS_UP_TO))
    links = sorted(plan.links, key=lambda link: link.distance_m)[::every]
    figure = blank_figure("Links by distance", theme.SMALL)
    width = (1 - PANEL_GAP * (len(panels) - 1)) / len(panels)
    for number, panel in enumerate(panels):
        left = number * (width + PANEL_GAP)
        _draw_panel(figure, panel, links, number, (left, left + width), mode)
    figure.update_layout(showlegend=False, hovermode="closest", margin={"t": 56, "b": 40, "l": 40})
    return figure


def _panels(plan: Plan) -> list[Panel]:
    panels = []
    if plan.snr_db is not None:
        scale = fmt.Scale(1.0, "dB")
        panels.append(Panel("SNR", scale, plan.snr_db, lambda link: link.mean_snr_db))
    if plan.rate_bit_s is not None:
        scale = fmt.scale_for(plan.rate_bit_s.high, "bit/s")
        panels.append(Panel("Rate", scale, plan.rate_bit_s, lambda link: link.mean_rate_bit_s))
    if plan.outage_prob is not None:
        scale = fmt.Scale(0.01, "%")
        panels.append(Panel("Lost", scale, plan.outage_prob, lambda link: link.outage_prob, True))
    return panels


def _draw_panel(
    figure: go.Figure,
    panel: Panel,
    links: Sequence[PlannedLink],
    number: int,
    domain: tuple[float, float],
    mode: theme.Mode,
) -> None:
    suffix = "" if number == 0 else str(number + 1)
    color = theme.ACCENT.of(mode)
    known = [(link, value) for link in links if (value := panel.of(link)) is not None]
    values = [panel.scale.of(value) for _, value in known]
    figure.add_trace(
        go.Scatter(
            x=[link.distance_m for link, _ in known],
            y=values,
            xaxis=f"x{suffix}",
            yaxis=f"y{suffix}",
            name=f"{panel.title} ({panel.scale.unit})",
            mode="markers",
            marker={"color": color, "size": 5, "opacity": 0.55},
            customdata=[f"Device {link.sender} to {link.receiver}" for link, _ in known],
            hovertemplate=f"%{{customdata}}: %{{y:.3g}} {panel.scale.unit}<extra></extra>",
        )
    )
    low, median, high = (
        panel.scale.of(value)
        for value in (panel.spread.low, panel.spread.median, panel.spread.high)
    )
    common = {"type": "rect", "xref": f"x{suffix} domain", "x0": 0, "x1": 1, "yref": f"y{suffix}"}
    fill = faded(color)
    figure.add_shape(**common, y0=low, y1=high, fillcolor=fill, line={"width": 0}, layer="below")
    line = {"color": color, "width": 1.5}
    figure.add_shape(**{**common, "type": "line"}, y0=median, y1=median, line=line, layer="below")
    figure.update_layout(
        {
            f"xaxis{suffix}": {
                "domain": list(domain),
                "anchor": f"y{suffix}",
                "title": {"text": "Distance (m)", "standoff": 4},
                "rangemode": "tozero",
                "nticks": 4,
                "showgrid": False,
            },
            f"yaxis{suffix}": {
                "anchor": f"x{suffix}",
                "nticks": 5,
                **({"range": [0, _top(values, high)]} if panel.from_zero else {}),
            },
        }
    )
    figure.add_annotation(
        text=f"{panel.title} ({panel.scale.unit})",
        x=domain[0],
        y=1,
        xref="paper",
        yref="paper",
        xanchor="left",
        yanchor="bottom",
        showarrow=False,
        font={"size": 12},
    )


def _top(values: Sequence[float], high: float) -> float:
    """The end of an axis from zero that holds the values and the band, and one unit at least."""
    return max(1.0, 1.05 * max([high, *values]))


def score_heat_map(table: pd.DataFrame, config: RunConfig, mode: theme.Mode) -> go.Figure:
    """Accuracy of every device on every task; the own task of a device is outlined."""
    tasks = [str(name) for name in table.columns]
    titles = [word(task) for task in tasks]
    devices = [f"Device {device}" for device in table.index]
    written = len(devices) <= 20
    values = [[None if pd.isna(v) else 100 * float(v) for v in row] for row in table.to_numpy()]
    figure = blank_figure("Accuracy of every device on every task", theme.LARGE)
    figure.add_trace(
        go.Heatmap(
            x=titles,
            y=devices,
            z=values,
            zmin=0,
            zmax=100,
            colorscale=[list(stop) for stop in theme.ACCURACY_SCALE],
            xgap=2,
            ygap=2 if len(devices) <= 32 else 0,
            text=[["" if v is None else f"{v:.0f}" for v in row] for row in values],
            texttemplate="%{text}" if written else None,
            hovertemplate="%{y} on %{x}: %{z:.1f} %<extra></extra>",
            colorbar={
                "title": {"text": "Accuracy (%)", "side": "right"},
                "thickness": 10,
                "outlinewidth": 0,
            },
            hoverongaps=False,
        )
    )
    # All at once: adding shapes one by one takes a second for 64 devices.
    figure.layout.shapes = [
        frame
        for row, device in enumerate(table.index)
        if (own := config.fleet.task_of(int(device))) in tasks
        for frame in _outline(tasks.index(own), row, mode, thin=len(devices) > 32)
    ]
    figure.update_xaxes(title={"text": "Task asked (outlined: the device's own)"}, showgrid=False)
    figure.update_yaxes(autorange="reversed", showgrid=False, showticklabels=len(devices) <= 32)
    if len(devices) > 32:
        figure.update_yaxes(title={"text": f"Devices 0 to {len(devices) - 1}"})
    figure.update_layout(hovermode="closest", margin={"l": 72, "r": 76})
    if len(tasks) > LABELS_UP_TO:  # names no longer fit side by side
        figure.update_xaxes(tickangle=-35, title={"standoff": 4})
        figure.update_layout(margin={"b": 96})
    return figure


def _outline(column: int, row: int, mode: theme.Mode, *, thin: bool) -> list[dict[str, Any]]:
    """A frame that stands out from every colour of the scale: text colour, then paper inside."""
    frames = [(0.47, theme.TEXT, 1 if thin else 2)]
    if not thin:
        frames.append((0.43, theme.PAPER, 1))
    return [
        {
            "type": "rect",
            "x0": column - half,
            "x1": column + half,
            "y0": row - half,
            "y1": row + half,
            "line": {"color": tint.of(mode), "width": width},
        }
        for half, tint, width in frames
    ]


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


def blank_figure(title: str, height: int) -> go.Figure:
    """A figure with the layout that all charts share; `height` in pixels."""
    return go.Figure(
        layout={
            "height": height,
            "title": {
                "text": title,
                "x": 0,
                "xref": "container",
                "y": 1,
                "yref": "container",
                "xanchor": "left",
                "yanchor": "top",
                "pad": {"t": 4, "l": 2},
            },
            # fixed, so that charts in a grid align and do not move when labels grow
            "margin": {"l": 54, "r": 12, "t": 36, "b": 44, "autoexpand": False},
            "hovermode": "x unified",
            "dragmode": "zoom",
            "template": None,
        }
    )


def percent_axis(figure: go.Figure) -> None:
    """An axis of accuracy from 0 to 100 %."""
    figure.update_yaxes(title={"text": "Accuracy (%)"}, range=[0, 102], tick0=0, dtick=25)


def round_axis(figure: go.Figure, rounds: int) -> None:
    """An axis of finished rounds, to the last one."""
    figure.update_xaxes(
        title={"text": "Rounds finished"}, range=[0, rounds * 1.01], tickformat="d", nticks=9
    )


def name_lines(figure: go.Figure, ends: dict[str, tuple[float, str]], lines: int) -> None:
    """Up to four lines carry their name at their end; more are named in a legend."""
    if lines > LABELS_UP_TO:
        longest = max((len(str(trace.name)) for trace in figure.data), default=0)
        figure.update_layout(
            # eight rows of 19 px need more than the plot of a small chart is high
            legend={
                "orientation": "v",
                "x": 1.01,
                "y": 1.1,
                "maxheight": figure.layout.height - 40,
            },
            margin={"r": 52 + 7 * longest},
        )
        return
    figure.update_layout(showlegend=False)
    low, high = figure.layout.yaxis.range
    gap = (high - low) * LABEL_PX / (figure.layout.height - FRAME_PX)
    for name, (value, color) in zip(ends, _spread(list(ends.values()), gap), strict=True):
        figure.add_annotation(
            x=1.008,
            xref="paper",
            xanchor="left",
            y=value,
            yref="y",
            yanchor="middle",
            text=f'<span style="color:{color}">●</span> {name}',
            showarrow=False,
            font={"size": 12},
        )
    longest = max((len(name) for name in ends), default=0)
    figure.update_layout(margin={"r": 30 + 7 * longest})


def _spread(ends: list[tuple[float, str]], gap: float) -> list[tuple[float, str]]:
    """The same ends in the same order, moved apart so that none is closer than `gap`."""
    order = sorted(range(len(ends)), key=lambda i: ends[i][0])
    heights = [ends[i][0] for i in order]
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + gap)
    over = max(0.0, heights[-1] - 100.0) if heights else 0.0
    for i in reversed(range(len(heights))):
        ceiling = heights[i + 1] - gap if i + 1 < len(heights) else heights[i] - over
        heights[i] = min(heights[i], ceiling)
    placed = dict(zip(order, heights, strict=True))
    return [(placed[i], ends[i][1]) for i in range(len(ends))]


def faded(color: str) -> str:
    """A colour #RRGGBB as ground below a line."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.15)"
