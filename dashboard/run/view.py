"""Run: one experiment, live while it trains, whole when it has ended. `?run=ID` says which."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st
import tomli_w

from meshtune.backend.schemas.compare import RunCurves
from meshtune.backend.schemas.runs import RunDetail
from meshtune.dashboard import address, door, state, unknown
from meshtune.dashboard.api import bundles
from meshtune.dashboard.api.client import ApiClient, ApiProblem, api, carried
from meshtune.dashboard.compare.calls import study
from meshtune.dashboard.figures.components import mark_round
from meshtune.dashboard.figures.frames import History
from meshtune.dashboard.look import format as fmt, theme
from meshtune.dashboard.run import parts
from meshtune.dashboard.run.replay import TICK_S, Replay, controls
from meshtune.engine.records import ENDED, RunStatus

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


def deleted(run_id: int) -> None:
    """Where a run was: the way back."""
    st.title(f"Run {run_id}", anchor=False)
    st.info("This run was deleted. It can be brought back for a day.", icon=":material/delete:")
    if st.button(
        "Undo", icon=":material/undo:", key="restore", type="primary", **door.lock("admin")
    ):
        do(lambda: api().restore(run_id))


def header(run: RunDetail) -> None:
    """Name and actions; the moving parts are below."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.title(fmt.literal(run.name), anchor=False, width="stretch")
        steering(run)
        if st.button("Clone and edit", icon=":material/content_copy:", key="clone"):
            state.go_to(state.DESIGN, clone=str(run.id))
        if st.button("Compare", icon=":material/stacked_line_chart:", key="compare"):
            state.go_to(state.COMPARE, runs=str(run.id))
        keeping(run)
    origin = f" · cloned from run {run.cloned_from}" if run.cloned_from else ""
    st.caption(
        f"Run {run.id} · {theme.method_look(run.method).title} · seed {run.seed} · "
        f"{fmt.count(run.devices, 'device')} · created {fmt.ago(run.created_at)}{origin}"
    )
    if run.note:
        st.text(run.note)


def status_line(run: RunDetail, seen_rounds: int) -> None:
    """Where the run stands, and how long it will take."""
    look = theme.STATUSES[run.status]
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="run-status"):
        st.badge(look.title, icon=look.icon, color=look.badge)
        words = [f"round {run.rounds_done}/{run.rounds_total}"]
        if run.status is RunStatus.RUNNING:
            words.append(f"{fmt.seconds(run.seconds_left)} left" if run.seconds_left else "")
            words.append("cancelling after this step" if run.cancel_requested else "")
            words.append("pausing after this step" if run.pause_requested else "")
        st.markdown(" · ".join(word for word in words if word), width="stretch")
    if run.status is RunStatus.RUNNING:
        share = (run.rounds_done + run.progress) / max(run.rounds_total, 1)
        st.progress(min(1.0, share))
    if seen_rounds < run.rounds_done:
        st.caption(f"Loading rounds: {seen_rounds} of {run.rounds_done}.")


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


def first_round(run: RunDetail) -> None:
    """Nothing to draw yet: the places of what will come."""
    if run.status is RunStatus.RUNNING:
        st.caption(f"Training the first round: {fmt.percent(run.progress, 0)} of its steps done.")
    with st.grid(5, min_column_width=200):
        for _ in range(5):
            st.skeleton(96)
    with st.grid(2, min_column_width=420, gap="medium"):
        st.skeleton(theme.LARGE)
        st.skeleton(theme.LARGE)


def events(run: RunDetail) -> None:
    """What happened to the run, newest first."""
    st.subheader("Events", anchor=False)
    table = pd.DataFrame(
        [
            {
                "time": f"{e.at:%H:%M:%S}",
                "event": e.kind.replace("_", " "),
                "by": e.actor,
                "detail": e.detail or "",
            }
            for e in reversed(run.events)
        ],
        columns=["time", "event", "by", "detail"],
    )
    st.dataframe(table, hide_index=True, height=min(220, 38 + 35 * max(1, len(table))))


def config_and_data(run: RunDetail) -> None:
    """The records as files, the whole config, and what the run ran on."""
    st.subheader("Config and data", anchor=False)
    downloads(run)
    adapter_download(run)
    with st.expander("Config as TOML"):
        st.code(tomli_w.dumps(run.config.model_dump(mode="json")), language="toml")
    if run.provenance is not None:
        with st.expander("Versions and machine"):
            facts = run.provenance.model_dump().items()
            st.table(
                pd.DataFrame(
                    [(key, fmt.plain(value)) for key, value in facts], columns=["what", "value"]
                )
            )


def downloads(run: RunDetail) -> None:
    """The run as files."""
    name = "".join(c if c.isalnum() else "-" for c in run.name).strip("-") or "run"
    with st.container(horizontal=True):
        st.download_button(
            "Rounds as CSV",
            carried(lambda: api().export(run.id, "csv")),
            f"{name}-{run.id}.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
        )
        st.download_button(
            "Records as JSON lines",
            carried(lambda: api().export(run.id, "jsonl")),
            f"{name}-{run.id}.jsonl",
            "application/x-ndjson",
            icon=":material/download:",
            on_click="ignore",
        )
        st.download_button(
            "Bundle",
            carried(lambda: bundles.taken(api(), run.id)),
            f"{name}-{run.id}.zip",
            "application/zip",
            icon=":material/deployed_code:",
            on_click="ignore",
            help="Config, rounds, checkpoint and adapters in one file. Another Meshtune takes it "
            "at the end of its gallery.",
        )


def adapter_download(run: RunDetail) -> None:
    """An adapter of the run, chosen here, as a folder that PEFT loads."""
    fleet = run.config.fleet
    choices: dict[str, dict[str, Any]] = {"All devices": {}}
    choices |= {
        f"Device {each}, {theme.TASKS[fleet.task_of(each)].title}": {"device": each}
        for each in range(fleet.devices)
    }
    choices |= {f"Best at {theme.TASKS[t].title}": {"expert": t} for t in fleet.present_tasks()}
    choices["Mean of all"] = {"merged": True}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox("Adapter", choices, key="adapter", width=240)
        st.download_button(
            "Adapter for PEFT",
            carried(lambda: bundles.adapters(api(), run.id, **choices[chosen])),
            f"adapters-{run.id}.zip",
            "application/zip",
            icon=":material/extension:",
            on_click="ignore",
            disabled=run.rounds_done == 0,
            help="A zip file that plain peft loads on the same language model, with a card of what "
            "it is. See Handbook, Bring your model.",
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

header(opened)
active = opened.status not in ENDED


replay = Replay(opened.id)
ticks = TICK_S if replay.playing else POLL_S if active else None


@st.fragment(run_every=ticks)
def live() -> None:
    """Everything that moves; asks only for rounds after the last one seen."""
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
    if run.status is not opened.status and RunStatus.PAUSED in {run.status, opened.status}:
        st.rerun()  # other buttons
    if active and run.status in ENDED and history.last_round_index + 1 >= run.rounds_done:
        st.rerun()
    with note:
        reason(run)
        if run.status is RunStatus.PAUSED:
            halted = f"Paused. Resume goes on after round {run.rounds_done}."
            st.info(halted if run.rounds_done else "Paused.", icon=":material/pause_circle:")
    with st.container():  # a fixed place as well: the bar of a running run goes when it ends
        status_line(run, history.last_round_index + 1)
    if not history.rounds:
        if run.status not in ENDED:
            first_round(run)
    else:
        try:
            body(run, history)
        except ApiProblem as problem:
            state.show_problem(problem, where=note)
    events(run)


def body(run: RunDetail, history: History) -> None:
    """Numbers, pictures and curves, once there is a finished round."""
    rounds = history.round_frame()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        base_id = parts.choose_baseline(run)
    curves, base = studied(run.id, base_id)
    shown = controls(replay, history.last_round_index + 1)
    mark_round(shown if len(rounds) > 1 else None, key="marker")
    parts.numbers(rounds, curves, base, shown)
    parts.round_pictures(run, shown)
    parts.curves_of(run, curves, rounds)


def studied(run_id: int, base_id: int | None) -> tuple[RunCurves, RunCurves | None]:
    """Curves of the run and of its baseline; asked anew only when something has changed."""
    wanted = [run_id, base_id] if base_id else [run_id]
    seen = study(api(), wanted, st.session_state.get("run-study"))
    st.session_state["run-study"] = seen
    found = seen.study.runs
    return found[0].curves, found[1].curves if base_id else None


with state.steady():
    live()
config_and_data(opened)
