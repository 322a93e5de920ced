"""Small pieces of the pages of Learn."""

from typing import Any

import streamlit as st

from meshtune.backend.schemas.learn import GrowthOut
from meshtune.dashboard.figures import maps
from meshtune.dashboard.look import format as fmt
from meshtune.engine.config import in_order


def tile(label: str, value: str, under: str) -> None:
    """One number with what it means."""
    st.metric(
        label, value, under, delta_color="off", delta_arrow="off", border=True, height="stretch"
    )


def growth_map(found: GrowthOut, step: int) -> dict[str, Any]:
    """The mesh after so many merges, as the map takes it."""
    cluster = list(range(len(found.task)))
    for left, right in zip(found.left[:step], found.right[:step], strict=True):
        for device in right:
            cluster[device] = cluster[left[0]]
    nodes = [
        maps.node(i, task, (x, y), [f"cluster of {fmt.count(cluster.count(cluster[i]), 'device')}"])
        for i, (task, x, y) in enumerate(zip(found.task, found.x_m, found.y_m, strict=True))
    ]
    return {
        "nodes": nodes,
        "links": [],
        "tasks": {task: maps.task_look(task) for task in in_order(found.task)},
        "snr": None,
        "summary": f"{fmt.count(len(nodes), 'device')} · {fmt.count(len(set(cluster)), 'cluster')}",
        "hulls": maps.hulls(cluster),
    }
