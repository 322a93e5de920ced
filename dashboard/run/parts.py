"""What one sees first of a run: its numbers, map, heat map and curve after one of its rounds."""

import pandas as pd
import streamlit as st

from meshtune.backend.schemas.compare import RunCurves
from meshtune.backend.schemas.runs import RunDetail
from meshtune.dashboard import address, state
from meshtune.dashboard.api.client import api
from meshtune.dashboard.figures import maps
from meshtune.dashboard.figures.components import draw_chart, live_chart, network_map
from meshtune.dashboard.figures.curves import task_curves
from meshtune.dashboard.figures.heat import score_heat_map
from meshtune.dashboard.look import format as fmt
from meshtune.dashboard.look.handbook import cited
from meshtune.dashboard.run import beginning, depth, frames, layout
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
    )
    address.keep(key, "base", chosen, str(chosen) if chosen else NO_BASE)
    return chosen


def numbers(rounds: pd.DataFrame, curves: RunCurves, base: RunCurves | None, shown: int) -> None:
    """The numbers of the run after a round."""
    seen = rounds[rounds["round"] <= shown]
    for quantity, value, under in _tiles(seen, curves, base, shown):
        st.metric(
            quantity.word,
            value,
            under,
            delta_color="off",
            delta_arrow="off",
            border=True,
            help=cited(fmt.sentence(f"{quantity.meaning}; over the rounds so far")),
        )


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


def _change(rounds: pd.DataFrame, column: str) -> str:
    known = rounds[column].dropna()
    if len(known) < 2:
        return "first evaluation"
    return f"changed by {fmt.points(float(known.iloc[-1] - known.iloc[-2]))}"


def round_line(finished: int, record: RoundRecord | None) -> str:
    """Which round the map shows, how long it took on air and off, and who held it up."""
    line = f"**Messages of round {finished}**"
    if record is None or record.round_s is None:
        return line
    line += f" :gray[took {fmt.seconds(record.round_s)}"
    slowest = maps.slowest_device(record)
    return f"{line}]" if slowest is None else f"{line}, waiting for device {slowest}]"


def round_pictures(run: RunDetail, curves: RunCurves, shown: int) -> None:
    """The map and the heat map after a round, and the curve with the line of the round."""
    config, mode = run.config, state.mode()
    record = state.whole_round(api(), run.id, shown - 1)
    evaluated = frames.evaluated_before(config, shown)
    scored = record if evaluated == shown else state.whole_round(api(), run.id, evaluated - 1)
    with layout.panes("watch"):
        with st.container(gap=None):
            st.markdown(round_line(shown, record))
            if record is not None:
                own = frames.own_scores(scored)
                payload = maps.round_map(record, own, mode, beginning.lasting_links(config))
                network_map(payload, key="run-map", height=beginning.MAP_PX)
        with st.container():
            heat = score_heat_map(frames.score_frame(scored, config), config, mode)
            live_chart(heat, key="heat")
            if scored is not None and evaluated != shown:
                st.caption(f"Round {shown} was not evaluated; these are the scores of {evaluated}.")
        tasks = depth.kept(run, curves, "watch", lambda: _curve(run, curves))
        draw_chart(tasks["own"], key="own")


def _curve(run: RunDetail, curves: RunCurves) -> depth.Drawn:
    return {"own": depth.marked(task_curves(frames.task_frame(curves), "own", run.config))}
