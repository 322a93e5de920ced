"""What all charts share: the blank figure, its axes, names at the ends of lines. Pure.

Text, grid and paper take the colours of the page in static/chart.js; only data colours are here.
"""

from typing import Any

import plotly.graph_objects as go

LABELS_UP_TO = 4  # lines; more are named in a legend
LABEL_PX = 15  # two names at line ends closer than this are pushed apart
FRAME_PX = 80  # title, axis and its name: what of the height is no plot


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
    places = zip(ends, _spread(list(ends.values()), gap), strict=True)
    longest = max((len(name) for name in ends), default=0)
    figure.update_layout(
        # all at once: each one added later has Plotly check those before it again
        annotations=[_end_name(name, value, color) for name, (value, color) in places],
        margin={"r": 30 + 7 * longest},
    )


def legend_below(figure: go.Figure) -> None:
    """The names of lines in rows under the axis, so that a narrow chart keeps its width."""
    axis, names = 50, 90  # px: the rounds with their name, four rows of names
    plot = figure.layout.height - 36 - axis - names
    figure.update_layout(
        legend={
            "orientation": "h",
            "x": 0,
            "y": -axis / plot,
            "yanchor": "top",
            "maxheight": names,
        },
        margin={"r": 12, "b": axis + names},
    )


def _end_name(name: str, value: float, color: str) -> dict[str, Any]:
    return {
        "x": 1.008,
        "xref": "paper",
        "xanchor": "left",
        "y": value,
        "yref": "y",
        "yanchor": "middle",
        "text": f'<span style="color:{color}">●</span> {name}',
        "showarrow": False,
        "font": {"size": 12},
    }


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
