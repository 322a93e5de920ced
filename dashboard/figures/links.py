"""The links of a plan by their distance. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from meshtune.dashboard.figures.layout import blank_figure, faded
from meshtune.dashboard.look import format as fmt, theme
from meshtune.engine.plans import Plan, PlannedLink, Spread

LINKS_UP_TO = 400  # dots per panel; of more links, every so many is drawn
PANEL_GAP = 0.13  # between panels, as a share of the width


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
    parts = []
    for number, panel in enumerate(panels):
        left = number * (width + PANEL_GAP)
        parts.append(_panel_parts(panel, links, number, (left, left + width), mode))
    figure.add_traces([part.dots for part in parts])
    # all at once: Plotly checks again what is there whenever something is added
    figure.update_layout(
        {name: axis for part in parts for name, axis in part.axes.items()},
        shapes=[shape for part in parts for shape in part.shapes],
        annotations=[part.title for part in parts],
        showlegend=False,
        hovermode="closest",
        margin={"t": 56, "b": 40, "l": 40},
    )
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


@dataclass(frozen=True)
class PanelParts:
    """What one panel adds to the figure."""

    dots: go.Scatter
    axes: dict[str, dict[str, Any]]
    shapes: tuple[dict[str, Any], ...]
    title: dict[str, Any]


def _panel_parts(
    panel: Panel,
    links: Sequence[PlannedLink],
    number: int,
    domain: tuple[float, float],
    mode: theme.Mode,
) -> PanelParts:
    suffix = "" if number == 0 else str(number + 1)
    color = theme.ACCENT.of(mode)
    dots, values = _dots(panel, links, suffix, color)
    high = panel.scale.of(panel.spread.high)
    axes = {
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
    title = {
        "text": f"{panel.title} ({panel.scale.unit})",
        "x": domain[0],
        "y": 1,
        "xref": "paper",
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": 12},
    }
    return PanelParts(dots, axes, _band(panel, suffix, color), title)


def _dots(
    panel: Panel, links: Sequence[PlannedLink], suffix: str, color: str
) -> tuple[go.Scatter, list[float]]:
    """A dot for each link that has the quality, and their heights."""
    known = [(link, value) for link in links if (value := panel.of(link)) is not None]
    values = [panel.scale.of(value) for _, value in known]
    dots = go.Scatter(
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
    return dots, values


def _band(panel: Panel, suffix: str, color: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The middle 80 % as a band, the median as a line."""
    low, median, high = (
        panel.scale.of(value)
        for value in (panel.spread.low, panel.spread.median, panel.spread.high)
    )
    common = {
        "xref": f"x{suffix} domain",
        "x0": 0,
        "x1": 1,
        "yref": f"y{suffix}",
        "layer": "below",
    }
    area = {"type": "rect", "y0": low, "y1": high, "fillcolor": faded(color), "line": {"width": 0}}
    line = {"color": color, "width": 1.5}
    return (
        {**common, **area},
        {**common, "type": "line", "y0": median, "y1": median, "line": line},
    )


def _top(values: Sequence[float], high: float) -> float:
    """The end of an axis from zero that holds the values and the band, and one unit at least."""
    return max(1.0, 1.05 * max([high, *values]))
