"""The bar over a run that always stays: its name, where it is, and what can be asked of it."""

from collections.abc import Callable

import streamlit as st

from meshtune.backend.schemas.runs import RunDetail
from meshtune.dashboard import door, state
from meshtune.dashboard.api.client import ApiProblem, api
from meshtune.dashboard.look import format as fmt, theme
from meshtune.engine.records import ENDED, RunStatus


def do(call: Callable[[], object]) -> None:
    """Ask for a change of a run, which may have ended by itself in the meantime."""
    try:
        call()
    except ApiProblem as problem:
        state.show_problem(problem)
    else:
        st.rerun()


def steering(run: RunDetail) -> None:
    """What can be asked of a run where it stands."""
    client = api()
    if run.status in {RunStatus.QUEUED, RunStatus.RUNNING} and st.button(
        "Pause", icon=":material/pause_circle:", key="pause", **door.lock("run")
    ):
        do(lambda: client.pause(run.id))
    if run.status is RunStatus.PAUSED and st.button(
        "Resume", icon=":material/play_circle:", key="resume", type="primary", **door.lock("run")
    ):
        do(lambda: client.resume(run.id))
    if run.status is RunStatus.FAILED and st.button(
        "Retry", icon=":material/replay:", key="retry", type="primary", **door.lock("run")
    ):
        do(lambda: client.retry(run.id))
    if run.status not in ENDED:
        with st.popover("Cancel", icon=":material/stop_circle:"):
            st.markdown("Stop this run? Its finished rounds are kept; it cannot be continued.")
            if st.button("Cancel the run", type="primary", key="cancel", **door.lock("run")):
                do(lambda: client.cancel(run.id))


def keeping(run: RunDetail) -> None:
    """Note and deletion."""
    with st.popover("More", icon=":material/more_vert:"):
        with st.form("keeping", border=False):
            note = st.text_area("Note", run.note or "", key=f"note-{run.id}")
            if st.form_submit_button(
                "Save the note", icon=":material/edit_note:", key="save-note", **door.lock("run")
            ):
                do(lambda: api().patch(run.id, note=note))
        if run.status is RunStatus.RUNNING:
            st.caption("A running run cannot be deleted; cancel it first.")
        else:
            st.caption("A deleted run can be brought back for a day.")
        if st.button(
            "Delete the run",
            icon=":material/delete:",
            key="delete",
            **door.lock("admin", disabled=run.status is RunStatus.RUNNING),
        ):
            do(lambda: api().delete(run.id))


def head(run: RunDetail, seen_rounds: int) -> None:
    """Name, state and actions, in one line."""
    with st.container(horizontal=True, vertical_alignment="center", key="run-head"):
        st.title(fmt.literal(run.name), anchor=False, width="stretch")
        status_line(run, seen_rounds)
        steering(run)
        if st.button("Clone and edit", icon=":material/content_copy:", key="clone"):
            state.go_to(state.DESIGN, clone=str(run.id))
        if st.button("Compare", icon=":material/stacked_line_chart:", key="compare"):
            state.go_to(state.COMPARE, runs=str(run.id))
        keeping(run)
    if run.status is RunStatus.RUNNING:
        st.progress(min(1.0, (run.rounds_done + run.progress) / max(run.rounds_total, 1)))


def status_line(run: RunDetail, seen_rounds: int) -> None:
    """Where the run stands, and how long it will take."""
    look = theme.STATUSES[run.status]
    with st.container(horizontal=True, vertical_alignment="center", key="run-status"):
        st.badge(look.title, icon=look.icon, color=look.badge)
        words = [f"round {run.rounds_done}/{run.rounds_total}"]
        if run.status is RunStatus.RUNNING:
            words.append(f"{fmt.seconds(run.seconds_left)} left" if run.seconds_left else "")
            words.append("cancelling after this step" if run.cancel_requested else "")
            words.append("pausing after this step" if run.pause_requested else "")
        if seen_rounds < run.rounds_done:
            words.append(f"loading rounds: {seen_rounds} of {run.rounds_done}")
        st.markdown(" · ".join(word for word in words if word))


def origin(run: RunDetail) -> None:
    """What kind of run it is, and where it comes from."""
    cloned = f" · cloned from run {run.cloned_from}" if run.cloned_from else ""
    with st.container(key="run-origin"):
        st.caption(
            f"Run {run.id} · {theme.method_look(run.method).title} · seed {run.seed} · "
            f"{fmt.count(run.devices, 'device')} · created {fmt.ago(run.created_at)}{cloned}"
        )
