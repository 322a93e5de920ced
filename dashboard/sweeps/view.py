"""Sweeps: many runs that differ in a few fields. `?sweep=3&metric=accuracy_own` shows one."""

from typing import Any

import streamlit as st
from pydantic import ValidationError

from meshtune.backend.schemas.runs import PresetOut
from meshtune.backend.schemas.sweeps import SweepDetail, SweepSummary
from meshtune.dashboard import address, door, state, unknown
from meshtune.dashboard.api.client import ApiProblem, api, carried
from meshtune.dashboard.figures.components import live_chart
from meshtune.dashboard.look import format as fmt
from meshtune.dashboard.look.handbook import cited
from meshtune.dashboard.sweeps import calls, parts
from meshtune.engine.config import plain_errors
from meshtune.engine.quantities import QUANTITIES
from meshtune.engine.records import ENDED
from meshtune.engine.sweep import CELLS_MAX, SweepRefused, SweepSpec, cells
from meshtune.engine.sweep_results import METRICS, Metric

POLL_S = 2.0
OVER = {*map(str, ENDED), "deleted"}
FIRST_FIELD = "training.learning_rate"
MODES = {"grid": "All", "random": "Drawn at random"}
HERE = state.SWEEPS
COLUMN_HELP = {
    "Best": "Best mean so far by the chosen metric.",
    "Done": "Completed runs of all seeds; only these are in the means.",
    **{
        QUANTITIES[metric].word: f"{QUANTITIES[metric].meaning}. At the end of the run: mean over "
        "seeds ± 95 % interval."
        for metric in METRICS
    },
}


# All of them


def overview() -> None:
    """The newest sweeps, and a form to start another."""
    try:
        listed = calls.sweeps(api()).sweeps
        presets = {preset.name: preset for preset in api().presets()}
    except ApiProblem as problem:
        state.show_problem(problem)
        st.button("Try again", icon=":material/refresh:")
        return
    if not listed:
        st.info(
            "No sweep yet. Choose below what to vary; every combination becomes a run.",
            icon=":material/info:",
        )
    for each in listed:
        line(each)
    st.header("Start a sweep", anchor=False)
    if presets:
        start_form(presets)


def line(sweep: SweepSummary) -> None:
    """One sweep in the list."""
    name, facts, when = st.columns([3, 6, 1], vertical_alignment="center", gap="small")
    name.page_link(
        HERE, label=f"{parts.literal(sweep.name)} #{sweep.id}",
        query_params={"sweep": str(sweep.id)},
    )  # fmt: skip
    varied = ", ".join(f"`{field}`" for field in sweep.fields) or "seeds"
    stopped = " · stopped" if sweep.stopped_at else ""
    facts.caption(
        f"{varied} · {fmt.count(sweep.cells, 'cell')}: "
        f"{parts.statuses_text(sweep.statuses)}{stopped}"
    )
    when.caption(fmt.ago(sweep.created_at))


def start_form(presets: dict[str, PresetOut]) -> None:
    """Preset, up to two fields with their values, seeds."""
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            chosen = st.selectbox(
                "Preset",
                list(presets),
                format_func=lambda name: presets[name].title,
                key="sweep-preset",
            )
            name = st.text_input("Name", presets[chosen].title, key=f"sweep-name-{chosen}")
            seeds = st.number_input(
                "Seeds",
                value=3,
                key="sweep-seeds",
                help="n seeds: 0 to n - 1. Intervals need at least two.",
            )
        fields = parts.fields_of(presets[chosen])
        axes = dict([*axis("first", fields, FIRST_FIELD), *axis("second", fields, None)])
        tree = {"name": name, "preset": chosen, "axes": axes, "seeds": seeds}
        begin(tree | sampling())


def sampling() -> dict[str, Any]:
    """All combinations of the values, or some drawn at random."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        mode = st.segmented_control(
            "Combinations",
            list(MODES),
            default="grid",
            required=True,
            format_func=MODES.__getitem__,
            key="sweep-mode",
            help="A range is drawn from as a whole when at random, in steps otherwise.",
        )
        if mode == "grid":
            return {}
        count = st.number_input(
            "How many", value=10, key="sweep-samples", help=f"From 1 to {CELLS_MAX}."
        )
    return {"mode": mode, "samples": count}


def axis(place: str, fields: dict[str, Any], start: str | None) -> list[tuple[str, Any]]:
    """A field to vary and its values; nothing if none is chosen."""
    names = list(fields)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        field = st.selectbox(
            f"Vary {place}",
            names,
            index=names.index(start) if start in names else None,
            placeholder="No field",
            key=f"sweep-{place}-field",
        )
        if field is None:
            return []
        now = fmt.plain(fields[field])
        text = st.text_input(
            "Values, with commas, or a range",
            key=f"sweep-{place}-values-{field}",
            placeholder=f"the preset has {now}",
            help="For example 0.001, 0.01, 0.1 or lora_gossip, so_lora. A range is 0.001 .. 0.1, "
            "and 0.001 .. 0.1 in 7 has seven steps.",
        )
    return [(field, parts.axis_values(text))] if text.strip() else []


def begin(tree: dict[str, Any]) -> None:
    """Say how many runs it makes or what is wrong, and start it on request."""
    try:
        spec = SweepSpec.model_validate(tree)
        count = len(cells(spec))
    except ValidationError as error:
        field, sentence = plain_errors(error.errors(), SweepSpec)[0]
        refuse(f"{field}: {sentence}")
        return
    except SweepRefused as error:
        refuse(str(error))
        return
    told = st.empty()
    if not st.button(
        f"Start {fmt.count(count, 'run')}",
        type="primary",
        icon=":material/play_arrow:",
        key="sweep-start",
        **door.lock("run"),
    ):
        return
    try:
        created = calls.start(api(), spec)
    except ApiProblem as problem:
        state.show_problem(problem, where=told)
        return
    state.go_to(HERE, sweep=str(created.id))


def refuse(sentence: str) -> None:
    """Why it cannot be started, where the button would be."""
    st.error(fmt.sentence(sentence), icon=":material/error:")
    st.button("Start", disabled=True, key="sweep-start")


# One of them


def newest() -> list[unknown.Way]:
    """Links to the newest sweeps."""
    return unknown.newest(
        lambda: [
            unknown.Way(f"{sweep.name} #{sweep.id}", HERE, {"sweep": str(sweep.id)})
            for sweep in calls.sweeps(api(), unknown.SHOWN_MOST).sweeps
        ]
    )


def chosen_metric() -> Metric:
    """By what the best is chosen; kept in the address."""
    address.follow(
        "sweep-metric", "metric", lambda given: given if given in METRICS else "accuracy_all"
    )
    metric: Metric = (
        st.segmented_control(
            "Metric",
            list(METRICS),
            required=True,
            format_func=parts.METRIC_WORDS.__getitem__,
            key="sweep-metric",
            help="Accuracies are best when high, costs when low.",
        )
        or "accuracy_all"
    )
    address.keep("sweep-metric", "metric", metric, metric)
    return metric


def whole(sweep_id: int) -> None:
    """One sweep: what it varies, its cells, the best so far, chart and table."""
    # no link: one to the page that is open leaves the sweep in the address
    st.button(
        "All sweeps",
        icon=":material/arrow_back:",
        type="tertiary",
        key="sweep-all",
        on_click=st.query_params.clear,
    )
    try:
        sweep = calls.sweep(api(), sweep_id)
    except ApiProblem as problem:
        state.to_the_door(problem)
        unknown.show(problem.detail, newest())
        return
    under_way = not sweep.statuses.keys() <= OVER
    st.subheader(f"{parts.literal(sweep.name)} #{sweep.id}", anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        metric = chosen_metric()
        buttons(sweep, under_way=under_way)

    @st.fragment(run_every=POLL_S if under_way else None)
    def live() -> None:
        place = st.container()
        try:
            now = calls.sweep(api(), sweep_id, metric)
        except ApiProblem as problem:
            state.show_problem(problem, where=place)
            return
        if under_way and now.statuses.keys() <= OVER:
            st.rerun()  # other buttons, and no more questions
        results(now)

    with state.steady():
        live()


def buttons(sweep: SweepDetail, *, under_way: bool) -> None:
    """What one can do with a sweep."""
    if under_way and st.button(
        "Stop",
        icon=":material/stop_circle:",
        key="sweep-stop",
        **door.lock("run", help="Finished runs are kept."),
    ):
        try:
            calls.stop(api(), sweep.id)
        except ApiProblem as problem:
            state.show_problem(problem)
        else:
            st.rerun()
    st.download_button(
        "Table as CSV",
        carried(lambda: calls.table_csv(api(), sweep.id)),
        f"sweep-{sweep.id}.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
    )


def results(sweep: SweepDetail) -> None:
    """Cells, best so far, chart and table of a sweep."""
    mode = state.mode()
    stopped = f" · stopped {fmt.ago(sweep.stopped_at)}" if sweep.stopped_at else ""
    st.caption(f"{fmt.count(sweep.cells, 'cell')} · begun {fmt.ago(sweep.created_at)}{stopped}")
    best_line(sweep)
    st.html(parts.legend_html(sweep.statuses, mode))
    chart = parts.metric_chart(sweep, mode)
    with st.grid(2 if chart is not None else 1, min_column_width=420, gap="medium"):
        st.html(parts.cells_html(sweep, mode))
        if chart is not None:
            live_chart(chart, key="sweep-chart", keep=sweep.metric)
    st.dataframe(
        parts.table_frame(sweep),
        hide_index=True,
        key="sweep-table",
        column_config={
            name: st.column_config.TextColumn(help=cited(text))
            for name, text in COLUMN_HELP.items()
        },
    )
    runs = parts.to_compare(sweep)
    if len(runs) > 1:
        st.page_link(
            state.COMPARE,
            label=f"Compare {len(runs)} of these runs, one per combination",
            icon=":material/stacked_line_chart:",
            query_params={"runs": ",".join(map(str, runs))},
        )


def best_line(sweep: SweepDetail) -> None:
    """The best combination so far, in one line."""
    if sweep.best is None:
        st.info("No run is completed yet, so there is no best one.", icon=":material/schedule:")
        return
    found = sweep.best.metrics[sweep.metric]
    title = parts.METRIC_TITLES[sweep.metric]
    values = parts.literal(parts.values_text(sweep.best.values))
    estimate = parts.estimate_text(sweep.metric, found)
    st.markdown(
        f"**Best so far:** {values} :gray[{title} {estimate}, n = {found.count}]",
        help="Highest mean of an accuracy, lowest of a cost; ± is the 95 % interval over seeds.",
    )


st.title("Sweeps", anchor=False)
wanted = address.asked("sweep")
number = address.whole_number(wanted)
if number is not None:
    whole(number)
elif wanted:
    unknown.show(unknown.no_number("sweep", wanted), newest())
else:
    overview()
