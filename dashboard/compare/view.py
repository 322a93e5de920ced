"""Compare: chosen runs and groups of seeds over one another.

`?runs=1,2&groups=0f3a..&x=bits&ref=2&metric=all&level=60` restores the view.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import streamlit as st

from meshtune.backend.schemas.compare import Candidate, Paired
from meshtune.dashboard import address, state, unknown
from meshtune.dashboard.api.client import ApiProblem, api, carried
from meshtune.dashboard.compare import (
    calls,
    rail,
    report,
    stage,
)
from meshtune.dashboard.compare.arms import Arm, arms_of
from meshtune.dashboard.compare.calls import Seen, TableFormat
from meshtune.dashboard.compare.stage import Screen
from meshtune.dashboard.figures import html_table
from meshtune.dashboard.figures.components import copy_link
from meshtune.dashboard.look import format as fmt, theme
from meshtune.engine.records import ENDED

POLL_S = 2.0
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


def study_of(run_ids: tuple[int, ...]) -> Seen:
    """The study of these runs; asked for again, sent only if something has changed."""
    seen = calls.study(api(), run_ids, st.session_state.get("compare-seen"))
    st.session_state["compare-seen"] = seen
    return seen


def arms_now(choice: rail.Choice, reference: str) -> list[Arm]:
    """The lines of the comparison as things stand."""
    study = study_of(choice.run_ids).study
    return arms_of(study.runs, reference or None, together=choice.together)


def downloads(choice: rail.Choice, screen: Screen) -> None:
    """Link, report and tables of what is shown.

    The browser asks for a file in a thread that knows no session, so all comes from `screen`.
    """
    left, right = st.columns(2, gap="small")
    with left:
        copy_link("Copy link", key="compare-share")
    right.download_button(
        "Report",
        carried(lambda: report_of(screen)),
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
            partial(calls.table, api(), choice.run_ids, form),
            f"comparison.{form}",
            mime,
            icon=":material/download:",
            on_click="ignore",
            width="stretch",
            help="Every round of these runs, one row each, with accuracy per task; its head says "
            "config, seed, versions and commit of each run.",
            key=f"compare-{form}",
        )


def report_of(screen: Screen) -> str:
    """The report of what the page shows now."""
    if screen.paired is None:
        raise ValueError("nothing is shown yet, so there is no report")
    return report.page(screen.arms, screen.paired, screen.shown)


def paired_of(choice: rail.Choice, arms: Sequence[Arm]) -> Paired:
    """Groups and tests against the reference."""
    return calls.paired(api(), choice.run_ids, arms[0].lead)


def main() -> None:
    """Rail on the left, the comparison on the right."""
    st.title("Compare runs", anchor=False)
    try:
        listed = rail.candidates()
    except ApiProblem as trouble:
        state.to_the_door(trouble)
        unknown.show(trouble.detail, unknown.run_ways(state.COMPARE, "runs"))
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
        left, right = st.columns([1, 3.4], gap="medium")
    with left:
        choice = rail.choose(listed)
        tools = st.container(gap="small")
    with right:
        arms = chosen_arms(choice, listed)
    if not arms:
        return
    with tools:
        reference = rail.pin_reference(arms)
        screen = Screen()
        downloads(choice, screen)
    with right, state.steady():
        comparison(choice, reference, screen)


def chosen_arms(choice: rail.Choice, listed: Mapping[int, Candidate]) -> list[Arm]:
    """The lines of what is chosen; none, and why, where there is nothing to compare."""
    if not choice.run_ids:
        st.info(
            "Choose at least one run or group. Good pairs differ in one thing: the method, "
            "the density, or the seed.",
            icon=":material/info:",
        )
        suggestion(listed)
        return []
    try:
        return arms_now(choice, address.asked("ref"))
    except ApiProblem as trouble:
        state.show_problem(trouble)
        return []


def suggestion(listed: Mapping[int, Candidate]) -> None:
    """The newest groups of seeds at one click."""
    newest = list(rail.seed_groups(listed))[-SUGGESTED:]
    if not newest:
        return

    def take() -> None:
        st.session_state["compare-groups"] = newest

    label = f"Compare the newest {fmt.count(len(newest), 'group')} of seeds"
    st.button(label, icon=":material/stacked_line_chart:", on_click=take)


def comparison(choice: rail.Choice, reference: str, screen: Screen) -> None:
    """Charts and tables, told to `screen`; asks again while runs are under way."""
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
        shown = stage.draw(arms, paired, note, st.session_state["compare-seen"].tag)
        screen.arms, screen.paired = arms, paired
        screen.shown = shown.model_copy(update={"together": choice.together})

    live()


main()
