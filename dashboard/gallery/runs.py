"""What ran lately: found by words and status, deleted by mistake and undone, brought from afar."""

import streamlit as st

from meshtune.backend.schemas.runs import RunSummary
from meshtune.dashboard import door, state
from meshtune.dashboard.api import bundles
from meshtune.dashboard.api.client import ApiClient, ApiProblem, api
from meshtune.dashboard.look import format as fmt, theme
from meshtune.engine import quantities as words
from meshtune.engine.records import RunStatus

RECENT = 12
MOST = 200  # the API's largest page
REFRESH_S = 2.0


def recent_runs(*, any_live: bool) -> None:
    """The filter, the runs it leaves, the deleted ones, and the door for bundles."""
    text, statuses = filters()
    period = REFRESH_S if any_live else None
    st.fragment(_listed, run_every=period)(text, statuses)
    deleted_lately(api())
    bring_in(api())


def filters() -> tuple[str, list[RunStatus]]:
    """Words and statuses that a run in the list must have."""
    line = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    text = line.text_input(
        "Find runs",
        key="find-text",
        placeholder="Part of name, method, note or reason",
        icon=":material/search:",
        width=320,
    )
    chosen = line.pills(
        "Status",
        list(RunStatus),
        selection_mode="multi",
        format_func=lambda each: theme.STATUSES[each].title,
        key="find-status",
        width="content",
    )
    return text.strip(), chosen


def _listed(text: str, statuses: list[RunStatus]) -> None:
    shown = st.session_state.get("runs-shown", RECENT)
    only = {"text": text} if text else {}
    try:
        page = api().runs(limit=shown, **only, status=[each.value for each in statuses])
    except ApiProblem as problem:
        state.show_problem(problem)
        return
    if not page.runs:
        nothing(filtered=bool(text or statuses))
        return
    for run in page.runs:
        row(run)
    if page.next_before and shown < MOST:
        if st.button("Show more", icon=":material/expand_more:", key="runs-more"):
            st.session_state["runs-shown"] = min(2 * shown, MOST)
            st.rerun(scope="fragment")
    elif page.next_before:
        st.caption(f"These are the newest {MOST}; find older ones by words or status.")


def nothing(*, filtered: bool) -> None:
    """Why the list is empty, and what to do."""
    if filtered:
        st.info("No run fits. Use other words, or fewer statuses.", icon=":material/search_off:")
    else:
        st.info("Nothing has run yet. Press Run on a card above.", icon=":material/info:")


def row(run: RunSummary) -> None:
    """One run in one line."""
    look = theme.STATUSES[run.status]
    status, name, facts, when = st.columns([3, 4, 11, 2], vertical_alignment="center", gap="small")
    status.badge(look.title, icon=look.icon, color=look.badge)
    name.page_link(
        state.RUN,
        label=f"{fmt.literal(run.name)} #{run.id}",
        query_params={"run": str(run.id)},
    )
    facts.caption(
        f"{theme.method_look(run.method).title} · seed {run.seed} · "
        f"round {run.rounds_done}/{run.rounds_total} · "
        f"{words.OWN_TASK.small} {fmt.percent(run.accuracy_own)} · "
        f"{words.ALL_TASKS.small} {fmt.percent(run.accuracy_all)} · "
        f"{words.BITS_SENT.small} {fmt.bits(run.sent_bits)}"
    )
    when.caption(fmt.ago(run.created_at))


def deleted_lately(client: ApiClient) -> None:
    """Runs that can still be brought back."""
    try:
        runs = client.runs(limit=MOST, deleted=True).runs
    except ApiProblem as problem:
        state.show_problem(problem)
        return
    if not runs:
        return
    with st.expander(f"Deleted lately ({len(runs)})", icon=":material/delete:"):
        st.caption("A deleted run is kept for a day after it was deleted, then it is gone.")
        for run in runs:
            undo, name, when = st.columns([1, 5, 2], vertical_alignment="center", gap="small")
            name.markdown(f"{fmt.literal(run.name)} #{run.id}")
            when.caption(f"deleted {fmt.ago(run.deleted_at)}" if run.deleted_at else "")
            if undo.button(
                "Undo", icon=":material/undo:", key=f"undo-{run.id}", **door.lock("admin")
            ):
                restore(client, run.id)


def restore(client: ApiClient, run_id: int) -> None:
    """Bring a run back into the list; say why if that fails."""
    try:
        client.restore(run_id)
    except ApiProblem as problem:
        state.show_problem(problem)
    else:
        st.rerun()


def bring_in(client: ApiClient) -> None:
    """A run from the bundle of another Meshtune."""
    with st.expander("Bring in a run from a bundle", icon=":material/upload:"):
        with st.form("bring-in", border=False, clear_on_submit=True):
            file = st.file_uploader(
                "Bundle",
                type=["zip", "meshtune"],
                help="The file that *Bundle* gives at the end of the Run view of another Meshtune, "
                "or `meshtune export`. Every file in it is checked before anything is stored.",
            )
            sent = st.form_submit_button("Bring in", icon=":material/upload:", **door.lock("admin"))
        if not sent:
            return
        if file is None:
            st.error("Choose the file of a bundle first.", icon=":material/error:")
            return
        try:
            with st.spinner("Checking and storing the bundle ..."):
                run = bundles.bring_in(client, file.getvalue())
        except ApiProblem as problem:
            state.show_problem(problem)
            return
        state.go_to(state.RUN, run=str(run.id))
