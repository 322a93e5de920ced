"""What is under design in this session: the tree of the form, the drawing, and its draft."""

import math
import time
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from backend.schemas import PresetOut
from dashboard import draft_client
from dashboard.client import ApiProblem, api
from dashboard.drawing import Drawing, Journal, applied, drawing_of
from engine.config import TASK_NAMES, RunConfig
from engine.planned import Plan

OWN = "design"  # place of the session
LATE_S = 10.0


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
    drafted_at: float = -math.inf

    def comes_from(self, source: str) -> bool:
        """Whether an address means this design.

        A browser that edits fast asks with the address of before the draft: it is no other design.
        """
        late = source == self.origin and time.monotonic() - self.drafted_at < LATE_S
        return source in ("", self.source) or late

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


def opened(presets: dict[str, PresetOut]) -> Design:
    """The design of the address, or the one that is open already."""
    known: Design | None = st.session_state.get(OWN)
    source = _asked()
    if known is not None and known.comes_from(source):
        return known
    tree, kept = _tree_of(source, presets)
    design = Design(source or f"preset {next(iter(presets), '')}".strip(), tree)
    if known is not None:
        design.version = known.version
    design.restart(tree)
    if kept is not None:
        design.draft_id, design.draft_version, design.kept = kept.id, kept.version, kept.tree
    else:
        design.kept = tree
    st.session_state[OWN] = design
    return design


def _asked() -> str:
    for name in ("draft", "clone", "preset"):
        given = st.query_params.get(name)
        if given:
            return f"{'run' if name == 'clone' else name} {given}"
    return ""


def _tree_of(source: str, presets: dict[str, PresetOut]) -> tuple[dict[str, Any], Any]:
    kind, _, name = source.partition(" ")
    if kind == "draft" and name.isascii() and name.isdecimal():
        draft = draft_client.load(api(), int(name))
        return draft.tree, draft
    if kind == "run" and name.isascii() and name.isdecimal():
        return api().run(int(name)).config.model_dump(mode="json"), None
    if name in presets:
        return presets[name].config.model_dump(mode="json"), None
    first = next(iter(presets.values()), None)
    return (first.config if first else RunConfig()).model_dump(mode="json"), None


def autosave(design: Design) -> None:
    """Keep what was changed, under a number that stands in the address.

    Raises:
        ApiProblem: it cannot be kept now.
    """
    if design.tree == design.kept or design.clash:
        return
    try:
        draft = draft_client.keep(api(), design.tree, design.draft_id, design.draft_version)
    except ApiProblem as problem:
        design.clash = problem.error == "DraftChanged"
        raise
    if design.draft_id is None:
        design.origin, design.drafted_at = design.source, time.monotonic()
    design.draft_id, design.draft_version = draft.id, draft.version
    design.kept, design.source = design.tree, f"draft {draft.id}"
    st.query_params.clear()
    st.query_params["draft"] = str(draft.id)
