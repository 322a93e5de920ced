"""What is under design in this session: the tree of the form, the drawing, and its draft."""

import json
import threading
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from meshtune.backend.schemas.drafts import DraftOut
from meshtune.backend.schemas.runs import PresetOut
from meshtune.dashboard import address, unknown
from meshtune.dashboard.api.client import ApiProblem, api
from meshtune.dashboard.design import calls
from meshtune.dashboard.design.drawing import Drawing, Journal, applied, drawing_of
from meshtune.dashboard.look.words import word
from meshtune.engine.config import TASK_NAMES, RunConfig
from meshtune.engine.naming import changed_name, flat, value_text
from meshtune.engine.planning.values import Plan

OWN = "design"  # place of the session
KEEPER = "design-keeper"  # and of what keeps its drafts


@dataclass
class Design:
    """One config on its way. A new `version` starts the form over from `tree`."""

    source: str  # where it came from: "preset NAME", "run 3", "draft 4"
    tree: dict[str, Any]
    version: int = 1
    start: dict[str, Any] = field(default_factory=dict)  # what the form's widgets began with
    journal: Journal = field(default_factory=lambda: Journal(Drawing()))
    plan: Plan | None = None  # the last one
    planned: RunConfig | None = None  # and its config
    kept: dict[str, Any] | None = None  # tree as the draft has it
    draft_id: int | None = None
    draft_version: int | None = None
    steps: Any = None  # suggested clusters, until the mesh changes
    clash: bool = False  # the draft was changed elsewhere
    notes: tuple[str, ...] = ()  # what the file of the mesh left open, until the mesh changes
    origin: str = ""  # the source before it became a draft
    begun: dict[str, Any] = field(default_factory=dict)  # of the preset or run it began with

    @property
    def drawn(self) -> bool:
        """Whether the mesh is drawn by hand."""
        return bool(self.tree.get("topology", {}).get("kind") == "drawn")

    @property
    def prefix(self) -> str:
        """Of the keys of the form's widgets."""
        return f"design-{self.version}"

    def restart(self, tree: dict[str, Any], source: str | None = None) -> None:
        """Start the form over from another tree; a drawn mesh becomes the drawing."""
        self.tree = self.start = tree
        self.notes = ()
        self.version += 1
        self.source = self.source if source is None else source
        if self.drawn:
            self.journal.replace(drawn_of(tree) or self.journal.drawing)

    def draw(self) -> None:
        """The mesh was changed by hand: it is the topology now, with the tasks as painted."""
        drawing = self.journal.drawing
        fleet = {"devices": len(drawing.devices), "tasks": drawing.tasks()}
        new = not self.drawn
        old = self.tree.get("fleet", {})
        fleet_changed = any(old.get(name) != value for name, value in fleet.items())
        self.tree = {
            **self.tree,
            "topology": drawing.topology(),
            "fleet": {**old, **fleet},
        }
        if new or fleet_changed:  # other widgets
            self.start = self.tree
            self.version += 1

    def follow_form(self) -> None:
        """Devices or tasks were changed in the form: the drawing follows."""
        fleet, drawing = self.tree["fleet"], self.journal.drawing
        devices, tasks = fleet.get("devices"), fleet.get("tasks")
        if not isinstance(devices, int) or not tasks or devices < 1:
            return
        changed = drawing
        if devices < len(drawing.devices):
            gone = [device.key for device in drawing.devices[devices:]]
            changed = applied(changed, {"op": "remove", "ids": gone})
        for number in range(len(changed.devices), devices):
            changed = _grown(changed, number, tasks[number % len(tasks)])
        for number, device in enumerate(changed.devices):
            task = tasks[number % len(tasks)]
            if task in TASK_NAMES and device.task != task:
                changed = applied(changed, {"op": "task", "ids": [device.key], "task": task})
        if changed != drawing:
            self.journal.replace(changed)
        self.tree = {**self.tree, "topology": self.journal.drawing.topology()}


def _grown(drawing: Drawing, number: int, task: str) -> Drawing:
    """With one more device beside the last one, and linked to it."""
    last = drawing.devices[-1]
    used = {int(d.key) for d in drawing.devices if d.key.isdecimal()}
    key = str(max([number - 1, *used]) + 1)
    spot = {"x": last.x_m + 10.0, "y": last.y_m}
    added = applied(drawing, {"op": "add", "id": key, "task": task, **spot})
    return applied(added, {"op": "link", "a": last.key, "b": key})


def drawn_of(tree: dict[str, Any]) -> Drawing | None:
    """The drawing that a tree holds; None if it cannot be drawn."""
    try:
        config = RunConfig.model_validate(tree)
    except ValueError:
        places, fleet = tree.get("topology", {}).get("positions"), tree.get("fleet", {})
        try:
            spots = [(float(p["x_m"]), float(p["y_m"])) for p in places or ()]
            tasks = [task for task in fleet.get("tasks", ()) if task in TASK_NAMES]
            pairs = [(int(a), int(b)) for a, b in tree["topology"].get("links", ())]
        except (TypeError, ValueError, KeyError):
            return None
        inside = [p for p in pairs if min(p) >= 0 and max(p) < len(spots)]
        return drawing_of(spots, tasks or list(TASK_NAMES), inside) if spots else None
    topology = config.topology
    if topology.kind != "drawn":
        return None
    spots = [(point.x_m, point.y_m) for point in topology.positions]
    tasks = [config.fleet.task_of(i) for i in range(len(spots))]
    return drawing_of(spots, tasks, topology.links)


# From and to the address


class UnknownSource(Exception):
    """The address names a preset, a draft or a run that cannot be."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(
            f"there is no preset {unknown.quoted(name)}"
            if kind == "preset"
            else unknown.no_number(kind, name)
        )
        self.kind, self.name = kind, name


def opened(presets: dict[str, PresetOut]) -> Design:
    """The design of the address, or the one that is open already.

    Raises:
        UnknownSource: the address names nothing that can be designed.
        ApiProblem: the draft or the run is not there.
    """
    found = _open_already(presets)
    if found is not None:
        return found
    with keeper().lock:  # edits of a moment ago may be on their way to this draft
        found = _open_already(presets)  # another run of the page may just have saved it
        return found if found is not None else _opened_anew(presets)


def _open_already(presets: dict[str, PresetOut]) -> Design | None:
    known: Design | None = st.session_state.get(OWN)
    return known if known is not None and _source(presets) in ("", known.source) else None


def _source(presets: dict[str, PresetOut]) -> str:
    given, trail = asked(), address.trail(OWN)
    # A browser that edits fast asks with the address of before the draft: it is no other design.
    return _exact(given if trail.is_link(given) else trail.text, presets)


def _opened_anew(presets: dict[str, PresetOut]) -> Design:
    source, trail = _source(presets), address.trail(OWN)
    known: Design | None = st.session_state.get(OWN)
    tree, kept = _tree_of(source, presets)
    design = Design(source or f"preset {next(iter(presets), '')}".strip(), tree)
    if asked():
        trail.write(asked())
    trail.write(design.source)
    if known is not None:
        design.version = known.version
    design.restart(tree)
    titles = {preset.title: preset.config for preset in presets.values()}
    if kept is None:
        design.begun = tree
    elif (known_as := titles.get(tree.get("name", ""))) is not None:
        design.begun = known_as.model_dump(mode="json")
    if kept is not None:
        design.draft_id, design.draft_version, design.kept = kept.id, kept.version, kept.tree
    else:
        design.kept = tree
    st.session_state[OWN] = design
    return design


def named(design: Design, config: RunConfig) -> RunConfig:
    """The config, named by what was changed if its name was left as it was."""
    try:
        begun = RunConfig.model_validate(design.begun or config)
    except ValueError:
        return config
    if config.name != begun.name:
        return config
    before, after = (flat(each.model_dump(mode="json")) for each in (begun, config))
    return config.model_copy(
        update={"name": changed_name(begun.name, before, after, told=_value_word)}
    )


def _value_word(name: str, value: Any) -> str:
    branches = name.removesuffix(".kind").split(".")
    return word(value, branches[-1]) if isinstance(value, str) else value_text(name, value)


def asked() -> str:
    """What the address names: "preset NAME", "run 3", "draft 4", or nothing."""
    for name in ("draft", "clone", "preset"):
        given = address.asked(name)
        if given:
            return f"{'run' if name == 'clone' else name} {given}"
    return ""


def _exact(source: str, presets: dict[str, PresetOut]) -> str:
    """The source with the name that presets have; the address may have the title's."""
    kind, _, name = source.partition(" ")
    if kind != "preset":
        return source
    meant = unknown.named(name, {each: preset.title for each, preset in presets.items()})
    return source if meant is None else f"preset {meant}"


def _tree_of(source: str, presets: dict[str, PresetOut]) -> tuple[dict[str, Any], Any]:
    kind, _, name = source.partition(" ")
    number = address.whole_number(name)
    if kind == "draft" and number is not None:
        draft = calls.load(api(), number)
        return draft.tree, draft
    if kind == "run" and number is not None:
        run = api().run(number)
        return {**run.config.model_dump(mode="json"), "name": run.name}, None
    if kind == "preset" and name in presets:
        return presets[name].config.model_dump(mode="json"), None
    if source:
        raise UnknownSource(kind, name)
    first = next(iter(presets.values()), None)
    return (first.config if first else RunConfig()).model_dump(mode="json"), None


@dataclass
class Keeper:
    """Keeps the drafts of a session, one after another.

    A page that runs again does not wait for its last run, which may still be sending. Two of them
    would send the same version, and the session would lose against itself.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    sent: set[str] = field(default_factory=set)  # trees that were sent and not answered


def keeper() -> Keeper:
    """That of this session."""
    found: Keeper = st.session_state.setdefault(KEEPER, Keeper())
    return found


def autosave(design: Design) -> None:
    """Keep what was changed, under a number that stands in the address.

    Raises:
        ApiProblem: it cannot be kept now.
    """
    trail = address.trail(OWN)
    with keeper().lock:
        tree = design.tree  # of now: another run of the page may change it while this one waits
        if tree != design.kept and not design.clash:
            # Streamlit ends a run at any of its calls: none from here until all is written down,
            # or the next run would take the draft for another design and make a second one.
            try:
                draft = _sent(design, tree)
            except ApiProblem as problem:
                design.clash = problem.error == "DraftChanged"
                raise
            if design.draft_id is None:
                design.origin = design.source
            design.draft_id, design.draft_version = draft.id, draft.version
            design.kept, design.source = tree, f"draft {draft.id}"
            trail.write(design.source)
    number = str(design.draft_id)
    if design.draft_id is not None and address.parameters() != {"draft": number}:
        st.query_params.from_dict({"draft": number})


def _sent(design: Design, tree: dict[str, Any]) -> DraftOut:
    """The draft with this tree. What this session has sent before is no change from elsewhere.

    An answer that came too late, or not at all, leaves open whether the draft was changed.
    """
    sent = keeper().sent
    sent.add(_written(tree))
    try:
        draft = calls.keep(api(), tree, design.draft_id, design.draft_version)
    except ApiProblem as problem:
        if problem.error != "DraftChanged" or design.draft_id is None:
            raise
        theirs = calls.load(api(), design.draft_id)
        if _written(theirs.tree) not in sent:
            raise
        draft = calls.keep(api(), tree, theirs.id, theirs.version)
    sent.clear()
    return draft


def _written(tree: dict[str, Any]) -> str:
    return json.dumps(tree, sort_keys=True)
