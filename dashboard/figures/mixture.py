"""What every device holds, where that is more than one task. Pure."""

import plotly.graph_objects as go

from meshtune.dashboard.figures.layout import blank_figure
from meshtune.dashboard.look import theme
from meshtune.engine.config import in_order
from meshtune.engine.plans import Plan

TITLE = "What every device holds"


def mixture_bars(plan: Plan) -> go.Figure | None:
    """A bar per device, parted by the share of every task; None where all hold one task each."""
    held = [device.mixture for device in plan.devices]
    if not any(held):
        return None
    figure = blank_figure(TITLE, theme.SMALL)
    for task in in_order(task for shares in held for task in shares):
        look = theme.TASKS[task]
        figure.add_trace(
            go.Bar(
                x=list(range(len(held))),
                y=[100.0 * shares.get(task, 0.0) for shares in held],
                name=look.title,
                marker={"color": look.color, "pattern": {"shape": "" if look.filled else "/"}},
                hovertemplate="Device %{x}: %{y:.0f} %",
            )
        )
    figure.update_layout(barmode="stack", bargap=0.1, showlegend=True)
    figure.update_xaxes(title={"text": "Device"}, dtick=max(1, len(held) // 16))
    figure.update_yaxes(title={"text": "Share of its samples (%)"}, range=[0, 100])
    return figure
