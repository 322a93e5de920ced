"""A config on its way: the tree of the form, and the drawing of its mesh."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from meshtune.dashboard.design.drawing import Drawing, Journal, applied, drawing_of
from meshtune.dashboard.look.words import word
from meshtune.engine.config import TASK_NAMES, WORLD_TASKS, Drawn, RunConfig, TaskName
from meshtune.engine.naming import changed_name, flat, value_text
from meshtune.engine.plans import Plan


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

    def restart(self, tree: dict[str, Any]) -> None:
        """Start the form over from another tree; a drawn mesh becomes the drawing."""
        self.tree = self.start = tree
        self.notes = ()
        self.version += 1
        self.journal.tasks = known_tasks(tree)
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
            changed = self._grown(changed, number, tasks[number % len(tasks)])
        for number, device in enumerate(changed.devices):
            task = tasks[number % len(tasks)]
            if device.task != task:
                painted = {"op": "task", "ids": [device.key], "task": task}
                changed = applied(changed, painted, self.journal.tasks)
        if changed != drawing:
            self.journal.replace(changed)
        self.tree = {**self.tree, "topology": self.journal.drawing.topology()}

    def _grown(self, drawing: Drawing, number: int, task: str) -> Drawing:
        """With one more device beside the last one, and linked to it."""
        last = drawing.devices[-1]
        used = {int(d.key) for d in drawing.devices if d.key.isdecimal()}
        key = str(max([number - 1, *used]) + 1)
        new = {"op": "add", "id": key, "task": task, "x": last.x_m + 10.0, "y": last.y_m}
        added = applied(drawing, new, self.journal.tasks)
        return applied(added, {"op": "link", "a": last.key, "b": key})


def own_tasks(tree: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tasks that a tree brings along, right or wrong."""
    given = tree.get("tasks")
    return [task for task in given if isinstance(task, dict)] if isinstance(given, list) else []


def known_tasks(tree: Mapping[str, Any]) -> tuple[TaskName, ...]:
    """Names that devices may hold: of the package, and of the tree's own tasks."""
    own = [str(task.get("name", "")) for task in own_tasks(tree)]
    return tuple(dict.fromkeys((*TASK_NAMES, *filter(None, own))))


def with_task(tree: Mapping[str, Any], task: dict[str, Any]) -> dict[str, Any]:
    """The tree with one more own task, which devices hold; the first one alone."""
    fleet = tree.get("fleet", {})
    held = list(dict.fromkeys(fleet.get("tasks", ())))
    kept = held if set(held) - set(TASK_NAMES) else []
    fleet = {**fleet, "tasks": [*kept, task["name"]]}
    return {**tree, "tasks": [*own_tasks(tree), task], "fleet": fleet}


def without_task(tree: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The tree without an own task; with none left, devices hold those of the package."""
    tasks = own_tasks(tree)
    gone = tasks.pop(number)
    fleet = tree.get("fleet", {})
    held = [each for each in fleet.get("tasks", ()) if each != gone.get("name")]
    held = held or list(WORLD_TASKS["embedded"])
    return {**tree, "tasks": tasks, "fleet": {**fleet, "tasks": held}}


def drawn_of(tree: dict[str, Any]) -> Drawing | None:
    """The drawing that a tree holds; None if it cannot be drawn."""
    try:
        config = RunConfig.model_validate(tree)
    except ValueError:
        places, fleet = tree.get("topology", {}).get("positions"), tree.get("fleet", {})
        try:
            spots = [(float(p["x_m"]), float(p["y_m"])) for p in places or ()]
            known = known_tasks(tree)
            tasks = [task for task in fleet.get("tasks", ()) if task in known]
            pairs = [(int(a), int(b)) for a, b in tree["topology"].get("links", ())]
        except (TypeError, ValueError, KeyError):
            return None
        inside = [p for p in pairs if min(p) >= 0 and max(p) < len(spots)]
        return drawing_of(spots, tasks or list(WORLD_TASKS["embedded"]), inside) if spots else None
    topology = config.topology
    if not isinstance(topology, Drawn):
        return None
    spots = [(point.x_m, point.y_m) for point in topology.positions]
    tasks = [config.fleet.task_of(i) for i in range(len(spots))]
    return drawing_of(spots, tasks, topology.links)


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
