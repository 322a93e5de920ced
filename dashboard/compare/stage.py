"""What the view of comparisons shows: charts and tables, and the choices that stand beside them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from typing import TypeVar

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from meshtune.backend.schemas.compare import LEVELS, Accuracy, Axis, Cost, Paired, Shown, Who
from meshtune.dashboard import address, state
from meshtune.dashboard.compare import (
    charts,
    fronts,
    tables,
)
from meshtune.dashboard.compare.arms import (
    BROKEN,
    Arm,
    common_tasks,
    differing_fields,
    present_tasks,
)
from meshtune.dashboard.figures.components import live_chart
from meshtune.dashboard.figures.html_table import html_table
from meshtune.dashboard.look import format as fmt, theme
from meshtune.dashboard.look.handbook import cited
from meshtune.engine import quantities as words
from meshtune.engine.config import TaskName

W = TypeVar("W", bound=str)

AXIS_WORDS: dict[Axis, str] = {
    "round": "Round",
    "total_bits": words.BITS_SENT.word,
    "total_airtime_s": words.AIRTIME.word,
    "total_energy_j": words.TRANSMIT.word,
    "total_wall_s": words.MACHINE_TIME.word,
}
AXIS_SLUGS: dict[str, Axis] = {  # in the address; links of earlier versions have them
    "round": "round",
    "bits": "total_bits",
    "airtime": "total_airtime_s",
    "energy": "total_energy_j",
    "time": "total_wall_s",
}
METRIC_WORDS: dict[Accuracy, str] = {
    "accuracy_all": words.ALL_TASKS.word,
    "accuracy_own": words.OWN_TASK.word,
}
WHO_WORDS: dict[Who, str] = {"all": "All devices", "own": "Devices of the task"}
LEVEL_START = 50  # percent
FIGURES_KEPT = 300  # of all sessions


@st.cache_resource(max_entries=FIGURES_KEPT, show_spinner=False)
def _kept(said: tuple[str, ...], _make: Callable[[], go.Figure]) -> go.Figure:  # noqa: ARG001 - key
    return _make()


def chart(
    scene: str, name: str, make: Callable[[], go.Figure], *said: str, keep_zoom: str = "keep"
) -> None:
    """A chart; made once for all sessions while what it shows is the same.

    Args:
        scene: everything the charts of the page have in common; empty if that may change unseen.
        name: of the chart on the page.
        make: gives the figure.
        said: what else it depends on.
        keep_zoom: changes when the axes change their meaning.
    """
    figure = _kept((scene, name, *said), make) if scene else make()
    live_chart(figure, key=f"compare-{name}", keep=keep_zoom)


def scene_of(arms: Sequence[Arm], tag: str, mode: theme.Mode) -> str:
    """What the charts of a page have in common: the study, its lines, light or dark."""
    return "|".join([tag, mode, *(arm.key for arm in arms)]) if tag else ""


def axis_of(text: str) -> Axis:
    """The horizontal axis of an address."""
    return AXIS_SLUGS.get(text, "round")


def metric_of(text: str) -> Accuracy:
    """The accuracy of an address."""
    return "accuracy_own" if text == "own" else "accuracy_all"


def level_of(text: str) -> int:
    """The level of an address, in percent."""
    given = address.whole_number(text)
    return LEVEL_START if given is None else min(LEVELS, max(1, given))


def _picked(label: str, named: Mapping[W, str], otherwise: W, *, key: str, told: str) -> W:
    """One of some words side by side; its value is the address's or the hand's."""
    picked: W | None = st.segmented_control(
        label, list(named), required=True, format_func=named.__getitem__, key=key, help=cited(told)
    )
    return picked or otherwise


def chosen_axis() -> Axis:
    """The quantity along the horizontal axis; kept in the address."""
    address.follow("compare-axis", "x", axis_of)
    axis = _picked(
        "Against",
        AXIS_WORDS,
        "round",
        key="compare-axis",
        told="Costs are added up from the first round; of a group, the mean over its seeds at "
        "the same round (our choice). Machine time is what the machine took that trained it.",
    )
    slug = next(slug for slug, each in AXIS_SLUGS.items() if each == axis)
    address.keep("compare-axis", "x", axis, slug)
    return axis


def chosen_metric() -> Accuracy:
    """The accuracy of fronts, levels and tests; kept in the address."""
    address.follow("compare-metric", "metric", metric_of)
    metric = _picked(
        "Accuracy",
        METRIC_WORDS,
        "accuracy_all",
        key="compare-metric",
        told="Which accuracy costs, levels and tests below are about (M12).",
    )
    address.keep("compare-metric", "metric", metric, "own" if metric == "accuracy_own" else "")
    return metric


def chosen_who() -> Who:
    """Whose accuracy the charts per task show; kept in the address."""
    address.follow("compare-who", "who", lambda given: "own" if given == "own" else "all")
    who = _picked(
        "Accuracy of",
        WHO_WORDS,
        "all",
        key="compare-who",
        told="All devices answer every task; or only the devices that were trained on it.",
    )
    address.keep("compare-who", "who", who, "own" if who == "own" else "")
    return who


def chosen_tasks(present: Sequence[TaskName]) -> list[TaskName]:
    """Tasks with a chart of their own; kept in the address where not all are shown."""
    address.follow(
        "compare-tasks",
        "tasks",
        lambda given: [task for task in present if task in given.split(",")] or list(present),
    )
    tasks: list[TaskName] = st.pills(
        "Tasks",
        list(present),
        selection_mode="multi",
        format_func=lambda task: theme.TASKS[task].title,
        help="With none chosen all are shown.",
        key="compare-tasks",
    )
    shown = [task for task in present if task in tasks] or list(present)
    whole = len(shown) == len(present)
    address.keep("compare-tasks", "tasks", tasks, "" if whole else ",".join(shown))
    return shown


def chosen_level() -> int:
    """The accuracy to reach, in percent; kept in the address."""
    address.follow("compare-level", "level", level_of)
    level: int = st.slider(
        "Accuracy to reach",
        min_value=1,
        max_value=LEVELS,
        format="%d %%",
        key="compare-level",
        help="Where a run first comes to this accuracy, linear between two evaluations. Runs that "
        "never do count as later than all others in the median.",
    )
    address.keep("compare-level", "level", level, str(level))
    return level


def legend(arms: Sequence[Arm], mode: theme.Mode) -> None:
    """Names of the lines, once for all charts."""
    styles = {"solid": "solid", "dot": "dotted"}
    items = "".join(
        '<span style="display:inline-flex;align-items:center;gap:7px;margin-right:20px">'
        '<span style="width:26px;border-top:3px '
        f'{styles.get(arm.dash, "dashed")} {charts.color_of(arm, mode)}"></span>'
        f"{escape(arm.title)}{' (reference)' if arm.reference else ''}</span>"
        for arm in arms
    )
    st.html(f'<div style="font-size:13px">{items}</div>')


def notes(arms: Sequence[Arm], where: DeltaGenerator) -> None:
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


def curves(arms: Sequence[Arm], shown: Shown, scene: str) -> None:
    """Accuracies against the axis, and the table of last values."""
    axis = shown.axis
    with st.grid(2, min_column_width=360, gap="medium"):
        for column in ("accuracy_own", "accuracy_all"):
            make = partial(charts.comparison, arms, column, axis, state.mode())
            chart(scene, column, make, axis, keep_zoom=axis)
    table(tables.summary(arms), "Results", "summary", tables.SUMMARY_HELP)


def table(
    frame: pd.DataFrame, caption: str, key: str, helps: Mapping[str, str] | None = None
) -> None:
    """A small table, and how its columns are computed."""
    with st.container(key=f"compare-{key}", gap="small"):
        st.html(html_table(frame, caption, helps))
        if helps:
            with st.expander("How these numbers are computed"):
                st.markdown(
                    "\n".join(f"- **{name}**: {cited(text)}" for name, text in helps.items())
                )


def against_cost(arms: Sequence[Arm], shown: Shown, scene: str) -> None:
    """Accuracy against cost, and what a level takes."""
    mode = state.mode()
    axis, metric, level = shown.axis, shown.metric, shown.level
    cost: Cost = "total_bits" if axis == "round" else axis
    with st.grid(2, min_column_width=360, gap="medium"):
        pareto = partial(fronts.pareto, arms, metric, cost, mode)
        chart(scene, "pareto", pareto, metric, cost, keep_zoom=f"{metric}-{cost}")
        levels = partial(fronts.levels, arms, metric, axis, level, mode)
        chart(scene, "levels", levels, metric, axis, str(level), keep_zoom=f"{metric}-{axis}")
    st.caption(
        "Left: small dots are runs, marks are means with 95 % intervals; nothing on the band is "
        "beaten in accuracy at no more cost. Right: dots are runs, bars their median."
    )
    table(tables.levels(arms, metric, level), f"What {level} % takes", "level-table")


def per_task(arms: Sequence[Arm], shown: Shown, scene: str) -> None:
    """Small charts: every task, what exchanges undo, forgetting."""
    mode, axis, who = state.mode(), shown.axis, shown.who
    with st.grid(3, min_column_width=240, gap="medium"):
        for task in shown.tasks:
            make = partial(charts.task_comparison, arms, task, who, axis, mode)
            chart(scene, task, make, axis, who, keep_zoom=f"{axis}-{who}")
        for column in ("exchange_loss", "forgetting"):
            make = partial(charts.comparison, arms, column, axis, mode, small=True)
            chart(scene, column, make, axis, keep_zoom=axis)


def significance(paired: Paired, arms: Sequence[Arm], metric: Accuracy) -> None:
    """Paired tests of the groups against that of the reference."""
    st.subheader("Is the difference more than luck?", anchor=False)
    titles = group_titles(arms)
    name = charts.METRICS[metric].lower()
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
    found = tables.tests(paired, titles, metric)
    table(found, "Paired tests", "tests", tables.TESTS_HELP)


def group_titles(arms: Sequence[Arm]) -> dict[str, str]:
    """What the tests call each group: the label of its arm, or of the first of its runs."""
    titles: dict[str, str] = {}
    for arm in arms:
        titles.setdefault(arm.members[0].run.group, arm.label)
    return titles


def configs(arms: Sequence[Arm], scene: str) -> None:
    """What differs in the configs, as lines to the results and as a table."""
    st.subheader("What differs in the configs", anchor=False)
    if len(arms) > 1:
        chart(scene, "parallel", partial(fronts.parallel, arms, state.mode()))
    if not differing_fields([arm.members[0].config for arm in arms]):
        st.caption("Nothing but name and seed: these runs have equal configs.")
    else:
        table(tables.config_differences(arms, shared=True), "Config differences", "configs")
        rest = tables.config_differences(arms, shared=False)
        if len(rest):
            with st.expander(f"{fmt.count(len(rest), 'field')} that not all of them have"):
                table(rest, "Fields of some", "some-configs")
    with st.expander("Seeds, versions and commits", icon=":material/fingerprint:"):
        runs = [each for arm in arms for each in arm.members]
        table(tables.provenance(runs), "Seeds, versions and commits", "provenance")


@dataclass
class Screen:
    """What the page shows now; charts, report and files are made of this and of nothing else."""

    arms: Sequence[Arm] = ()
    paired: Paired | None = None  # before anything is shown
    shown: Shown = field(default_factory=Shown)


def draw(arms: Sequence[Arm], paired: Paired, note: DeltaGenerator, tag: str) -> Shown:
    """All sections of the comparison; how they are looked at.

    Args:
        arms: the lines, the reference first.
        paired: groups and tests against the reference.
        note: where warnings go.
        tag: names the study that is shown.
    """
    notes(arms, note)
    drawn = [arm for arm in arms if arm.drawn]
    if not drawn:
        return Shown()
    # All choices come first, so that no chart is drawn of a part of them.
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        axis, metric = chosen_axis(), chosen_metric()
    lines, costs, small = st.container(), st.container(), st.container()
    with costs:
        st.subheader("Accuracy and what it costs", anchor=False)
        level = chosen_level()
    with small:
        st.subheader("Every task on its own, and forgetting", anchor=False)
        with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
            who, tasks = chosen_who(), chosen_tasks(present_tasks(drawn))
    shown = Shown(axis=axis, metric=metric, who=who, level=level, tasks=tuple(tasks))
    scene = scene_of(drawn, tag, state.mode())
    with lines:
        legend(drawn, state.mode())
        curves(drawn, shown, scene)
    with costs:
        against_cost(drawn, shown, scene)
    with small:
        per_task(drawn, shown, scene)
    significance(paired, drawn, metric)
    configs(drawn, scene)
    return shown
