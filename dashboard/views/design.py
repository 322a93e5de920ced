"""Design: a config as a form, with the mesh it gives beside it. `?preset=NAME` or `?clone=RUN`."""

from typing import Any

import streamlit as st
import tomli_w
from pydantic import ValidationError

from backend.schemas import PresetOut
from dashboard import maps, state, theme
from dashboard.client import ApiProblem, api
from dashboard.components import network_map
from dashboard.forms import Form
from engine.config import RunConfig, plain_errors
from engine.plan import Preview

# What belongs together on screen; every branch of the config is in one group.
GROUPS: dict[str, tuple[str, ...]] = {
    "Devices and tasks": ("fleet",),
    "Method and sparsity": ("method", "adapter"),
    "Channel": ("channel",),
    "Training and evaluation": ("training", "evaluation"),
}
OPEN = ("Devices and tasks", "Method and sparsity")
OWN = "design"  # place of this view in the session


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


def drawn_from(preview: Preview | None) -> dict[str, Any]:
    """Where a drawn topology starts: at the mesh that is on screen."""
    if preview is None:
        return {}
    places = [{"x_m": round(d.x_m, 1), "y_m": round(d.y_m, 1)} for d in preview.devices]
    pairs = sorted({(min(k.receiver, k.sender), max(k.receiver, k.sender)) for k in preview.links})
    return {"positions": places, "links": [list(pair) for pair in pairs]}


def mesh(config: RunConfig | None) -> None:
    """The map of the config; of the last valid one while the form has an error."""
    if config is not None:
        try:
            st.session_state["design-preview"] = state.preview_of(config)
        except ApiProblem as problem:
            state.show_problem(problem)
    preview: Preview | None = st.session_state.get("design-preview")
    if preview is None:
        st.skeleton(theme.LARGE)
        return
    network_map(maps.preview_map(preview, state.mode()), key="design-map", height=theme.LARGE)
    if config is None:
        st.caption("The map shows the last valid config.")


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
    starts={"topology": {"drawn": drawn_from(st.session_state.get("design-preview"))}},
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
try:
    config = RunConfig.model_validate(tree)
except ValidationError as error:
    for name, message in form.show_errors(plain_errors(error.errors())):
        trouble_place.error(f"{name}: {message}", icon=":material/error:")
with topology_place:
    mesh(config)
with left, st.expander("Config as TOML"):
    if config is None:
        st.caption("The form has an error; correct it to see the config.")
    else:
        st.code(tomli_w.dumps(config.model_dump(mode="json")), language="toml", height=320)

pressed = run_place.button(
    "Run",
    type="primary",
    icon=":material/play_arrow:",
    disabled=config is None,
    key="design-run",
    help="Correct the fields marked below first." if config is None else None,
)
if pressed and config is not None:
    try:
        created = api().create(config)
    except ApiProblem as refused:
        homeless = form.show_errors(list(refused.fields.items()))
        if homeless or not refused.fields:
            state.show_problem(refused, where=trouble_place)
    else:
        state.go_to(state.RUN, run=str(created.id))
