"""What the view of sweeps shows, as pure functions: cells as squares, table, chart, form text."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from meshtune.backend.schemas.runs import PresetOut
from meshtune.backend.schemas.sweeps import CellOut, EstimateOut, RowOut, SweepDetail
from meshtune.dashboard.figures.layout import blank_figure
from meshtune.dashboard.look import format as fmt, theme
from meshtune.dashboard.look.words import word
from meshtune.engine.naming import flat
from meshtune.engine.quantities import QUANTITIES
from meshtune.engine.sweep import OWN_FIELDS
from meshtune.engine.sweep_results import METRICS, Metric

COMPARED_MOST = 8  # runs that one comparison still shows well
LINES_MOST = 10
LOG_FROM = 50.0  # a range as wide as this is drawn on a log axis
NOT_VARIED = {*OWN_FIELDS, "schema_version"}

METRIC_WORDS: dict[Metric, str] = {metric: QUANTITIES[metric].word for metric in METRICS}
METRIC_TITLES: dict[Metric, str] = METRIC_WORDS | {
    "accuracy_own": "Accuracy on the own task",
    "accuracy_all": "Accuracy over all tasks",
}
UNITS: dict[Metric, str] = {metric: QUANTITIES[metric].unit for metric in METRICS}


@dataclass(frozen=True)
class StatusSquare:
    """How a cell of one status is drawn: never by colour alone."""

    sign: str
    tint: theme.Tint


SQUARES: dict[str, StatusSquare] = {
    "queued": StatusSquare("·", theme.Tint("#D5D8DE", "#3A4150")),
    "running": StatusSquare("▸", theme.Tint("#A5B4FC", "#4F46E5")),
    "paused": StatusSquare("‖", theme.Tint("#FDE68A", "#92620C")),
    "completed": StatusSquare("✓", theme.Tint("#86EFAC", "#166534")),
    "diverged": StatusSquare("↗", theme.Tint("#FDBA74", "#9A3412")),
    "cancelled": StatusSquare("\u00d7", theme.Tint("#E5E7EB", "#2A303C")),
    "failed": StatusSquare("!", theme.Tint("#FCA5A5", "#991B1B")),
    "deleted": StatusSquare("-", theme.Tint("#F3F4F6", "#1B202A")),
}
CELL_CSS = (
    "display:inline-block;width:24px;height:24px;line-height:24px;margin:2px;border-radius:4px;"
    "text-align:center;font-size:13px;text-decoration:none"
)
HEAD_CSS = "text-align:left;font-weight:500;padding:2px 12px 2px 0;white-space:nowrap"


# Names


def literal(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]$~#<>|:])", r"\\\1", text)


def labels(fields: Sequence[str]) -> dict[str, str]:
    """A short name per dotted field: its last part, or all of it where that is not enough."""
    last = [field.rpartition(".")[2] for field in fields]
    plain = {"kind"}  # says nothing without its branch
    return {
        field: short if last.count(short) == 1 and short not in plain else field
        for field, short in zip(fields, last, strict=True)
    }


def value_text(field: str, value: Any) -> str:
    """A value of a field as the screen names it."""
    if isinstance(value, str):
        return word(value, field.rpartition(".")[2])
    return fmt.plain(value)


def values_text(values: Mapping[str, Any]) -> str:
    """A combination in one line: learning_rate 0.1, batch_size 4."""
    short = labels(list(values))
    return ", ".join(f"{short[f]} {value_text(f, v)}" for f, v in values.items()) or "base config"


def statuses_text(statuses: Mapping[str, int]) -> str:
    """How many cells stand where: 3 completed, 1 running."""
    ordered = sorted(statuses.items(), key=lambda item: _rank(item[0]))
    return ", ".join(f"{count} {status}" for status, count in ordered) or fmt.MISSING


def _rank(status: str) -> int:
    known = list(SQUARES)
    return known.index(status) if status in known else len(known)


def estimate_text(metric: Metric, found: EstimateOut | None) -> str:
    """Mean and interval with their unit; the interval of a single run is unknown."""
    if found is None:
        return fmt.MISSING
    if metric.startswith("accuracy"):
        width = f" ± {100 * found.half_width:.1f}" if found.half_width is not None else ""
        return f"{100 * found.mean:.1f}{width}{fmt.SPACE}%"
    if not found.half_width:
        return fmt.amount(found.mean, UNITS[metric])
    scale = fmt.scale_for(found.mean, UNITS[metric])
    width = f" ± {fmt.significant(scale.of(found.half_width), 2)}"
    return f"{fmt.significant(scale.of(found.mean))}{width}{fmt.SPACE}{scale.unit}"


# The form


def fields_of(preset: PresetOut) -> dict[str, Any]:
    """What of a preset can be varied: dotted field and the value that it has."""
    tree = flat(preset.config.model_dump(mode="json"))
    return {field: value for field, value in tree.items() if field not in NOT_VARIED}


def listed_values(text: str) -> list[Any]:
    """The values in a line, divided by commas; what is no number, true, false or list is text."""
    try:
        found: list[Any] = tomllib.loads(f"x = [{text}]")["x"]
    except tomllib.TOMLDecodeError:
        return [_one_value(part.strip()) for part in text.split(",") if part.strip()]
    return found


RANGE = re.compile(r"\s*(\S+?)\s*\.\.\s*(\S+?)(?:\s+in\s+(\d+))?\s*")


def axis_values(text: str) -> list[Any] | dict[str, Any]:
    """A range for `0.001 .. 0.1`, or `0.001 .. 0.1 in 5` steps; else the listed values.

    Ends of one sign that are a factor of ten or more apart are stepped by even ratios.
    """
    found = RANGE.fullmatch(text)
    ends = [_one_value(found[1]), _one_value(found[2])] if found else []
    if found is None or not all(type(end) in (int, float) for end in ends):
        return listed_values(text)
    low, high = min(ends), max(ends)
    span = {
        "from": float(ends[0]),
        "to": float(ends[1]),
        "scale": "log" if low > 0 and high >= 10 * low else "linear",
        "whole": all(type(end) is int for end in ends),
    }
    return span | ({"steps": int(found[3])} if found[3] else {})


def _one_value(text: str) -> Any:
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


# Cells


def cells_html(sweep: SweepDetail, mode: theme.Mode) -> str:
    """One square per cell with sign and colour of its status; a line per combination of values."""
    fields = sweep.fields
    short = labels(fields)
    groups: dict[str, list[CellOut]] = {}
    for cell in sweep.states:
        groups.setdefault(repr(cell.values), []).append(cell)
    head = "".join(f'<th style="{HEAD_CSS};opacity:.7">{escape(short[f])}</th>' for f in fields)
    lines = []
    for cells in groups.values():
        first = cells[0].values
        names = "".join(
            f'<td style="{HEAD_CSS}">{escape(value_text(f, first[f])) if f in first else ""}</td>'
            for f in fields
        )
        squares = "".join(square_html(cell, mode) for cell in cells)
        lines.append(f"<tr>{names}<td>{squares}</td></tr>")
    return (
        '<div style="max-height:340px;overflow:auto;font-size:13px"><table><thead><tr>'
        f'{head}<th style="{HEAD_CSS};opacity:.7">Seeds</th></tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def square_html(cell: CellOut, mode: theme.Mode) -> str:
    """A cell; it leads to its run."""
    look = SQUARES.get(cell.status, SQUARES["deleted"])
    done = f", round {cell.rounds_done}/{cell.rounds_total}" if cell.status == "running" else ""
    reused = ", was in the store" if cell.reused else ""
    told = f"{values_text(cell.values)}, seed {cell.seed}: {cell.status}{done}{reused}"
    style = f"{CELL_CSS};background:{look.tint.of(mode)};color:{theme.TEXT.of(mode)}"
    about = f'title="{escape(told)}" aria-label="{escape(told)}" style="{style}"'
    if cell.run_id is None:
        return f"<span {about}>{look.sign}</span>"
    return f'<a href="run?run={cell.run_id}" {about}>{look.sign}</a>'


def legend_html(statuses: Mapping[str, int], mode: theme.Mode) -> str:
    """Sign, name and count of each status that a cell has."""
    items = "".join(
        '<span style="margin-right:16px;white-space:nowrap">'
        f'<span style="{CELL_CSS};background:{look.tint.of(mode)}">{look.sign}</span> '
        f"{statuses[status]} {status}</span>"
        for status, look in SQUARES.items()
        if status in statuses
    )
    return f'<div style="font-size:13px">{items}</div>'


# Results


def table_frame(sweep: SweepDetail) -> pd.DataFrame:
    """A row per combination: how many runs are completed, and mean with interval per metric."""
    short = labels(sweep.fields)
    best = None if sweep.best is None else sweep.best.values
    rows = []
    for row in sweep.table:
        named = {
            short[f]: value_text(f, row.values[f]) if f in row.values else fmt.MISSING
            for f in sweep.fields
        }
        measured = {METRIC_WORDS[m]: estimate_text(m, row.metrics.get(m)) for m in METRICS}
        done = f"{row.statuses.get('completed', 0)}/{row.seeds}"
        rows.append({"Best": "★" if row.values == best else "", **named, "Done": done, **measured})
    return pd.DataFrame(rows)


def to_compare(sweep: SweepDetail) -> list[int]:
    """A run per combination that has rounds to show: its first seed; the best rows first."""
    known: dict[str, int] = {}
    for cell in sweep.states:
        if cell.run_id is not None and cell.rounds_done:
            known.setdefault(repr(cell.values), cell.run_id)
    sign = -1.0 if sweep.goal == "max" else 1.0

    def order(row: RowOut) -> float:
        found = row.metrics.get(sweep.metric)
        return float("inf") if found is None else sign * found.mean

    ordered = [repr(row.values) for row in sorted(sweep.table, key=order)]
    ids = [known[values] for values in ordered if values in known]
    return list(dict.fromkeys(ids))[:COMPARED_MOST]


def metric_chart(sweep: SweepDetail, mode: theme.Mode) -> go.Figure | None:
    """The metric over the first field, a line per value of the others; bars are 95 % intervals.

    None if nothing varies or no run is completed.
    """
    known = [row for row in sweep.table if sweep.metric in row.metrics]
    if not sweep.fields or not known:
        return None
    first, *others = sweep.fields
    lines: dict[str, list[RowOut]] = {}
    for row in known:
        lines.setdefault(_line_name(row, others), []).append(row)
    largest = max(abs(row.metrics[sweep.metric].mean) for row in known)
    scale = fmt.Scale(0.01, "%")
    if not sweep.metric.startswith("accuracy"):
        scale = fmt.scale_for(largest, UNITS[sweep.metric])
    title = METRIC_TITLES[sweep.metric]
    figure = blank_figure(title, theme.MEDIUM)
    palette = [look.color for look in theme.TASKS.values()]
    for number, (name, rows) in enumerate(list(lines.items())[:LINES_MOST]):
        color = theme.ACCENT.of(mode) if len(lines) == 1 else palette[number % len(palette)]
        figure.add_trace(_line(rows, first, name or title, scale, sweep.metric))
        figure.data[-1].update(line={"color": color, "width": 2}, marker={"color": color})
    _axes(figure, known, first, f"{title} ({scale.unit})")
    if len(lines) > 1:
        longest = max(map(len, [others[0], *list(lines)[:LINES_MOST]]))
        figure.update_layout(
            showlegend=True,
            legend={
                "orientation": "v",
                "x": 1.01,
                "y": 1.0,
                "title": {"text": others[0] if len(others) == 1 else ""},
            },
            margin={"r": min(320, 60 + 7 * longest)},
        )
    else:
        figure.update_layout(showlegend=False)
    return figure


def _line_name(row: RowOut, others: Sequence[str]) -> str:
    rest = {field: row.values[field] for field in others if field in row.values}
    if len(others) == 1 and rest:
        return value_text(others[0], rest[others[0]])  # the legend says of what
    return values_text(rest) if rest else ""


def _line(
    rows: Sequence[RowOut], first: str, name: str, scale: fmt.Scale, metric: Metric
) -> go.Scatter:
    found = [row.metrics[metric] for row in rows]
    if all(_is_number(row.values.get(first)) for row in rows):
        rows = sorted(rows, key=lambda row: float(str(row.values[first])))
        found = [row.metrics[metric] for row in rows]
    widths = [scale.of(each.half_width or 0.0) for each in found]
    return go.Scatter(
        x=[_place(row.values.get(first), first) for row in rows],
        y=[scale.of(each.mean) for each in found],
        error_y={"type": "data", "array": widths, "thickness": 1.5, "width": 4},
        name=name,
        mode="lines+markers",
        text=[f"{estimate_text(metric, each)} (n = {each.count})" for each in found],
        hovertemplate="%{text}",
    )


def _axes(figure: go.Figure, rows: Sequence[RowOut], first: str, title: str) -> None:
    places = [row.values.get(first) for row in rows]
    numbers = [float(p) for p in places if isinstance(p, int | float) and _is_number(p)]
    kind = "category"
    if len(numbers) == len(places):
        wide = min(numbers) > 0 and max(numbers) / min(numbers) >= LOG_FROM
        kind = "log" if wide else "linear"
    figure.update_xaxes(title={"text": first}, type=kind)
    figure.update_yaxes(title={"text": title})


def _place(value: Any, field: str) -> Any:
    return value if _is_number(value) else value_text(field, value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
