"""Compare: chosen runs over one another. `?runs=1,2&x=round` restores the view."""

from html import escape

import pandas as pd
import streamlit as st

from backend.schemas import RunSummary
from dashboard import charts, state, theme
from dashboard import format as fmt
from dashboard.client import ApiProblem, api
from dashboard.components import live_chart
from dashboard.frames import config_differences, last_of
from engine.config import TASK_NAMES
from engine.records import ENDED

POLL_S = 2.0
LISTED = 200
ALL_PAGES = 1_000_000
AXIS_WORDS: dict[charts.XAxis, str] = {
    "round": "Round",
    "total_bits": "Bits",
    "total_airtime_s": "Airtime",
    "total_energy_j": "Energy",
}
COLUMN_HELP = {
    "Own": "Accuracy on the own task: mean over devices, last evaluation.",
    "Own ±": "Difference to the reference in percentage points.",
    "All": "Accuracy over all tasks: mean over devices and tasks, last evaluation.",
    "All ±": "Difference to the reference in percentage points.",
    "Forgetting": "How far the own task is below its best so far: mean over devices, in points.",
    "Bits": "Payload sent so far, lost messages included.",
    "Bits ±": "Difference to the reference in percent of it.",
    "Airtime": "Slowest message of each round, added up.",
    "Energy": "Transmit energy of all devices, added up.",
}
AXIS_NAMES = {word.lower(): axis for axis, word in AXIS_WORDS.items()}


def run_label(run: RunSummary) -> str:
    """What lists and legends call a run: name, number and seed."""
    return f"{run.name} · run {run.id} · seed {run.seed}"


def wanted_ids() -> list[int]:
    """Run numbers of the address."""
    given = st.query_params.get("runs", "").split(",")
    return [int(part) for part in given if part.strip().isdigit()]


def choose(listed: dict[int, RunSummary]) -> list[int]:
    """The runs to compare; kept in the address."""
    start = [run_id for run_id in wanted_ids() if run_id in listed]
    ids: list[int] = st.multiselect(
        "Runs",
        list(listed),
        default=start,
        format_func=lambda run_id: run_label(listed[run_id]),
        placeholder="Choose runs to compare",
        key="compare-runs",
    )
    if ids:
        st.query_params["runs"] = ",".join(map(str, ids))
    else:
        st.query_params.pop("runs", None)
    return ids


def choose_axis() -> charts.XAxis:
    """The quantity along the horizontal axis; kept in the address."""
    start = AXIS_NAMES.get(st.query_params.get("x", "round"), "round")
    axis: charts.XAxis = st.segmented_control(
        "Against",
        list(AXIS_WORDS),
        default=start,
        required=True,
        format_func=AXIS_WORDS.__getitem__,
        key="compare-axis",
        help="Costs are added up from the first round. A run that sends nothing is a dotted level.",
    )
    st.query_params["x"] = AXIS_WORDS[axis].lower()
    return axis


def choose_reference(listed: dict[int, RunSummary], ids: list[int]) -> int:
    """The run that differences are against: plain LoRA gossip where there is one."""
    plain = [i for i in ids if listed[i].method == theme.REFERENCE_METHOD]
    start = (plain or ids)[0]
    chosen: int = st.selectbox(
        "Reference",
        ids,
        index=ids.index(start),
        format_func=lambda run_id: run_label(listed[run_id]),
        help="Differences in points and percent are against this run.",
        key=f"compare-reference-{start}",
    )
    return chosen


def arms_of(ids: list[int], reference: int) -> list[charts.Arm]:
    """The runs with all their rounds."""
    client = api()
    arms = []
    used: dict[str, int] = {}
    for run_id in ids:
        run = client.run(run_id)
        history = state.follow(client, run, run.config, pages=ALL_PAGES)
        look = theme.method_look(run.method)
        repeat = used.get(run.method, 0)
        used[run.method] = repeat + 1
        dash = theme.REPEAT_DASHES[repeat % len(theme.REPEAT_DASHES)] if repeat else look.dash
        arms.append(
            charts.Arm(
                run_id=run.id,
                label=f"{run.name} #{run.id}",
                method=run.method,
                config=run.config,
                rounds=history.round_frame(),
                tasks=history.task_frame(),
                dash=dash,
                reference=run.id == reference,
            )
        )
    return sorted(arms, key=lambda arm: not arm.reference)


def legend(arms: list[charts.Arm], mode: theme.Mode) -> None:
    """Names of the lines in the small charts."""
    styles = {"solid": "solid", "dot": "dotted"}
    items = "".join(
        '<span style="display:inline-flex;align-items:center;gap:7px;margin-right:20px">'
        '<span style="width:26px;border-top:3px '
        f'{styles.get(arm.dash, "dashed")} {theme.method_look(arm.method).tint.of(mode)}"></span>'
        f"{escape(arm.label)}{' (reference)' if arm.reference else ''}</span>"
        for arm in arms
    )
    st.html(f'<div style="font-size:13px">{items}</div>')


def summary(arms: list[charts.Arm]) -> pd.DataFrame:
    """Last values of every run, with differences to the reference."""
    base = arms[0].rounds
    own, everything = last_of(base, "accuracy_own"), last_of(base, "accuracy_all")
    base_bits = last_of(base, "total_bits")
    rows = []
    for arm in arms:
        frame = arm.rounds
        bits = last_of(frame, "total_bits")
        mine, mine_all = last_of(frame, "accuracy_own"), last_of(frame, "accuracy_all")
        other = not arm.reference
        rows.append(
            {
                "Run": arm.label,
                "Method": theme.method_look(arm.method).title,
                "Own": fmt.percent(mine),
                "Own ±": fmt.points(_minus(mine, own)) if other else "reference",
                "All": fmt.percent(mine_all),
                "All ±": fmt.points(_minus(mine_all, everything)) if other else "reference",
                "Forgetting": fmt.points(last_of(frame, "forgetting")).lstrip("+±"),
                "Bits": fmt.bits(bits),
                "Bits/round": fmt.bits(None if bits is None else bits / max(len(frame), 1)),
                "Bits ±": fmt.relative(bits, base_bits) if other else "reference",
                "Airtime": fmt.seconds(last_of(frame, "total_airtime_s")),
                "Energy": fmt.joules(last_of(frame, "total_energy_j")),
            }
        )
    return pd.DataFrame(rows)


def _minus(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


def all_rounds_csv(arms: list[charts.Arm]) -> str:
    """Every round of every run, long form, with units in the column names."""
    parts = [
        arm.rounds.assign(run_id=arm.run_id, run=arm.label, method=arm.method, seed=arm.config.seed)
        for arm in arms
    ]
    table = pd.concat(parts)
    front = ["run_id", "run", "method", "seed"]
    return table[[*front, *(c for c in table.columns if c not in front)]].to_csv(index=False)


st.title("Compare runs", anchor=False)
try:
    listed = {run.id: run for run in api().runs(limit=LISTED).runs}
    for missing in [run_id for run_id in wanted_ids() if run_id not in listed]:
        listed[missing] = api().run(missing)
except ApiProblem as trouble:
    state.show_problem(trouble)
    st.stop()
if not listed:
    st.info("Nothing has run yet, so there is nothing to compare.", icon=":material/info:")
    st.page_link(state.GALLERY, label="Open the gallery", icon=":material/grid_view:")
    st.stop()

picked = choose(listed)
if not picked:
    st.info(
        "Choose at least one run above. Good pairs differ in one thing: the method, the density, "
        "or the seed.",
        icon=":material/info:",
    )
    st.stop()
with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
    xaxis = choose_axis()
    reference_id = choose_reference(listed, picked)
under_way = any(listed[run_id].status not in ENDED for run_id in picked)


@st.fragment(run_every=POLL_S if under_way else None)
def comparison() -> None:
    """Charts and tables; asks only for rounds not seen yet."""
    note = st.container()
    try:
        arms = arms_of(picked, reference_id)
    except ApiProblem as problem:
        state.show_problem(problem, where=note)
        return
    mode = state.mode()
    drawn = [arm for arm in arms if len(arm.rounds)]
    waiting = [arm.label for arm in arms if not len(arm.rounds)]
    if waiting:
        note.info(f"No finished round yet: {', '.join(waiting)}.", icon=":material/schedule:")
    if not drawn:
        return
    legend(drawn, mode)
    with st.grid(2, min_column_width=420, gap="medium"):
        for column in ("accuracy_own", "accuracy_all"):
            figure = charts.comparison(drawn, column, xaxis, mode)
            live_chart(figure, key=f"compare-{column}", keep=xaxis)
    st.dataframe(
        summary(drawn),
        hide_index=True,
        key="compare-summary",
        column_config={
            name: st.column_config.TextColumn(help=text) for name, text in COLUMN_HELP.items()
        },
    )
    st.subheader("Forgetting, and every task on its own", anchor=False)
    with st.grid(3, min_column_width=280, gap="medium"):
        for column in ("exchange_loss", "forgetting"):
            figure = charts.unlabelled(charts.comparison(drawn, column, xaxis, mode))
            live_chart(figure, key=f"compare-{column}", keep=xaxis)
        for task in [t for t in TASK_NAMES if any((arm.tasks["task"] == t).any() for arm in drawn)]:
            figure = charts.task_comparison(drawn, task, xaxis, mode)
            live_chart(figure, key=f"compare-{task}", keep=xaxis)
    st.subheader("What differs in the configs", anchor=False)
    table = config_differences({arm.label: arm.config for arm in drawn})
    if table.empty:
        st.caption("Nothing but the name: these runs have equal configs.")
    else:
        st.dataframe(table.map(fmt.plain), key="compare-configs")
    st.download_button(
        "All rounds as CSV",
        lambda: all_rounds_csv(drawn),
        "comparison.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
    )


with state.steady():
    comparison()
