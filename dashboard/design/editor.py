"""The map editor on a page: a drawing under the hand, with what its links would give."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from meshtune.backend.schemas.drafts import LinkCurveOut
from meshtune.dashboard.design.drawing import Journal
from meshtune.dashboard.figures.components import mount
from meshtune.dashboard.look import theme
from meshtune.engine.plans import PlannedMerge


@dataclass(frozen=True)
class Look:
    """What the editor shows beside the drawing."""

    curve: LinkCurveOut | None = None  # what single links give by distance
    clusters: Sequence[int] = ()  # of each device; drawn where there is more than one
    steps: Sequence[PlannedMerge] = ()  # of a clustering to step through
    fit: str = ""  # another value shows the whole mesh again


def received(key: str, journal: Journal) -> bool:
    """Apply what the browser has sent since the last run; whether the drawing has changed.

    To be called before anything reads the drawing: edits are numbered, so that applying them in
    the script body is safe to repeat and survives an interrupted run.
    """
    sent: Mapping[str, Any] = st.session_state.get(key) or {}
    return journal.receive(sent.get("edits"))


def topology_editor(
    journal: Journal, *, key: str, height: int, look: Look, mode: theme.Mode
) -> None:
    """Mount the editor on the drawing of `journal`."""
    drawing = journal.drawing
    keys = [device.key for device in drawing.devices]
    curve = look.curve
    low, high = theme.SNR_RANGE_DB
    known = curve is not None and any(level is not None for level in curve.snr_db)
    data = {
        "rev": journal.rev,
        "ack": journal.ack,
        "devices": [{"id": d.key, "x": d.x_m, "y": d.y_m, "task": d.task} for d in drawing.devices],
        "links": sorted(map(list, drawing.links)),
        "tasks": {
            name: {"title": t.title, "color": t.color, "marker": t.marker, "filled": t.filled}
            for name, t in ((name, theme.TASKS[name]) for name in journal.tasks)
        },
        "curve": curve.model_dump() if curve is not None and known else None,
        "look": {
            "low_db": low,
            "high_db": high,
            "weak": theme.SNR_WEAK.of(mode),
            "strong": theme.SNR_STRONG.of(mode),
        },
        "clusters": _groups(look.clusters, keys),
        "steps": [{"left": m.left, "right": m.right, "collision": m.collision} for m in look.steps],
        "height": height,
        "fit": look.fit,
        "can_undo": bool(journal.done),
        "can_redo": bool(journal.undone),
    }
    mount(
        "editor",
        "mt-editor-host",
        key=key,
        data=data,
        default={"edits": {}},
        on_edits_change=lambda: None,  # a default needs its callback to be named
    )


def _groups(clusters: Sequence[int], keys: Sequence[str]) -> list[list[str]]:
    """Members of each cluster of two or more, where there is more than one cluster."""
    if len(clusters) != len(keys) or len(set(clusters)) < 2:
        return []
    members: dict[int, list[str]] = {}
    for key, cluster in zip(keys, clusters, strict=True):
        members.setdefault(cluster, []).append(key)
    return [group for group in members.values() if len(group) > 1]
