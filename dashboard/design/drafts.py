"""Where a design comes from and where it is kept: the address, the session, the store."""

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
from meshtune.dashboard.design.tree import Design
from meshtune.engine.config import RunConfig

OWN = "design"  # place of the session
KEEPER = "design-keeper"  # and of what keeps its drafts


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
