"""Parts of the Run view that show a run after one of its rounds, and its curves over all."""

from typing import Any

import pandas as pd
import streamlit as st

from meshtune.backend.schemas.compare import RunCurves
from meshtune.backend.schemas.runs import RunDetail
from meshtune.dashboard import address, state
from meshtune.dashboard.api.client import api
from meshtune.dashboard.figures import maps
from meshtune.dashboard.figures.components import chart_data, draw_chart, live_chart, network_map
from meshtune.dashboard.figures.curves import task_curves, total_curve
from meshtune.dashboard.figures.heat import score_heat_map
from meshtune.dashboard.look import format as fmt, theme
from meshtune.dashboard.look.handbook import cited
from meshtune.dashboard.run import charts, frames
from meshtune.engine import quantities as words
from meshtune.engine.methods.registry import REFERENCE
from meshtune.engine.records import RoundRecord

LISTED = 60
NO_BASE = "none"  # in the address: compared with nothing


def choose_baseline(run: RunDetail) -> int | None:
    """The run that differences are against; kept in the address."""
    client = api()
    plain = client.runs(limit=LISTED, method=REFERENCE).runs
    others = {other.id: other for other in client.runs(limit=LISTED).runs if other.id != run.id}
    others |= {other.id: other for other in plain if other.id != run.id}
    fair = frames.baseline_of(run, plain)
    key = f"base-{run.id}"

    def base_of(given: str) -> int | None:
        number = address.whole_number(given)
        return None if given == NO_BASE else number if number in others else fair

    address.follow(key, "base", base_of)
    if st.session_state[key] not in {None, *others}:
        st.session_state[key] = fair  # it was deleted meanwhile
    chosen: int | None = st.selectbox(
        "Compared with",
        list(others),
        index=None,
        format_func=lambda number: f"{others[number].name} · run {number}",
        placeholder="No baseline",
        help="Numbers below say how far they are from this run at the same round. The start is "
        "the newest completed plain LoRA run of as many devices and rounds.",
        key=key,
        width=260,
    )
    address.keep(key, "base", chosen, str(chosen) if chosen else NO_BASE)
    return chosen


def numbers(rounds: pd.DataFrame, curves: RunCurves, base: RunCurves | None, shown: int) -> None:
    """The numbers of the run after a round."""
    seen = rounds[rounds["round"] <= shown]
    # six side by side on a wide screen, three on a narrow one
    with st.grid(6, min_column_width=174, gap="small"):
        for quantity, value, under in _tiles(seen, curves, base, shown):
            st.metric(
                quantity.word,
                value,
                under,
                delta_color="off",
                delta_arrow="off",
                border=True,
                help=cited(fmt.sentence(f"{quantity.meaning}; over the rounds so far")),
                height="stretch",
            )
    st.caption(beyond_air(seen))


def _tiles(
    seen: pd.DataFrame, curves: RunCurves, base: RunCurves | None, shown: int
) -> list[tuple[words.Quantity, str, str]]:
    """Two results and four costs after a round, each with what it is against a baseline."""
    now = frames.at(curves, shown)
    other = frames.at(base, shown) if base else frames.NOTHING
    bits, airtime = (float(seen[c].sum()) for c in ("sent_bits", "airtime_s"))
    energy = float(seen["energy_j"].sum())
    waited = seen["round_s"].dropna()
    done = max(len(seen), 1)

    def against(difference: str | None, otherwise: str) -> str:
        return f"{difference} to the baseline" if base and difference else otherwise

    return [
        (words.OWN_TASK, fmt.percent(now.own), against(_points(now.own, other.own),
         _change(seen, "accuracy_own"))),
        (words.ALL_TASKS, fmt.percent(now.all), against(_points(now.all, other.all),
         _change(seen, "accuracy_all"))),
        (words.BITS_SENT, fmt.bits(bits), against(_relative(bits, other.bits),
         f"{fmt.bits(bits / done)} per round")),
        (words.AIRTIME, fmt.seconds(airtime), against(_relative(airtime, other.airtime_s),
         f"{fmt.seconds(airtime / done)} per round")),
        (words.ROUND_TIME, fmt.seconds(float(waited.sum()) if len(waited) else None),
         f"{fmt.seconds(float(waited.mean()))} per round" if len(waited) else "not recorded"),
        (words.TRANSMIT, fmt.joules(energy), against(_relative(energy, other.energy_j),
         f"{fmt.joules(energy / done)} per round")),
    ]  # fmt: skip


def _points(value: float | None, other: float | None) -> str | None:
    return None if value is None or other is None else fmt.points(value - other)


def _relative(value: float | None, other: float | None) -> str | None:
    return None if not other or value is None else fmt.relative(value, other)


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


def _change(rounds: pd.DataFrame, column: str) -> str:
    known = rounds[column].dropna()
    if len(known) < 2:
        return "first evaluation"
    return f"{fmt.points(float(known.iloc[-1] - known.iloc[-2]))} in the last round"


def round_line(finished: int, record: RoundRecord | None) -> str:
    """Which round the map shows, how long it took on air and off, and who held it up."""
    line = f"**Messages of round {finished}**"
    if record is None or record.round_s is None:
        return line
    line += f" :gray[took {fmt.seconds(record.round_s)}"
    slowest = maps.slowest_device(record)
    return f"{line}]" if slowest is None else f"{line}, waits for device {slowest}]"


def round_pictures(run: RunDetail, shown: int) -> None:
    """The map and the heat map after a round."""
    mode, config = state.mode(), run.config
    record = state.whole_round(api(), run.id, shown - 1)
    evaluated = frames.evaluated_before(config, shown)
    scored = record if evaluated == shown else state.whole_round(api(), run.id, evaluated - 1)
    with st.grid(2, min_column_width=420, gap="medium"):
        with st.container():
            st.markdown(round_line(shown, record))
            if record is not None:
                own = frames.own_scores(scored)
                payload = maps.round_map(record, own, mode)
                network_map(payload, key="run-map", height=theme.MEDIUM + 60)
        with st.container():
            heat = score_heat_map(frames.score_frame(scored, config), config, mode)
            live_chart(heat, key="heat")
            if scored is not None and evaluated != shown:
                st.caption(f"Round {shown} was not evaluated; these are the scores of {evaluated}.")
    state_of_routes(scored, evaluated)


def state_of_routes(scored: RoundRecord | None, evaluated: int) -> None:
    """Which expert answered which task; a sentence where no gate ranks experts."""
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


def curves_of(run: RunDetail, curves: RunCurves, rounds: pd.DataFrame) -> None:
    """Curves over all rounds; the line in them is the round that is shown."""
    known = (run.id, len(rounds), len(curves.round), state.mode())
    kept: dict[str, Any] = st.session_state.get("run-curves", {})
    if kept.get("of") != known:  # moving the slider changes none of them
        kept = {"of": known, "charts": _curve_charts(run, curves, rounds)}
        st.session_state["run-curves"] = kept
    with st.grid(2, min_column_width=420, gap="medium"):
        for key, data in kept["charts"].items():
            if key != "layers":
                draw_chart(data, key=key)
    if "layers" in kept["charts"]:
        draw_chart(kept["charts"]["layers"], key="layers")


def _curve_charts(
    run: RunDetail, curves: RunCurves, rounds: pd.DataFrame
) -> dict[str, dict[str, Any]]:
    mode, config = state.mode(), run.config
    tasks = frames.task_frame(curves)
    found = {
        "own": task_curves(tasks, "own", config),
        "all": task_curves(tasks, "all", config),
        "bits": total_curve(rounds, "total_bits", config, mode),
        "airtime": total_curve(rounds, "total_airtime_s", config, mode),
        "energy": total_curve(rounds, "total_energy_j", config, mode),
        "lost": charts.lost(frames.lost_frame(curves), config, mode),
        "collision": charts.collision(rounds, config, mode),
    }
    drawn = {
        key: {**chart_data(figure), "keep": "keep", "marks": True}
        for key, figure in found.items()
        if figure is not None
    }
    first = state.whole_round(api(), run.id, 0)
    if first is not None and first.layers:
        layers = chart_data(charts.layers(first.layers, mode))
        drawn["layers"] = {**layers, "keep": "keep", "marks": False}
    return drawn
