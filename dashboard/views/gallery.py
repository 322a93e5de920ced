"""Gallery: presets to run with one click, and what ran lately."""

from itertools import groupby

import streamlit as st

from backend.schemas import PresetOut, RunSummary
from dashboard import format as fmt
from dashboard import state, theme
from dashboard.client import ApiProblem, api
from dashboard.maps import picture_svg

RECENT = 12


def card(preset: PresetOut) -> None:
    """One preset: question, picture, what to watch, how long it takes."""
    with st.container(border=True, height="stretch", key=f"card-{preset.name}"):
        with st.container(height="stretch"):  # pushes the buttons of all cards to one line
            st.subheader(preset.title, anchor=False)
            st.markdown(preset.question)
            picture(preset)
            st.caption(f"**What to watch** {preset.watch}")
            fleet = preset.config.fleet
            st.caption(
                f"{fmt.count(fleet.devices, 'device')} · "
                f"{fmt.count(len(fleet.present_tasks()), 'task')} · "
                f"{fmt.count(preset.config.rounds, 'round')} · {preset.duration}"
            )
        with st.container(horizontal=True):
            if st.button(
                "Run", key=f"run-{preset.name}", type="primary", icon=":material/play_arrow:"
            ):
                state.start_run(api(), preset.config)
            if st.button("Open in Design", key=f"design-{preset.name}"):
                state.go_to(state.DESIGN, preset=preset.name)


def picture(preset: PresetOut) -> None:
    """The mesh of a preset; without one when the API cannot draw it now."""
    try:
        plan = state.plan_of(preset.config).plan
    except ApiProblem:
        plan = None
    if plan is None:
        st.caption("No picture: the API could not place the devices.")
    else:
        st.image(picture_svg(plan, state.mode()), width="stretch")


def recent(runs: list[RunSummary]) -> None:
    """What ran lately, newest first."""
    if not runs:
        st.info("Nothing has run yet. Press Run on a card above.", icon=":material/info:")
        return
    for run in runs:
        look = theme.STATUSES[run.status]
        status, name, facts, when = st.columns(
            [1, 2, 6, 1], vertical_alignment="center", gap="small"
        )
        status.badge(look.title, icon=look.icon, color=look.badge)
        name.page_link(state.RUN, label=f"{run.name} #{run.id}", query_params={"run": str(run.id)})
        facts.caption(
            f"{theme.method_look(run.method).title} · seed {run.seed} · "
            f"round {run.rounds_done}/{run.rounds_total} · own {fmt.percent(run.accuracy_own)} · "
            f"all {fmt.percent(run.accuracy_all)} · {fmt.bits(run.sent_bits)}"
        )
        when.caption(fmt.ago(run.created_at))


st.title("What happens when phones teach each other?", anchor=False)
st.markdown(
    "Each preset is an experiment on a real language model. Run one, watch it learn, then compare."
)
try:
    presets = api().presets()
    latest = api().runs(limit=RECENT).runs
except ApiProblem as problem:
    state.show_problem(problem)
    st.button("Try again", icon=":material/refresh:")
    st.stop()

for group, members in groupby(presets, key=lambda preset: preset.group):
    st.header(group, anchor=False)
    with st.grid(3, min_column_width=300, gap="medium"):
        for each in members:
            card(each)

st.header("Recent runs", anchor=False)
recent(latest)
