"""Charts of the pages of Learn. Pure."""

import plotly.graph_objects as go

from meshtune.backend.schemas.learn import (
    BudgetOut,
    CollisionsOut,
    GrowthOut,
    InterferenceOut,
    RoutingOut,
    SubspacesOut,
)
from meshtune.dashboard.figures.layout import blank_figure, faded
from meshtune.dashboard.look import format as fmt, theme
from meshtune.dashboard.look.words import word
from meshtune.engine.config import WORLD_TASKS

HOLDERS_SHOWN = 3  # entries with so many holders and more look alike


def _line(x: list[float], y: list[float], name: str, color: str, dash: str = "solid") -> go.Scatter:
    line = {"color": color, "width": 2, "dash": dash}
    return go.Scatter(x=x, y=y, name=name, mode="lines", line=line)


def _legend(figure: go.Figure) -> go.Figure:
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
    figure.update_layout(showlegend=True, legend=legend, margin={"t": 60})
    return figure


def interference(found: InterferenceOut, mode: theme.Mode) -> go.Figure:
    """What the other adapter adds, by its weight."""
    figure = blank_figure("What the other adapter adds to your answer", theme.MEDIUM)
    color = theme.ACCENT.of(mode)
    figure.add_trace(
        _line(found.weight, [100 * e for e in found.error], "Interference", color).update(
            hovertemplate="weight %{x:.2f}: %{y:.0f} %<extra></extra>"
        )
    )
    figure.update_xaxes(title={"text": "Weight that a gate gives the other adapter"}, range=[0, 1])
    figure.update_yaxes(title={"text": "Size, of the own answer (%)"}, rangemode="tozero")
    return figure


def collision(found: CollisionsOut, devices: int, mode: theme.Mode) -> go.Figure:
    """Eq. 19 and what a device feels, by the size of the cluster."""
    figure = blank_figure("Collisions in a cluster", theme.MEDIUM)
    x = [float(n) for n in found.devices]
    percent = [[100 * v for v in values] for values in (found.analytic, found.felt)]
    figure.add_trace(_line(x, percent[0], "Of all entries (Eq. 19)", theme.MUTED.of(mode), "dash"))
    figure.add_trace(_line(x, percent[1], "Of a device's own entries", theme.ACCENT.of(mode)))
    drawn = [100 * found.drawn, 100 * found.drawn_felt]
    figure.add_trace(
        go.Scatter(
            x=[devices, devices],
            y=drawn,
            name="In the draw beside",
            mode="markers",
            marker={"color": theme.WARN.of(mode), "size": 10, "symbol": "diamond"},
        )
    )
    figure.update_traces(hovertemplate="%{y:.1f} %")
    figure.update_xaxes(title={"text": "Devices in the cluster"}, range=[1, x[-1]])
    figure.update_yaxes(title={"text": "Entries of B that collide (%)"}, range=[0, 102])
    return _legend(figure)


def holders(found: CollisionsOut, mode: theme.Mode) -> go.Figure:
    """A small B: who holds which entry."""
    figure = blank_figure("A small B in one draw", theme.MEDIUM)
    colors = [
        theme.PANEL.of(mode),
        theme.SNR_WEAK.of(mode),
        theme.WARN.of(mode),
        theme.BAD.of(mode),
    ]
    steps = len(colors)
    scale = [
        [edge, color] for k, color in enumerate(colors) for edge in (k / steps, (k + 1) / steps)
    ]
    figure.add_trace(
        go.Heatmap(
            z=[[min(n, HOLDERS_SHOWN) for n in row] for row in found.holders],
            zmin=-0.5,
            zmax=HOLDERS_SHOWN + 0.5,
            colorscale=scale,
            xgap=1,
            ygap=1,
            text=[[str(n) for n in row] for row in found.holders],
            hovertemplate="row %{y}, column %{x}: held by %{text}<extra></extra>",
            colorbar={
                "title": {"text": "Holders", "side": "right"},
                "tickvals": [0, 1, 2, 3],
                "ticktext": ["none", "one", "two", "more"],
                "thickness": 10,
            },
        )
    )
    figure.update_xaxes(title={"text": "Column of B"}, showgrid=False)
    figure.update_yaxes(title={"text": "Row of B"}, showgrid=False, autorange="reversed")
    figure.update_layout(hovermode="closest", margin={"r": 90})
    return figure


def subspace(found: SubspacesOut, width: int, rank: int, mode: theme.Mode) -> go.Figure:
    """The largest cosine between two random row spaces, by rank."""
    figure = blank_figure("How close two random subspaces come", theme.MEDIUM)
    color, x = theme.ACCENT.of(mode), [float(r) for r in found.rank]
    figure.add_trace(_line(x, found.high, "Highest of 12 draws", color).update(line={"width": 0}))
    figure.add_trace(
        _line(x, found.low, "Lowest of 12 draws", color).update(
            line={"width": 0}, fill="tonexty", fillcolor=faded(color)
        )
    )
    figure.add_trace(_line(x, found.mean, "Mean", color))
    for at, text in ((width / 2, "2 r = width"), (float(rank), "your rank")):
        figure.add_vline(x=at, line={"dash": "dot", "width": 1, "color": theme.TEXT.of(mode)})
        figure.add_annotation(x=at, y=0.04, text=text, showarrow=False, xanchor="left")
    figure.update_traces(hovertemplate="rank %{x}: %{y:.2f}")
    figure.update_xaxes(title={"text": "Rank r"}, range=[0, x[-1]])
    figure.update_yaxes(title={"text": "Largest cosine (1 = shared)"}, range=[0, 1.02])
    figure.update_layout(showlegend=False)
    return figure


def budget(found: BudgetOut, mode: theme.Mode) -> go.Figure:
    """From power to SNR, in decibels, as steps."""
    figure = blank_figure("Where the signal goes", theme.MEDIUM)
    received = found.power_dbm + found.gain_db
    figure.add_trace(
        go.Bar(
            x=["Sent", "Received", "Noise"],
            y=[found.power_dbm, received, found.noise_dbm],
            marker={"color": [theme.ACCENT.of(mode), theme.GOOD.of(mode), theme.MUTED.of(mode)]},
            text=[f"{v:.0f} dBm" for v in (found.power_dbm, received, found.noise_dbm)],
            textposition="auto",
            hovertemplate="%{x}: %{y:.1f} dBm<extra></extra>",
            base=-140,
        ).update(y=[found.power_dbm + 140, received + 140, found.noise_dbm + 140])
    )
    figure.update_yaxes(title={"text": "Power (dBm)"}, range=[-140, 45])
    figure.update_xaxes(title={"text": f"SNR {found.snr_db:.1f} dB: received above noise"})
    return figure


def seconds(found: BudgetOut, distance_m: float, mode: theme.Mode) -> go.Figure:
    """Seconds for the message, by distance."""
    figure = blank_figure("Seconds for the message", theme.MEDIUM)
    scale = fmt.scale_for(found.curve_s[-1], "s")
    y = [scale.of(value) for value in found.curve_s]
    figure.add_trace(_line(found.distance_m, y, "Time on air", theme.ACCENT.of(mode)))
    here = {"color": theme.WARN.of(mode), "size": 10, "symbol": "diamond"}
    figure.add_trace(
        go.Scatter(
            x=[distance_m], y=[scale.of(found.seconds)], name="Here", mode="markers", marker=here
        )
    )
    figure.update_traces(hovertemplate=f"%{{x:.0f}} m: %{{y:.3g}} {scale.unit}<extra></extra>")
    figure.update_xaxes(title={"text": "Distance (m)"}, type="log")
    figure.update_yaxes(title={"text": f"Time on air ({scale.unit})"}, type="log")
    figure.update_layout(showlegend=False)
    return figure


def growth(found: GrowthOut, step: int, limit: float, mode: theme.Mode) -> go.Figure:
    """Collision rate and power of every merge, those done so far filled."""
    figure = blank_figure("Every merge, in its order", theme.MEDIUM)
    count = len(found.collision)
    color = theme.ACCENT.of(mode)
    figure.add_trace(
        go.Bar(
            x=[float(k + 1) for k in range(count)],
            y=[100 * c for c in found.collision],
            marker={
                "color": [color if k < step else theme.HAIRLINE.of(mode) for k in range(count)]
            },
            hovertemplate="merge %{x}: collision %{y:.1f} %<extra></extra>",
        )
    )
    figure.add_hline(y=100 * limit, line={"dash": "dash", "width": 1, "color": theme.TEXT.of(mode)})
    figure.add_annotation(
        x=0, xref="paper", y=100 * limit, yanchor="bottom", xanchor="left", showarrow=False,
        text="allowed",
    )  # fmt: skip
    figure.update_xaxes(title={"text": "Merge"}, dtick=1)
    figure.update_yaxes(title={"text": "Collision of the new cluster (%)"}, rangemode="tozero")
    figure.update_layout(showlegend=False, hovermode="closest")
    return figure


def routing(found: RoutingOut, mode: theme.Mode) -> go.Figure:
    """Prompts and prototypes in the plane in which prototypes differ most."""
    figure = blank_figure("Unseen prompts among the prototypes", theme.LARGE)
    for number, task in enumerate(WORLD_TASKS["embedded"]):
        look, symbol = theme.TASKS[task], theme.plotly_symbol(task)
        mine = [i for i, each in enumerate(found.task) if each == task]
        figure.add_trace(
            go.Scatter(
                x=[found.x[i] for i in mine],
                y=[found.y[i] for i in mine],
                name=look.title,
                mode="markers",
                marker={"color": look.color, "symbol": symbol, "size": 8},
                customdata=[[found.prompt[i], word(found.chosen[i])] for i in mine],
                hovertemplate="%{customdata[0]}<br>answered by %{customdata[1]}<extra></extra>",
            )
        )
        figure.add_trace(
            go.Scatter(
                x=[found.prototype_x[number]],
                y=[found.prototype_y[number]],
                name=f"Prototype of {look.title}",
                mode="markers",
                showlegend=False,
                marker={
                    "color": look.color,
                    "symbol": symbol,
                    "size": 18,
                    "opacity": 0.45,
                    "line": {"width": 2, "color": theme.TEXT.of(mode)},
                },
                hovertemplate=f"prototype of {look.title}<extra></extra>",
            )
        )
    figure.update_xaxes(title={"text": "First direction (input of the layer)"}, zeroline=False)
    figure.update_yaxes(title={"text": "Second direction"}, zeroline=False)
    figure.update_layout(hovermode="closest", margin={"r": 130}, showlegend=True)
    return figure
