"""What lies behind the first look at a run: its curves over all rounds, and what the gate chose."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from meshtune.backend.schemas.compare import RunCurves
from meshtune.backend.schemas.runs import RunDetail
from meshtune.dashboard import state
from meshtune.dashboard.api.client import api
from meshtune.dashboard.figures.components import chart_data, draw_chart, live_chart
from meshtune.dashboard.figures.curves import task_curves, total_curve
from meshtune.dashboard.figures.html_table import STYLE, html_table
from meshtune.dashboard.look import format as fmt
from meshtune.dashboard.run import charts, frames, layout
from meshtune.dashboard.run.tabs import Tab
from meshtune.engine import quantities as words
from meshtune.engine.records import ENDED, RoundRecord

Drawn = dict[str, dict[str, Any]]  # by its key: what a picture of a run shows


def show(run: RunDetail, curves: RunCurves, rounds: pd.DataFrame, tab: Tab, shown: int) -> None:
    """Tasks, cost or inside."""
    made = {
        "tasks": lambda: _tasks(run, curves),
        "cost": lambda: _cost(run, rounds),
        "inside": lambda: _inside(run, rounds),
    }[tab]
    with layout.panes(tab):
        if tab == "inside":
            _routes(run, shown)
        for key, data in kept(run, curves, tab, made).items():
            with st.container(key=f"pane-{key}"):
                _number(data) if "same" in data else draw_chart(data, key=key)
    if tab == "cost":
        st.caption(beyond_air(rounds[rounds["round"] <= shown]))


def kept(run: RunDetail, curves: RunCurves, tab: Tab, make: Callable[[], Drawn]) -> Drawn:
    """The pictures of a part; made anew with a new round, not when the slider moves."""
    known = (run.id, tab, run.status, run.rounds_done, len(curves.round), state.mode())
    seen: dict[str, Any] = st.session_state.get("run-curves", {})
    if seen.get("of") != known:
        seen = {"of": known, "charts": make()}
        st.session_state["run-curves"] = seen
    found: Drawn = seen["charts"]
    return found


def marked(figure: go.Figure, *, over_rounds: bool = True) -> dict[str, Any]:
    """A chart that shows the line of the round that is looked at, if it is over rounds."""
    return {**chart_data(figure), "keep": "keep", "marks": over_rounds}


def _tasks(run: RunDetail, curves: RunCurves) -> Drawn:
    tasks, config = frames.task_frame(curves), run.config
    return _pictures(
        run,
        own=task_curves(tasks, "own", config),
        all=task_curves(tasks, "all", config),
        lost=charts.lost(frames.lost_frame(curves), config, state.mode()),
    )


def _cost(run: RunDetail, rounds: pd.DataFrame) -> Drawn:
    mode, config = state.mode(), run.config
    return _pictures(
        run,
        bits=total_curve(rounds, "total_bits", config, mode),
        airtime=total_curve(rounds, "total_airtime_s", config, mode),
        energy=total_curve(rounds, "total_energy_j", config, mode),
    )


def _inside(run: RunDetail, rounds: pd.DataFrame) -> Drawn:
    mode = state.mode()
    first = state.whole_round(api(), run.id, 0)
    layers = charts.layers(first.layers, mode) if first is not None and first.layers else None
    return _pictures(run, collision=charts.collision(rounds, run.config, mode), layers=layers)


def _pictures(run: RunDetail, **figures: go.Figure | None) -> Drawn:
    """Charts; of a figure in which nothing ever changes, its numbers."""
    least = 1 if run.status in ENDED else 2
    drawn: Drawn = {}
    for key, figure in figures.items():
        if figure is not None:
            same = charts.unmoved(figure, least)
            title = figure.layout.title.text
            whole = {"title": title, "same": same}
            drawn[key] = whole if same else marked(figure, over_rounds=key != "layers")
    return drawn


def _number(data: dict[str, Any]) -> None:
    """What a chart would show as a flat line."""
    if len(data["same"]) == 1:
        ((name, value),) = data["same"].items()
        st.metric(data["title"], value, f"{name}: always", delta_color="off", delta_arrow="off",
                  border=True)  # fmt: skip
        return
    st.markdown(f"**{data['title']}**")
    table = pd.DataFrame(list(data["same"].items()), columns=["Line", "In all rounds"])
    st.html(STYLE + html_table(table, data["title"]))


def _routes(run: RunDetail, shown: int) -> None:
    """Which expert answered which task; a sentence where no gate ranks experts."""
    evaluated = frames.evaluated_before(run.config, shown)
    scored: RoundRecord | None = state.whole_round(api(), run.id, evaluated - 1)
    tasks, shares = frames.routes_table(scored)
    place = st.container(key="routes")
    if tasks:
        with place:
            live_chart(charts.routes(tasks, shares, evaluated), key="routes-chart")
    elif scored is not None:
        place.caption(
            "Which expert the gate preferred is known of rounds in which a gate that is not told "
            "the task ranks experts of several tasks; not of this one."
        )


def beyond_air(rounds: pd.DataFrame) -> str:
    """What the devices draw beside sending; runs of older versions did not count it."""
    parts = {
        words.RECEIVE.word: float(rounds["receive_j"].sum()),
        words.COMPUTE.word: float(rounds["compute_j"].sum()),
    }
    if not rounds["compute_j"].notna().any():
        return fmt.sentence(f"{' and '.join(parts)} are not recorded for this run")
    told = " · ".join(f"{word} {fmt.joules(joules)}" for word, joules in parts.items())
    together = fmt.joules(float(rounds["energy_j"].sum()) + sum(parts.values()))
    return f"{told} · all three energies together {together}"
