"""Gallery: presets to run with one click, what they gave, and what ran lately."""

from itertools import groupby

import streamlit as st

from meshtune.backend.schemas.runs import PresetOut
from meshtune.dashboard import door, state
from meshtune.dashboard.api.client import ApiProblem, api
from meshtune.dashboard.figures.maps import picture_svg
from meshtune.dashboard.gallery import runs
from meshtune.dashboard.gallery.pictures import result_line, result_svg, result_text, side_by_side
from meshtune.dashboard.look import format as fmt
from meshtune.dashboard.look.handbook import cited
from meshtune.engine.plans import Plan
from meshtune.engine.records import RunStatus


def card(preset: PresetOut) -> None:
    """One preset: question, picture, what to watch, how long it takes."""
    plan = plan_of(preset)
    with st.container(border=True, height="stretch", key=f"card-{preset.name}"):
        with st.container(height="stretch"):  # pushes the buttons of all cards to one line
            st.subheader(preset.title, anchor=False)
            st.markdown(preset.question)
            picture(preset, plan)
            st.caption(f"**What to watch** {preset.watch}")
            fleet = preset.config.fleet
            st.caption(
                f"{fmt.count(fleet.devices, 'device')} · "
                f"{fmt.count(len(fleet.present_tasks()), 'task')} · "
                f"{fmt.count(preset.config.rounds, 'round')} · {duration(preset, plan)}",
                help=cited(
                    "The time is the plan's for this machine (M29); beside it what the stored run "
                    "took where it was recorded. The picture is that run: one seed, accuracy in "
                    "percent."
                ),
            )
        with st.container(horizontal=True):
            if st.button(
                "Run",
                key=f"run-{preset.name}",
                type="primary",
                icon=":material/play_arrow:",
                **door.lock("run"),
            ):
                state.start_run(api(), preset.config)
            if st.button("Open in Design", key=f"design-{preset.name}"):
                state.go_to(state.DESIGN, preset=preset.name)


def plan_of(preset: PresetOut) -> Plan | None:
    """The plan of a preset; None when the API cannot make it now."""
    try:
        return state.plan_of(preset.config).plan
    except ApiProblem:
        return None


def duration(preset: PresetOut, plan: Plan | None) -> str:
    """How long the preset takes here, beside what its stored run took or its author measured."""
    took = preset.duration
    if preset.result is not None:
        took = f"{fmt.seconds(preset.result.wall_s)} when stored"
    return took if plan is None else f"about {fmt.seconds(plan.wall_s)} here ({took})"


def picture(preset: PresetOut, plan: Plan | None) -> None:
    """The mesh of the preset, and what it gave."""
    shown = []
    if plan is None:
        st.caption("No picture of the mesh: the API could not place the devices.")
    else:
        devices = fmt.count(len(plan.devices), "device")
        links = fmt.count(len({frozenset((k.receiver, k.sender)) for k in plan.links}), "link")
        shown.append((picture_svg(plan, state.mode()), f"The mesh: {devices}, {links}", 0.34))
    if preset.result is None:
        st.caption("No stored result yet: run it to see one.")
    else:
        svg = result_svg(preset.result, state.mode())
        shown.append((svg, result_text(preset.result), 0.66))
    if shown:
        st.html(side_by_side(*shown))
    if preset.result is not None:
        st.caption(result_line(preset.result))


st.title("What happens when phones teach each other?", anchor=False)
st.markdown(
    "Each preset is an experiment on a real language model; its picture is what came out when it "
    "was run for this gallery. Run one, watch it learn, then compare."
)
try:
    presets = api().presets()
    live = api().runs(limit=1, status=[RunStatus.QUEUED.value, RunStatus.RUNNING.value]).runs
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
runs.recent_runs(any_live=bool(live))
