"""Charts of one run beyond its curves: what is lost, collisions, layers, routes. Pure."""

import re
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from meshtune.dashboard.figures.frames import thinned
from meshtune.dashboard.figures.layout import LABELS_UP_TO, blank_figure, round_axis, step_up
from meshtune.dashboard.look import theme
from meshtune.dashboard.look.words import word
from meshtune.engine import quantities as words
from meshtune.engine.config import RunConfig, TaskName
from meshtune.engine.records import LayerRecord


def lost(frame: pd.DataFrame, config: RunConfig, mode: theme.Mode) -> go.Figure:
    """Forgetting, and own accuracy that each exchange undid, in points."""
    figure = blank_figure(f"{words.FORGETTING.word} on the own task", theme.TALL)
    color = theme.method_look(config.method.kind).tint.of(mode)
    lines = {"forgetting": ("Below the best so far", color, "solid")}
    if frame["exchange_loss"].notna().any():
        lines["exchange_loss"] = (words.UNDONE.word, theme.WARN.of(mode), "dot")
    for column, (name, tint, dash) in lines.items():
        figure.add_trace(
            go.Scatter(
                x=list(frame["round"]),
                y=[None if pd.isna(v) else 100 * v for v in frame[column]],
                name=name,
                mode="lines",
                line={"color": tint, "width": 2, "dash": dash},
                hovertemplate="%{y:.1f} pt",
            )
        )
    figure.update_yaxes(title={"text": "Own task, lost (pt)"}, rangemode="tozero")
    round_axis(figure, config.rounds)
    figure.update_layout(legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"})
    figure.update_layout(showlegend=len(lines) > 1, margin={"t": 56 if len(lines) > 1 else 36})
    return figure


def collision(rounds: pd.DataFrame, config: RunConfig, mode: theme.Mode) -> go.Figure | None:
    """Collision rate by Eq. 19 and as the masks really collide; None in runs that know neither."""
    known = rounds.dropna(subset=["collision_analytic", "collision_real"], how="all")
    if known.empty:
        return None
    rows = thinned(known, "collision_real")
    figure = blank_figure("Collision of experts in a cluster", theme.MEDIUM)
    arms = {
        "collision_analytic": ("From densities (Eq. 19)", theme.MUTED.of(mode), "dash"),
        "collision_real": ("As the masks are", theme.ACCENT.of(mode), "solid"),
    }
    for column, (name, tint, dash) in arms.items():
        figure.add_trace(
            go.Scatter(
                x=list(rows["round"]),
                y=[None if pd.isna(v) else 100 * v for v in rows[column]],
                name=name,
                mode="lines",
                line={"color": tint, "width": 2, "dash": dash},
                hovertemplate="%{y:.1f} %",
            )
        )
    most = 100 * float(known[["collision_analytic", "collision_real"]].max().max())
    figure.update_yaxes(
        title={"text": "Entries of B (%)"}, range=[0, max(step_up(most * 1.05), 1.0)]
    )
    round_axis(figure, config.rounds)
    figure.update_layout(
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        margin={"t": 56},
    )
    return figure


def layers(found: tuple[LayerRecord, ...], mode: theme.Mode) -> go.Figure:
    """Density of every module, beside the spectral entropy of its input where that decides."""
    names = [each.module.removeprefix("layers.").removesuffix("_proj") for each in found]
    figure = blank_figure("Density of each layer", theme.MEDIUM)
    figure.add_trace(
        go.Bar(
            x=names,
            y=[100 * each.density for each in found],
            name="Density",
            marker={"color": theme.ACCENT.of(mode)},
            hovertemplate="%{x}: %{y:.1f} %",
        )
    )
    figure.update_yaxes(title={"text": "Share of B trained (%)"}, range=[0, 102])
    figure.update_xaxes(title={"text": "Module: layer and projection"}, tickangle=-90)
    if any(each.entropy is not None for each in found):
        figure.add_trace(
            go.Scatter(
                x=names,
                y=[each.entropy for each in found],
                yaxis="y2",
                name="Spectral entropy of its input",
                mode="lines+markers",
                line={"color": theme.WARN.of(mode), "width": 2},
                marker={"size": 6, "symbol": "diamond"},
                hovertemplate="%{x}: %{y:.2f} nats",
            )
        )
        figure.update_layout(
            title={"text": "Density of each layer, and the entropy that it follows"},
            yaxis2={
                "title": {"text": "Spectral entropy (nats)"},
                "overlaying": "y",
                "side": "right",
                "rangemode": "tozero",
                "showgrid": False,
                "tickformat": ".1f",
            },
            legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        )
    figure.update_layout(hovermode="x", margin={"t": 56, "b": 84, "r": 56})
    return figure


def routes(tasks: list[TaskName], shares: list[list[float]], finished: int) -> go.Figure:
    """Which expert the gate preferred for the questions of each task."""
    titles = [word(task) for task in tasks]
    figure = blank_figure(f"Experts the gate preferred, round {finished}", theme.MEDIUM)
    figure.add_trace(
        go.Heatmap(
            x=titles,
            y=titles,
            z=[[100 * share for share in row] for row in shares],
            zmin=0,
            zmax=100,
            colorscale=[list(stop) for stop in theme.ACCURACY_SCALE],
            xgap=2,
            ygap=2,
            text=[[f"{100 * share:.0f}" for share in row] for row in shares],
            texttemplate="%{text}",
            hovertemplate="asked %{y}, expert of %{x}: %{z:.1f} % of decisions<extra></extra>",
            colorbar={
                "title": {"text": "Decisions (%)", "side": "right"},
                "thickness": 10,
                "outlinewidth": 0,
            },
        )
    )
    figure.update_xaxes(title={"text": "Task of the expert", "standoff": 4}, showgrid=False)
    figure.update_yaxes(title={"text": "Task asked"}, autorange="reversed", showgrid=False)
    figure.update_layout(hovermode="closest", margin={"l": 110, "r": 76, "b": 84})
    figure.update_xaxes(tickangle=-35 if len(tasks) > LABELS_UP_TO else 0)
    return figure


def unmoved(figure: go.Figure, least: int = 2) -> dict[str, str]:
    """Name and value of every line if none of them ever changes; else nothing.

    Args:
        figure: lines or bars; their hover text says how a value is written.
        least: of so many points; of fewer it is not known yet.
    """
    found: dict[str, str] = {}
    for trace in figure.data:
        known = [value for value in trace.y if value is not None]
        if known and (len(known) < least or min(known) != max(known)):
            return {}
        if known:
            found[trace.name] = trace.text[0] if trace.text else _as_told(trace, known[0])
    return found


def _as_told(trace: Any, value: float) -> str:
    """A value as the hover text of its trace writes it."""
    told = trace.hovertemplate.removeprefix("%{x}: ").removesuffix("<extra></extra>")
    return re.sub(r"%\{y:([^}]+)\}", lambda form: format(value, form[1]), told)
