"""Accuracy of every device on every task. Pure."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from meshtune.dashboard.figures.layout import LABELS_UP_TO, blank_figure
from meshtune.dashboard.look import theme
from meshtune.dashboard.look.words import word
from meshtune.engine.config import RunConfig


def score_heat_map(table: pd.DataFrame, config: RunConfig, mode: theme.Mode) -> go.Figure:
    """Accuracy of every device on every task; the own task of a device is outlined."""
    tasks = [str(name) for name in table.columns]
    titles = [word(task) for task in tasks]
    devices = [f"Device {device}" for device in table.index]
    written = len(devices) <= 20
    values = [[None if pd.isna(v) else 100 * float(v) for v in row] for row in table.to_numpy()]
    figure = blank_figure("Accuracy of every device on every task", theme.TALL)
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
