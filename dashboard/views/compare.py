"""Compare: chosen runs and groups of seeds over one another.

`?runs=1,2&groups=0f3a..&x=bits&ref=2&metric=all&level=60` restores the view.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from html import escape

import pandas as pd
import streamlit as st

from backend.compare_schemas import Accuracy, Axis, Candidate, Cost, Paired, Shown, Who
from dashboard import (
    compare_charts,
    compare_client,
    compare_fronts,
    compare_rail,
    compare_report,
    compare_tables,
    html_table,
    state,
    theme,
)
from dashboard import format as fmt
from dashboard.client import ApiProblem, api
from dashboard.compare_arms import (
    BROKEN,
    Arm,
    arms_of,
    common_tasks,
    differing_fields,
    present_tasks,
)
from dashboard.compare_client import Seen, TableFormat
from dashboard.compare_rail import keep, parameter
from dashboard.components import copy_link, live_chart
from engine.config import TaskName
from engine.records import ENDED

POLL_S = 2.0
AXIS_WORDS: dict[Axis, str] = {
    "round": "Round",
    "total_bits": "Bits",
    "total_airtime_s": "Airtime",
    "total_energy_j": "Energy",
    "total_wall_s": "Time",
}
METRIC_WORDS: dict[Accuracy, str] = {"accuracy_all": "All tasks", "accuracy_own": "Own task"}
WHO_WORDS: dict[Who, str] = {"all": "All devices", "own": "Devices of the task"}
LEVEL_START = 50  # percent
SUGGESTED = 4  # groups
STYLE = """<style>
.st-key-compare-layout > div > [data-testid="stHorizontalBlock"],
.st-key-compare-layout > [data-testid="stHorizontalBlock"] { flex-wrap: nowrap; }
@media (max-width: 1000px) {
  .st-key-compare-layout > div > [data-testid="stHorizontalBlock"],
  .st-key-compare-layout > [data-testid="stHorizontalBlock"] { flex-wrap: wrap; }
  .st-key-compare-layout > div > [data-testid="stHorizontalBlock"] > [data-testid="stColumn"],
  .st-key-compare-layout > [data-testid="stHorizontalBlock"] > [data-testid="stColumn"] {
    flex: 1 1 100% !important; min-width: 100% !important; width: 100% !important;
  }
}
</style>"""


# What is chosen


def chosen_axis() -> Axis:
    """The quantity along the horizontal axis; kept in the address."""
    names = {word.lower(): axis for axis, word in AXIS_WORDS.items()}
    axis: Axis = st.segmented_control(
        "Against",
        list(AXIS_WORDS),
        default=names.get(parameter("x", "round"), "round"),
        required=True,
        format_func=AXIS_WORDS.__getitem__,
        key="compare-axis",
        help="Costs are added up from the first round; of a group, the mean over its seeds at the "
        "same round (our choice). Time is what training took on the machine that ran it.",
    )
    keep("x", AXIS_WORDS[axis].lower())
    return axis


def chosen_metric() -> Accuracy:
    """The accuracy of fronts, levels and tests; kept in the address."""
    start: Accuracy = "accuracy_own" if parameter("metric") == "own" else "accuracy_all"
    metric: Accuracy = st.segmented_control(
        "Accuracy",
        list(METRIC_WORDS),
        default=start,
        required=True,
        format_func=METRIC_WORDS.__getitem__,
        key="compare-metric",
        help="Which accuracy costs, levels and tests below are about (M12).",
    )
    keep("metric", "own" if metric == "accuracy_own" else "")
    return metric


def chosen_who() -> Who:
    """Whose accuracy the charts per task show; kept in the address."""
    start: Who = "own" if parameter("who") == "own" else "all"
    who: Who = st.segmented_control(
        "Accuracy of",
        list(WHO_WORDS),
        default=start,
        required=True,
        format_func=WHO_WORDS.__getitem__,
        key="compare-who",
        help="All devices answer every task; or only the devices that were trained on it.",
    )
    keep("who", "own" if who == "own" else "")
    return who


def chosen_tasks(present: Sequence[TaskName]) -> list[TaskName]:
    """Tasks with a chart of their own; kept in the address where not all are shown."""
    asked = parameter("tasks").split(",")
    start = [task for task in present if task in asked] or list(present)
    tasks: list[TaskName] = st.pills(
        "Tasks",
        list(present),
        selection_mode="multi",
        default=start,
        format_func=lambda task: theme.TASKS[task].title,
        key="compare-tasks",
    )
    shown = [task for task in present if task in tasks]
    keep("tasks", "" if len(shown) == len(present) else ",".join(shown))
    return shown


def chosen_level() -> int:
    """The accuracy to reach, in percent; kept in the address."""
    asked = parameter("level")
    given = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 4 else LEVEL_START
    level: int = st.slider(
        "Accuracy to reach",
        min_value=1,
        max_value=100,
        value=min(100, max(1, given)),
        format="%d %%",
        key="compare-level",
        help="Where a run first comes to this accuracy, linear between two evaluations. Runs that "
        "never do count as later than all others in the median.",
    )
    keep("level", str(level))
    return level


# Sections


def legend(arms: Sequence[Arm], mode: theme.Mode) -> None:
    """Names of the lines, once for all charts."""
    styles = {"solid": "solid", "dot": "dotted"}
    items = "".join(
        '<span style="display:inline-flex;align-items:center;gap:7px;margin-right:20px">'
        '<span style="width:26px;border-top:3px '
        f'{styles.get(arm.dash, "dashed")} {compare_charts.color_of(arm, mode)}"></span>'
        f"{escape(arm.title)}{' (reference)' if arm.reference else ''}</span>"
        for arm in arms
    )
    st.html(f'<div style="font-size:13px">{items}</div>')


def notes(arms: Sequence[Arm], where: st.delta_generator.DeltaGenerator) -> None:
    """What a reader must know before the numbers are compared."""
    waiting = [arm.label for arm in arms if not arm.drawn]
    if waiting:
        names = fmt.sentence(f"No finished round yet: {', '.join(waiting)}")
        where.info(names, icon=":material/schedule:")
    broken = [
        f"{each.run.name} #{each.run.id} {each.run.status} after round {each.run.rounds_done}"
        for arm in arms
        for each in arm.members
        if each.run.status in BROKEN
    ]
    if broken:
        rule = (
            "; of a group, only seeds that did not break off are in the mean"
            if any(len(arm.members) > 1 for arm in arms)
            else ""
        )
        where.warning(
            fmt.sentence(f"Not to the end: {', '.join(broken)}{rule}"), icon=":material/warning:"
        )
    if not common_tasks(arms):
        where.warning(
            "These runs do not hold the same tasks, so accuracy over all tasks is not the same "
            "quantity for all of them.",
            icon=":material/warning:",
        )


def curves(arms: Sequence[Arm], axis: Axis, mode: theme.Mode) -> None:
    """Accuracies against the axis, and the table of last values."""
    with st.grid(2, min_column_width=360, gap="medium"):
        for column in ("accuracy_own", "accuracy_all"):
            figure = compare_charts.comparison(arms, column, axis, mode)
            live_chart(figure, key=f"compare-{column}", keep=axis)
    table(compare_tables.summary(arms), "Results", "summary", compare_tables.SUMMARY_HELP)


def table(
    frame: pd.DataFrame, caption: str, key: str, helps: Mapping[str, str] | None = None
) -> None:
    """A small table, and how its columns are computed."""
    with st.container(key=f"compare-{key}", gap="small"):
        st.html(html_table.html_table(frame, caption, helps))
        if helps:
            with st.expander("How these numbers are computed"):
                st.markdown("\n".join(f"- **{name}**: {text}" for name, text in helps.items()))


def fronts(arms: Sequence[Arm], metric: Accuracy, axis: Axis, mode: theme.Mode) -> None:
    """Accuracy against cost, and what a level takes."""
    cost: Cost = "total_bits" if axis == "round" else axis
    st.subheader("Accuracy and what it costs", anchor=False)
    level = chosen_level()
    with st.grid(2, min_column_width=360, gap="medium"):
        live_chart(
            compare_fronts.pareto(arms, metric, cost, mode),
            key="compare-pareto",
            keep=f"{metric}-{cost}",
        )
        live_chart(
            compare_fronts.levels(arms, metric, axis, level, mode),
            key="compare-levels",
            keep=f"{metric}-{axis}",
        )
    st.caption(
        "Left: small dots are runs, marks are means with 95 % intervals; nothing on the band is "
        "beaten in accuracy at no more cost. Right: dots are runs, bars their median."
    )
    table(compare_tables.levels(arms, metric, level), f"What {level} % takes", "level-table")


def per_task(arms: Sequence[Arm], axis: Axis, mode: theme.Mode) -> None:
    """Small charts: every task, what exchanges undo, forgetting."""
    st.subheader("Every task on its own, and forgetting", anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        who = chosen_who()
        tasks = chosen_tasks(present_tasks(arms))
    with st.grid(3, min_column_width=240, gap="medium"):
        for task in tasks:
            figure = compare_charts.task_comparison(arms, task, who, axis, mode)
            live_chart(figure, key=f"compare-{task}", keep=f"{axis}-{who}")
        for column in ("exchange_loss", "forgetting"):
            figure = compare_charts.unlabelled(
                compare_charts.comparison(arms, column, axis, mode, compare_charts.SMALL_POINTS)
            )
            live_chart(figure, key=f"compare-{column}", keep=axis)


def significance(paired: Paired, arms: Sequence[Arm], metric: Accuracy) -> None:
    """Paired tests of the groups against that of the reference."""
    st.subheader("Is the difference more than luck?", anchor=False)
    titles = group_titles(arms)
    name = compare_charts.METRICS[metric].lower()
    if not any(test.metric == metric for test in paired.tests):
        st.info(
            "A test needs a second group: choose runs of another config with the same seeds.",
            icon=":material/info:",
        )
        return
    reference = fmt.sentence(titles.get(paired.reference, "the reference")).removesuffix(".")
    st.caption(
        f"Paired by seed: {name} at the end of completed runs, each group minus {reference}. "
        "A test needs at least 2 common seeds. p values are corrected by Holm for the rows of "
        "this table, not for looking at several accuracies."
    )
    found = compare_tables.tests(paired, titles, metric)
    table(found, "Paired tests", "tests", compare_tables.TESTS_HELP)


def group_titles(arms: Sequence[Arm]) -> dict[str, str]:
    """What the tests call each group: the label of its arm, or of the first of its runs."""
    titles: dict[str, str] = {}
    for arm in arms:
        titles.setdefault(arm.members[0].run.group, arm.label)
    return titles


def configs(arms: Sequence[Arm], mode: theme.Mode) -> None:
    """What differs in the configs, as lines to the results and as a table."""
    st.subheader("What differs in the configs", anchor=False)
    if len(arms) > 1:
        live_chart(compare_fronts.parallel(arms, mode), key="compare-parallel")
    if not differing_fields([arm.members[0].config for arm in arms]):
        st.caption("Nothing but name and seed: these runs have equal configs.")
    else:
        table(compare_tables.config_differences(arms, shared=True), "Config differences", "configs")
        rest = compare_tables.config_differences(arms, shared=False)
        if len(rest):
            with st.expander(f"{fmt.count(len(rest), 'field')} that not all of them have"):
                table(rest, "Fields of some", "some-configs")
    with st.expander("Seeds, versions and commits", icon=":material/fingerprint:"):
        runs = [each for arm in arms for each in arm.members]
        table(compare_tables.provenance(runs), "Seeds, versions and commits", "provenance")


# The page


def study_of(run_ids: tuple[int, ...]) -> Seen:
    """The study of these runs; asked for again, sent only if something has changed."""
    seen = compare_client.study(api(), run_ids, st.session_state.get("compare-seen"))
    st.session_state["compare-seen"] = seen
    return seen


def arms_now(choice: compare_rail.Choice, reference: str) -> list[Arm]:
    """The lines of the comparison as things stand."""
    study = study_of(choice.run_ids).study
    return arms_of(study.runs, reference or None, together=choice.together)


def downloads(choice: compare_rail.Choice, reference: str) -> None:
    """Link, report and tables of what is shown."""
    left, right = st.columns(2, gap="small")
    with left:
        copy_link("Copy link", key="compare-share")
    right.download_button(
        "Report",
        lambda: report_of(choice, reference),
        "comparison.html",
        "text/html",
        icon=":material/article:",
        on_click="ignore",
        width="stretch",
        help="One HTML file with charts that hover, tables, configs, seeds and versions. It opens "
        "without a network.",
        key="compare-report",
    )
    forms: tuple[tuple[TableFormat, str, str], ...] = (
        ("csv", "CSV", "text/csv"),
        ("parquet", "Parquet", "application/vnd.apache.parquet"),
    )
    for column, (form, label, mime) in zip(st.columns(2, gap="small"), forms, strict=True):
        column.download_button(
            label,
            partial(compare_client.table, api(), choice.run_ids, form),
            f"comparison.{form}",
            mime,
            icon=":material/download:",
            on_click="ignore",
            width="stretch",
            help="Every round of these runs, one row each, with accuracy per task; its head says "
            "config, seed, versions and commit of each run.",
            key=f"compare-{form}",
        )


def report_of(choice: compare_rail.Choice, reference: str) -> str:
    """The report of what the page shows now."""
    arms = arms_now(choice, reference)
    shown = Shown(
        axis=st.session_state.get("compare-axis", "round"),
        metric=st.session_state.get("compare-metric", "accuracy_all"),
        who=st.session_state.get("compare-who", "all"),
        level=st.session_state.get("compare-level", LEVEL_START),
        tasks=tuple(st.session_state.get("compare-tasks", ())),
        together=choice.together,
    )
    return compare_report.page(arms, paired_of(choice, arms), shown)


def paired_of(choice: compare_rail.Choice, arms: Sequence[Arm]) -> Paired:
    """Groups and tests against the reference."""
    return compare_client.paired(api(), choice.run_ids, arms[0].lead)


def main() -> None:
    """Rail on the left, the comparison on the right."""
    st.title("Compare runs", anchor=False)
    try:
        listed = compare_rail.candidates()
    except ApiProblem as trouble:
        state.show_problem(trouble)
        return
    if not listed:
        st.info("Nothing has run yet, so there is nothing to compare.", icon=":material/info:")
        st.page_link(state.GALLERY, label="Open the gallery", icon=":material/grid_view:")
        return
    # Streamlit's chips are white on the accent, which in the dark is too light for that.
    ink = theme.PAPER.of(state.mode())
    chips = f"<style>span[data-tag-index] * {{ color: {ink} !important; }}</style>"
    st.html(STYLE + html_table.STYLE + chips)
    with st.container(key="compare-layout"):
        rail, stage = st.columns([1, 3.4], gap="medium")
    with rail:
        choice = compare_rail.choose(listed)
        tools = st.container(gap="small")
    with stage:
        if not choice.run_ids:
            st.info(
                "Choose at least one run or group. Good pairs differ in one thing: the method, "
                "the density, or the seed.",
                icon=":material/info:",
            )
            suggestion(listed)
            return
        try:
            arms = arms_now(choice, parameter("ref"))
        except ApiProblem as trouble:
            state.show_problem(trouble)
            return
    with tools:
        reference = compare_rail.pin_reference(arms)
        downloads(choice, reference)
    with stage, state.steady():
        comparison(choice, reference)


def suggestion(listed: Mapping[int, Candidate]) -> None:
    """The newest groups of seeds at one click."""
    newest = list(compare_rail.seed_groups(listed))[-SUGGESTED:]
    if not newest:
        return

    def take() -> None:
        st.session_state["compare-groups"] = newest

    label = f"Compare the newest {fmt.count(len(newest), 'group')} of seeds"
    st.button(label, icon=":material/stacked_line_chart:", on_click=take)


def comparison(choice: compare_rail.Choice, reference: str) -> None:
    """Charts and tables; asks again while runs are under way."""
    runs = study_of(choice.run_ids).study.runs
    under_way = any(each.run.status not in ENDED for each in runs)

    @st.fragment(run_every=POLL_S if under_way else None)
    def live() -> None:
        note = st.container()
        try:
            arms = arms_now(choice, reference)
            paired = paired_of(choice, arms)
        except ApiProblem as problem:
            state.show_problem(problem, where=note)
            return
        members = [each for arm in arms for each in arm.members]
        if under_way and all(each.run.status in ENDED for each in members):
            st.rerun()  # no more questions
        draw(arms, paired, note)

    live()


def draw(arms: Sequence[Arm], paired: Paired, note: st.delta_generator.DeltaGenerator) -> None:
    """All sections of the comparison."""
    mode = state.mode()
    notes(arms, note)
    drawn = [arm for arm in arms if arm.drawn]
    if not drawn:
        return
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        axis = chosen_axis()
        metric = chosen_metric()
    legend(drawn, mode)
    curves(drawn, axis, mode)
    fronts(drawn, metric, axis, mode)
    per_task(drawn, axis, mode)
    significance(paired, drawn, metric)
    configs(drawn, mode)


main()
