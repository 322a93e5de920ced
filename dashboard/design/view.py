"""Design: draw the mesh, fill in the form, see what it will cost.

`?preset=NAME`, `?clone=RUN` and `?draft=NUMBER` say where it starts; an edit makes a draft of it.
"""

from typing import Any

import streamlit as st
from pydantic import ValidationError
from streamlit.delta_generator import DeltaGenerator

from meshtune.backend.schemas.runs import PresetOut
from meshtune.dashboard import address, door, state, unknown
from meshtune.dashboard.api.client import ApiProblem, api
from meshtune.dashboard.design import (
    calls,
    data,
    drafts,
    editor,
    mesh,
    models,
    plans,
    text,
)
from meshtune.dashboard.design.drawing import drawing_of_plan
from meshtune.dashboard.design.forms import Form
from meshtune.dashboard.design.tree import Design, known_tasks, named
from meshtune.dashboard.figures.components import live_chart
from meshtune.dashboard.figures.links import link_spread
from meshtune.dashboard.figures.mixture import mixture_bars
from meshtune.dashboard.look import format as fmt, theme
from meshtune.dashboard.look.handbook import cited
from meshtune.engine.config import RunConfig, plain_errors

# What belongs together on screen; every branch of the config is in one group.
GROUPS: dict[str, tuple[str, ...]] = {
    "Layout": ("topology",),
    "Devices and tasks": ("fleet",),
    "Method and sparsity": ("method", "adapter", "mixing"),
    "Channel": ("channel",),
    "Mesh over time": ("mobility", "churn"),
    "Model, training and evaluation": ("model", "training", "evaluation"),
}
DATA = "Your data"  # a group without a branch: its tasks are made from files
OPEN = ("Layout", "Devices and tasks", "Method and sparsity")
DRAWN_FIELDS = frozenset({"topology.positions", "topology.links"})  # the map and the tables
EDITOR = "design-editor"
# What is wrong stands over the lower edge of the window: seen wherever the page is scrolled to, and
# the map stays under the hand that draws.
TROUBLE_STYLE = """<style>
.st-key-design-trouble:has([data-testid="stAlert"]) {
  position: fixed; bottom: 12px; left: 50%; transform: translateX(-50%); z-index: 100;
  width: min(900px, calc(100vw - 32px)); max-height: 30vh; overflow-y: auto;
  background: PAPER; border-radius: 6px; box-shadow: 0 4px 18px rgb(0 0 0 / .22);
}
[data-testid="stMainBlockContainer"]:has(.st-key-design-trouble [data-testid="stAlert"]) {
  padding-bottom: 32vh;  /* so that the last group can be scrolled out from below it */
}
</style>"""


def take_preset(key: str, shown: str | None) -> None:
    """The preset picker was used: the address says so, and the form follows it.

    A browser that is behind still sends what the picker of a moment ago showed: that is no choice.
    """
    name = st.session_state[key]
    if name not in (None, shown):
        st.query_params.from_dict({"preset": name})
        address.trail(drafts.OWN).write(f"preset {name}")


def planned(design: Design, config: RunConfig) -> list[tuple[str, str]]:
    """Ask for the plan of a config and keep it for the screen; gives what keeps it from running."""
    try:
        answer = state.plan_of(config)
    except ApiProblem as problem:
        state.show_problem(problem)
        return []
    if answer.plan is not None:
        design.plan, design.planned = answer.plan, config
        if not design.drawn:
            design.journal.show(drawing_of_plan(answer.plan))
    return [(each.field, each.message) for each in answer.problems]


def look_of(design: Design, config: RunConfig | None) -> editor.Look:
    """What the map shows beside devices and links."""
    curve = None
    if config is not None:
        try:
            curve = calls.link_curve(config)
        except ApiProblem:
            curve = None  # the plan says what is wrong
    same = design.plan is not None and config == design.planned
    clusters = design.plan.clusters if design.plan is not None and same else ()
    fit = f"{design.source}-{'' if design.drawn else design.tree.get('topology')}"
    return editor.Look(curve, clusters, design.steps.merges if design.steps else (), fit)


def where(wrong: list[tuple[str, str]]) -> str:
    """Which groups of the form hold the fields that are wrong; a closed group hides them."""
    groups = {branch: group for group, branches in GROUPS.items() for branch in branches}
    groups["tasks"] = DATA
    found = [(groups.get(field.partition(".")[0]), field) for field, _ in wrong]
    return ", ".join(f"`{field}` in {group}" for group, field in found if group)


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
                help=cited(each.help),
                height="stretch",
            )


def panel(design: Design) -> None:
    """What the run will cost and what the mesh is like, before anything trains."""
    if design.plan is None or design.planned is None:
        st.skeleton(theme.MEDIUM)
        return
    plan, config = design.plan, design.planned
    with st.container(border=True, key="design-plan"):
        for note in plan.notes:
            st.warning(note.sentence)
        st.markdown("**The whole run, expected** :gray[against plain LoRA on the same mesh]")
        tiles(plans.cost_tiles(plan, config))
        st.markdown("**The mesh**")
        tiles(plans.mesh_tiles(plan))
        held = mixture_bars(plan)
        if held is not None:
            live_chart(held, key="design-mixture")
        links = link_spread(plan, state.mode())
        if links is None:
            st.caption("Over the ideal medium every message arrives, at once and for nothing.")
            return
        live_chart(links, key="design-links")
        st.caption(
            "Dots are messages at the mean gain of their link; the line is the median, shaded is "
            "from the tenth to the ninetieth percentile."
        )


def header(design: Design, presets: dict[str, PresetOut]) -> Any:
    """Title, presets, and the place of the button that starts the run."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.title("Design a run", anchor=False, width="stretch")
        name, key = design.source.removeprefix("preset "), f"design-preset-{design.source}"
        shown = name if name in presets else None
        st.selectbox(
            "Start from a preset",
            list(presets),
            index=None if shown is None else list(presets).index(shown),
            format_func=lambda each: presets[each].title,
            placeholder=design.source.capitalize() if design.source else "Choose a preset",
            key=key,
            on_change=take_preset,
            args=(key, shown),
            width=260,
        )
        return st.empty()


def fill(design: Design, form: Form) -> tuple[dict[str, Any], DeltaGenerator]:
    """The form; gives the tree of its values, and the place for the person's data."""
    tree: dict[str, Any] = form.scalars(RunConfig, design.start)
    for group, branches in GROUPS.items():
        with st.expander(group, expanded=group in OPEN):
            for branch in branches:
                tree[branch] = form.section(RunConfig, branch, design.start)
        if group == "Devices and tasks":
            own = st.expander(DATA, key="design-data")
    return tree, own


def take_form(design: Design, tree: dict[str, Any]) -> None:
    """The values of the form, with the drawing where the mesh is drawn."""
    was_drawn, before = design.drawn, design.tree.get("fleet", {})
    design.tree = tree
    if not design.drawn:
        return
    if was_drawn and tree["fleet"] == before:
        design.tree = {**tree, "topology": design.journal.drawing.topology()}
        return
    if was_drawn:
        design.follow_form()
    design.draw()  # drawn from now on: the mesh that is on screen


def checked(design: Design) -> tuple[RunConfig | None, list[tuple[str, str]]]:
    """The config if it is one, and what is wrong with it."""
    try:
        config = RunConfig.model_validate(design.tree)
    except ValidationError as error:
        return None, plain_errors(error.errors(), RunConfig)
    return config, planned(design, config)


def start(design: Design, config: RunConfig, form: Form, place: Any) -> None:
    """Queue the run, or say at its field why not."""
    try:
        source = design.origin if design.draft_id else design.source
        origin = source.removeprefix("run ")
        wanted = state.told_apart(api(), named(design, config))
        created = api().create(wanted, cloned_from=int(origin) if origin.isdigit() else None)
    except ApiProblem as refused:
        homeless = form.show_errors(list(refused.fields.items()))
        if homeless or not refused.fields:
            state.show_problem(refused, where=place)
    else:
        state.go_to(state.RUN, run=str(created.id))


def keep(design: Design, place: Any) -> None:
    """Save the draft; say so if another session has changed it."""
    if not door.may("run"):
        return  # it stays in this session
    try:
        drafts.autosave(design)
    except ApiProblem as problem:
        if not design.clash:
            state.show_problem(problem, where=place)
    if not design.clash:
        return
    with place.container(horizontal=True, vertical_alignment="center"):
        st.warning("This draft was changed elsewhere, perhaps in another tab. Nothing is saved.")
        if st.button("Load theirs", key="load-theirs"):
            st.session_state.pop(drafts.OWN)
            st.rerun()
        if st.button("Save mine as a new draft", key="save-mine"):
            design.draft_id, design.draft_version, design.clash = None, None, False
            st.rerun()


def nothing(sentence: str) -> None:
    """The address names nothing that can be designed: say so, with nothing to run."""
    st.title("Design a run", anchor=False)
    kind, _, name = drafts.asked().partition(" ")
    if kind == "run":
        ways, lead = unknown.run_ways(state.DESIGN, "clone"), "The newest, to clone:"
    else:
        titles = {each: preset.title for each, preset in presets.items()}
        ways = unknown.preset_ways(name if kind == "preset" else "", titles)
        lead = "Did you mean one of these?" if kind == "preset" else "Begin with a preset:"
    unknown.show(sentence, ways, lead=lead)


presets: dict[str, PresetOut] = {}
try:
    presets = {preset.name: preset for preset in api().presets()}
    design = drafts.opened(presets)
except drafts.UnknownSource as trouble:
    nothing(str(trouble))
    st.stop()
except ApiProblem as trouble:
    state.to_the_door(trouble)
    nothing(trouble.detail)
    st.stop()
if door.returned() or not any(str(key).startswith(f"{design.prefix}:") for key in st.session_state):
    design.start = design.tree  # back from another view, which dropped the widgets: go on
if editor.received(EDITOR, design.journal):
    design.draw()
    design.steps = None
    design.notes = ()

run_place = header(design, presets)
with st.container(key="design-columns"):
    left, right = st.columns([3, 2], gap="medium")
st.html(TROUBLE_STYLE.replace("PAPER", theme.PAPER.of(state.mode())))
trouble_place = st.container(key="design-trouble", gap="xsmall")
form = Form(
    prefix=design.prefix,
    starts={"topology": {"drawn": design.journal.drawing.topology()}},
    hidden=DRAWN_FIELDS,
    more={"fleet.tasks": known_tasks(design.start)},
)
fresh = design.kept is design.start
with right:
    filled, data_place = fill(design, form)
    take_form(design, filled)
if form.prefix != design.prefix:  # the mesh became a drawing: other widgets
    st.rerun()
if fresh:
    design.kept = design.tree  # as the form writes it: nothing was changed yet
with data_place:
    data.section(design, form)
with left:
    map_place, below = st.container(), st.container()
with trouble_place:
    config, wrong = checked(design)
with map_place:
    mesh.tools(design)
    editor.topology_editor(
        design.journal,
        key=EDITOR,
        height=theme.LARGE,
        look=look_of(design, config),
        mode=state.mode(),
    )
    if config != design.planned and design.plan is not None:
        st.caption("The plan below is of the last valid config.")
with below:
    panel(design)
    mesh.tables(design)
    text.box(design, config)
if config is not None and (given := named(design, config).name) != config.name:
    form.note("name", f"As the name was left alone, the run will be called *{fmt.literal(given)}*.")
for name, message in form.show_errors(wrong):
    trouble_place.error(f"{name}: {message}", icon=":material/error:")
models.offer(design, form, wrong)
if where(wrong):
    trouble_place.warning(f"To correct: {where(wrong)}.", icon=":material/edit:")
pressed = run_place.button(
    "Run",
    type="primary",
    icon=":material/play_arrow:",
    key="design-run",
    **door.lock(
        "run",
        disabled=bool(wrong),
        help="Correct the fields marked below first." if wrong else None,
    ),
)
keep(design, trouble_place)
if pressed and config is not None:
    start(design, config, form, trouble_place)
