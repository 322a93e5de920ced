"""Run: one experiment, live while it trains, whole when it has ended. `?run=ID` says which."""

import pandas as pd
import streamlit as st

from meshtune.backend.schemas.compare import RunCurves
from meshtune.backend.schemas.runs import RunDetail
from meshtune.dashboard import address, door, state, unknown
from meshtune.dashboard.api.client import ApiClient, ApiProblem, api
from meshtune.dashboard.compare.calls import study
from meshtune.dashboard.figures.components import mark_round
from meshtune.dashboard.figures.frames import History
from meshtune.dashboard.look import format as fmt, theme
from meshtune.dashboard.run import bar, beginning, depth, layout, log, parts, tabs
from meshtune.dashboard.run.findings import Finding, findings
from meshtune.dashboard.run.replay import TICK_S, Replay, controls
from meshtune.engine.records import ENDED, RunStatus

FILES = "run-files"  # whether the files of the run are below what moves
POLL_S = 0.25  # between looks at a run that is under way; a new round is drawn within half a second
ALL_PAGES = 1_000_000
NEXT_STEP = {
    RunStatus.FAILED: "Retry goes on after the last finished round; if it fails again, "
    "look at the worker's log.",
    RunStatus.DIVERGED: "The rounds before are kept. Clone and edit it: lower the learning rate.",
    RunStatus.CANCELLED: "The rounds before are kept. Clone and edit it to run it again.",
}


def chosen_run(client: ApiClient) -> RunDetail:
    """The run of the address, else the newest; stops the page when there is none."""
    wanted = address.asked("run")
    if not wanted:
        newest = client.runs(limit=1).runs
        if not newest:
            st.title("No run yet", anchor=False)
            st.info("Start one in the gallery: one click, about a minute.", icon=":material/info:")
            st.page_link(state.GALLERY, label="Open the gallery", icon=":material/grid_view:")
            st.stop()
        wanted = st.query_params["run"] = str(newest[0].id)
    number = address.whole_number(wanted)
    if number is None:
        raise ApiProblem("RunNotFound", unknown.no_number("run", wanted))
    return client.run(number)


def deleted(run_id: int) -> None:
    """Where a run was: the way back."""
    st.title(f"Run {run_id}", anchor=False)
    st.info("This run was deleted. It can be brought back for a day.", icon=":material/delete:")
    if st.button(
        "Undo", icon=":material/undo:", key="restore", type="primary", **door.lock("admin")
    ):
        bar.do(lambda: api().restore(run_id))


def reason(run: RunDetail) -> None:
    """Why a run ended early, and what to do next."""
    if run.status not in NEXT_STEP:
        return
    text = f"{fmt.sentence(run.reason or 'no reason was stored')} {NEXT_STEP[run.status]}"
    show = st.info if run.status is RunStatus.CANCELLED else st.error
    show(text, icon=theme.STATUSES[run.status].icon)


def waiting(client: ApiClient) -> None:
    """A queued run: what it waits for."""
    if client.health().workers:
        st.info("Waiting for a worker: it is busy with an earlier run.", icon=":material/schedule:")
    else:
        st.warning(
            "No worker is alive, so nothing trains. Start one with `meshtune worker`, or "
            "everything with `make up`.",
            icon=":material/warning:",
        )


try:
    opened = chosen_run(api())
except ApiProblem as trouble:
    state.to_the_door(trouble)
    if trouble.error == "RunDeleted":
        deleted(int(trouble.context["run_id"]))
        st.page_link(state.GALLERY, label="Open the gallery", icon=":material/grid_view:")
    else:
        unknown.show(trouble.detail, unknown.run_ways(state.RUN, "run"))
    st.stop()

active = opened.status not in ENDED
replay = Replay(opened.id)
ticks = TICK_S if replay.playing else POLL_S if active else None


@st.fragment(run_every=ticks)
def live() -> None:
    """Everything that moves; asks only for rounds after the last one seen."""
    top = st.container(key="run-bar")
    note = st.container()  # a fixed place: an element that appears above would remount what follows
    client = api()
    run = opened
    history = state.history_of(run.id)
    try:
        run = client.run(opened.id)
        history = state.follow(client, run, pages=state.PAGES_PER_TICK if active else ALL_PAGES)
        if run.status is RunStatus.QUEUED:
            with note:
                waiting(client)
    except ApiProblem as problem:
        state.show_problem(problem, where=note)
    done = history.last_round_index + 1
    if active and run.status in ENDED and done >= run.rounds_done:
        st.rerun()  # no more ticks
    with note:
        reason(run)
        if run.status is RunStatus.PAUSED:
            halted = f"Paused. Resume goes on after round {run.rounds_done}."
            st.info(halted if run.rounds_done else "Paused.", icon=":material/pause_circle:")
    with top:
        bar.head(run, done)
        shown = controls(replay, done) if done else 0
        with st.container(key="run-marker"):
            mark_round(shown if done > 1 else None, key="marker")
    with st.container(horizontal=True, vertical_alignment="center", key="run-tabs"):
        tab = tabs.choose()
        bar.origin(run)
    files_below(tab)
    try:
        body(run, history, tab, shown)
    except ApiProblem as problem:
        state.show_problem(problem, where=note)


def body(run: RunDetail, history: History, tab: tabs.Tab, shown: int) -> None:
    """The chosen part of the run."""
    if run.note:
        st.text(run.note)
    if tab == "data":
        log.events(run)
    elif history.rounds or tab == "watch":
        drawn(run, history.round_frame(), tab, shown)
    else:
        st.caption("Nothing yet: this begins with the first finished round.")


def drawn(run: RunDetail, rounds: pd.DataFrame, tab: tabs.Tab, shown: int) -> None:
    """What was found, pictures and numbers; before the first round, what is planned."""
    # the same places before and after the first round, so that the map stays the same map
    found, pictures = st.container(horizontal=True, key="findings"), st.container()
    if tab == "watch" and rounds.empty:
        beginning.show(run, found, pictures)
        return
    if tab == "watch":
        with layout.panes("tiles"):
            tiles = layout.panes("numbers")
            base_id = parts.choose_baseline(run)
        curves, base = studied(run.id, base_id)
        with pictures:
            parts.round_pictures(run, curves, shown)
        with tiles:
            parts.numbers(rounds, curves, base, shown)
    else:
        curves, _ = studied(run.id, None)
        with pictures:
            depth.show(run, curves, rounds, tab, shown)
    with found:
        findings_line(findings(curves, rounds, run.config, ended=run.status in ENDED), len(rounds))


def findings_line(found: list[Finding], done: int) -> None:
    """What came out, in words; each leads to the part and the round where it can be seen."""
    for place, each in enumerate(found):
        st.button(
            each.text,
            type="tertiary",
            key=f"finding-{place}",
            on_click=lead,
            args=(each, done),
        )


def lead(finding: Finding, done: int) -> None:
    """Go to where a finding can be seen; the newest round is followed."""
    tabs.go(finding.tab)
    replay.go(finding.round if finding.round < done else None)


def files_below(tab: tabs.Tab) -> None:
    """The files of a run stand outside of what moves: those would be offered anew all the time."""
    wanted = tab == "data"
    if st.session_state[FILES] is not wanted:
        st.session_state[FILES] = wanted
        st.rerun()


def studied(run_id: int, base_id: int | None) -> tuple[RunCurves, RunCurves | None]:
    """Curves of the run and of its baseline; asked anew only when something has changed."""
    wanted = [run_id, base_id] if base_id else [run_id]
    seen = study(api(), wanted, st.session_state.get("run-study"))
    st.session_state["run-study"] = seen
    found = seen.study.runs
    return found[0].curves, found[1].curves if base_id else None


st.session_state.setdefault(FILES, tabs.tab_of(address.asked("tab")) == "data")
with state.steady():
    layout.style(state.mode())
    live()
    if st.session_state[FILES]:
        log.config_and_data(opened)
