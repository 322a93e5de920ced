"""Design: a config as a form, with the mesh it gives beside it. `?preset=NAME` or `?clone=RUN`."""

from typing import Any

import streamlit as st
import tomli_w
from pydantic import ValidationError

from backend.schemas import PresetOut
from dashboard import charts, maps, plans, state, theme
from dashboard.client import ApiProblem, api
from dashboard.components import live_chart, network_map
from dashboard.forms import Form
from engine.config import RunConfig, plain_errors
from engine.plan import Plan

# What belongs together on screen; every branch of the config is in one group.
GROUPS: dict[str, tuple[str, ...]] = {
    "Devices and tasks": ("fleet",),
    "Method and sparsity": ("method", "adapter", "mixing"),
    "Channel": ("channel",),
    "Mesh over time": ("mobility", "churn"),
    "Training and evaluation": ("training", "evaluation"),
}
OPEN = ("Devices and tasks", "Method and sparsity")
OWN = "design"  # place of this view in the session
SEEN = "design-plan"  # place of the last plan and its config


def load(source: str, tree: dict[str, Any]) -> None:
    """Start the form over from a config."""
    version = st.session_state.get(OWN, {}).get("version", 0) + 1
    st.session_state[OWN] = {"source": source, "tree": tree, "start": tree, "version": version}


def load_from_address(presets: dict[str, PresetOut]) -> None:
    """Take the preset or run that the address names, unless the form came from there already."""
    clone, preset = st.query_params.get("clone"), st.query_params.get("preset")
    source = f"run {clone}" if clone else f"preset {preset}" if preset else ""
    begun = st.session_state.get(OWN)
    if begun and source in ("", begun["source"]):
        return
    if clone and clone.isdigit():
        load(source, api().run(int(clone)).config.model_dump(mode="json"))
    elif preset in presets:
        load(source, presets[preset].config.model_dump(mode="json"))
    elif presets and not begun:
        first = next(iter(presets.values()))
        load(f"preset {first.name}", first.config.model_dump(mode="json"))
    elif not begun:
        load("", RunConfig().model_dump(mode="json"))


def take_preset() -> None:
    """The preset picker was used: the address says so, and the form follows it."""
    name = st.session_state["design-preset"]
    if name is not None:
        st.query_params.clear()
        st.query_params["preset"] = name


def drawn_from(plan: Plan | None) -> dict[str, Any]:
    """Where a drawn topology starts: at the mesh that is on screen."""
    if plan is None:
        return {}
    places = [{"x_m": round(d.x_m, 1), "y_m": round(d.y_m, 1)} for d in plan.devices]
    pairs = sorted({(min(k.receiver, k.sender), max(k.receiver, k.sender)) for k in plan.links})
    return {"positions": places, "links": [list(pair) for pair in pairs]}


def planned(config: RunConfig) -> list[tuple[str, str]]:
    """Ask for the plan of a config and keep it for the screen; gives what keeps it from running."""
    try:
        answer = state.plan_of(config)
    except ApiProblem as problem:
        state.show_problem(problem)
        return []
    if answer.plan is not None:
        st.session_state[SEEN] = {"plan": answer.plan, "config": config}
    return [(each.field, each.message) for each in answer.problems]


def mesh(plan: Plan | None, note: str) -> None:
    """The map of the config; of the last one that could be planned while the form has an error."""
    if plan is None:
        st.skeleton(theme.LARGE)
        return
    network_map(maps.plan_map(plan, state.mode()), key="design-map", height=theme.LARGE)
    if note:
        st.caption(note)


def where(wrong: list[tuple[str, str]]) -> str:
    """Which groups of the form hold the fields that are wrong; a closed group hides them."""
    groups = {branch: group for group, branches in GROUPS.items() for branch in branches}
    named = [(groups.get(field.partition(".")[0]), field) for field, _ in wrong]
    return ", ".join(f"`{field}` in {group}" for group, field in named if group)


def tiles(found: list[plans.Tile]) -> None:
    """Numbers side by side."""
    with st.grid(4, min_column_width=116, gap="small"):
        for each in found:
            st.metric(
                each.label,
                each.value,
                each.under,
                delta_color="off",
                delta_arrow="off",
                help=each.help,
                height="stretch",
            )


def panel(plan: Plan, config: RunConfig) -> None:
    """What the run will cost and what the mesh is like, before anything trains."""
    with st.container(border=True, key="design-plan"):
        st.markdown("**The whole run, expected** :gray[against plain LoRA on the same mesh]")
        tiles(plans.cost_tiles(plan, config))
        st.markdown("**The mesh**")
        tiles(plans.mesh_tiles(plan))
        links = charts.link_spread(plan, state.mode())
        if links is None:
            st.caption("Over the ideal medium every message arrives, at once and for nothing.")
            return
        live_chart(links, key="design-links")
        st.caption(
            "Dots are messages at the mean gain of their link; the line is the median, shaded is "
            "from the tenth to the ninetieth percentile."
        )


try:
    presets = {preset.name: preset for preset in api().presets()}
    load_from_address(presets)
except ApiProblem as trouble:
    state.show_problem(trouble)
    st.stop()
begun = st.session_state[OWN]
prefix = f"design-{begun['version']}"
if not any(str(key).startswith(f"{prefix}:") for key in st.session_state):
    begun["start"] = begun["tree"]  # back from another view, which dropped the widgets: go on

with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
    st.title("Design a run", anchor=False, width="stretch")
    source_name = begun["source"].removeprefix("preset ")
    st.selectbox(
        "Start from a preset",
        list(presets),
        index=list(presets).index(source_name) if source_name in presets else None,
        format_func=lambda name: presets[name].title,
        placeholder=f"Copy of {begun['source']}" if begun["source"] else "Choose a preset",
        key="design-preset",
        on_change=take_preset,
        width=260,
    )
    run_place = st.empty()
trouble_place = st.container()

form = Form(
    prefix=prefix,
    starts={"topology": {"drawn": drawn_from(st.session_state.get(SEEN, {}).get("plan"))}},
)
with st.grid(2, min_column_width=400, gap="medium"):
    left, right = st.container(), st.container()
tree: dict[str, Any] = {}
with right:
    tree |= form.scalars(RunConfig, begun["start"])
    for group, branches in GROUPS.items():
        with st.expander(group, expanded=group in OPEN):
            for branch in branches:
                tree[branch] = form.section(RunConfig, branch, begun["start"])
with left:
    topology_place = st.container()
    with st.container():
        tree["topology"] = form.section(RunConfig, "topology", begun["start"])
begun["tree"] = tree

config: RunConfig | None = None
wrong: list[tuple[str, str]] = []
with topology_place:
    try:
        config = RunConfig.model_validate(tree)
    except ValidationError as error:
        wrong = plain_errors(error.errors())
    else:
        wrong = planned(config)
for name, message in form.show_errors(wrong):
    trouble_place.error(f"{name}: {message}", icon=":material/error:")
if where(wrong):
    trouble_place.warning(f"To correct: {where(wrong)}.", icon=":material/edit:")
seen: dict[str, Any] = st.session_state.get(SEEN, {})
with topology_place:
    stale = bool(seen) and seen["config"] != config
    mesh(seen.get("plan"), "Map and plan are of the last valid config." if stale else "")
with left:
    if seen:
        panel(seen["plan"], seen["config"])
    with st.expander("Config as TOML"):
        if config is None:
            st.caption("The form has an error; correct it to see the config.")
        else:
            text = tomli_w.dumps(config.model_dump(mode="json"))
            st.code(text, language="toml", height=320)

pressed = run_place.button(
    "Run",
    type="primary",
    icon=":material/play_arrow:",
    disabled=bool(wrong),
    key="design-run",
    help="Correct the fields marked below first." if wrong else None,
)
if pressed and config is not None:
    try:
        origin = begun["source"].removeprefix("run ")
        created = api().create(config, cloned_from=int(origin) if origin.isdigit() else None)
    except ApiProblem as refused:
        homeless = form.show_errors(list(refused.fields.items()))
        if homeless or not refused.fields:
            state.show_problem(refused, where=trouble_place)
    else:
        state.go_to(state.RUN, run=str(created.id))
