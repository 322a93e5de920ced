"""Around the map of a design: suggested clusters, files, and the mesh as tables."""

from functools import partial

import pandas as pd
import streamlit as st

from meshtune.dashboard.api.client import ApiProblem, api
from meshtune.dashboard.design import calls
from meshtune.dashboard.design.drawing import applied, drawing_of, table_ops
from meshtune.dashboard.design.tree import Design
from meshtune.dashboard.look import format as fmt, theme
from meshtune.dashboard.look.handbook import cited
from meshtune.dashboard.look.words import word
from meshtune.engine.config import RunConfig
from meshtune.engine.texts import text_of

COLLISION_START = 0.3
FILE_BYTES = 1_000_000


def tools(design: Design) -> None:
    """Suggest clusters, take and give files, above the map."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="mesh-tools"):
        st.markdown(
            "**Mesh** :gray[drawn by hand]" if design.drawn
            else f"**Mesh** :gray[{word(design.tree['topology'].get('kind', ''))}; "
            "the first edit makes it a drawing]",
            width="stretch",
        )  # fmt: skip
        with st.popover("Suggest clusters", icon=":material/bubble_chart:"):
            suggest(design)
        with st.popover("Files", icon=":material/swap_vert:"):
            files(design)
    if design.notes:
        told = "  \n".join(fmt.sentence(note) for note in design.notes)
        st.info(told, icon=":material/info:")


def suggest(design: Design) -> None:
    """The paper's clusters at the places on the map, to step through and to take."""
    st.markdown(
        cited(
            "The paper merges devices bottom-up while their experts collide little and power lasts "
            "(M18). Step through the merges below the map."
        )
    )
    limit = st.slider(
        "Largest collision rate", 0.0, 1.0, COLLISION_START, 0.05, key="suggest-collision"
    )
    if st.button("Suggest", type="primary", key="suggest"):
        try:
            design.steps = calls.clusters(api(), chained(design), limit)
        except (ApiProblem, ValueError) as problem:
            st.error(fmt.sentence(str(problem)))
    if design.steps is None:
        return
    found = len(set(design.steps.clusters))
    st.markdown(f"{fmt.count(len(design.steps.merges), 'merge')}, {fmt.count(found, 'cluster')}.")
    if st.button("Use these links", key="take-clusters"):
        keys = [device.key for device in design.journal.drawing.devices]
        drawing = design.journal.drawing
        bare = applied(drawing, {"op": "unlink", "links": list(drawing.links)})
        for one, other in design.steps.links:
            bare = applied(bare, {"op": "link", "a": keys[one], "b": keys[other]})
        design.journal.replace(bare)
        design.draw()
        st.rerun()
    if st.button("Hide the steps", key="hide-clusters"):
        design.steps = None
        st.rerun()


def chained(design: Design) -> RunConfig:
    """The config with the places on the map, linked in a line: clusters need places alone.

    Raises:
        ValueError: another part of the config is wrong.
    """
    drawing = design.journal.drawing
    topology = drawing.topology()
    count = len(drawing.devices)
    topology["links"] = [[i, i + 1] for i in range(count - 1)]
    fleet = {**design.tree["fleet"], "devices": count, "tasks": drawing.tasks()}
    try:
        return RunConfig.model_validate({**design.tree, "topology": topology, "fleet": fleet})
    except ValueError as error:
        raise ValueError("correct the form first, then clusters can be suggested") from error


def files(design: Design) -> None:
    """A mesh from a file, and into one."""
    given = st.file_uploader("Load JSON, GraphML, GML or Pajek", key="mesh-file")
    if given is not None and st.session_state.get("mesh-taken") != given.file_id:
        st.session_state["mesh-taken"] = given.file_id
        take(design, given.getvalue())
    drawing = design.journal.drawing
    texts: dict[calls.MeshFormat, str] = {"json": "JSON", "graphml": "GraphML"}
    for form, title in texts.items():
        st.download_button(
            f"Save as {title}",
            partial(calls.mesh_text, api(), form, drawing.topology(), drawing.tasks()),
            f"mesh.{form}",
            "text/plain",
            key=f"save-{form}",
            on_click="ignore",
        )


def take(design: Design, content: bytes) -> None:
    """Draw the mesh of a file; one sentence if it holds none, or if it leaves something open."""
    if len(content) > FILE_BYTES:
        st.error("The file is larger than 1 MB; a mesh of 256 devices needs far less.")
        return
    try:
        mesh = calls.mesh_of(api(), text_of(content))
    except UnicodeDecodeError:
        st.error("The file is no text in UTF-8 or UTF-16; save it as UTF-8.")
        return
    except ApiProblem as problem:
        st.error(fmt.sentence(next(iter(problem.fields.values()), problem.detail)))
        return
    places = [(point.x_m, point.y_m) for point in mesh.topology.positions]
    tasks = list(mesh.tasks or design.journal.drawing.tasks())
    design.journal.replace(drawing_of(places, tasks, mesh.topology.links))
    design.draw()
    design.notes = mesh.notes
    st.rerun()


def tables(design: Design) -> None:
    """The mesh as tables, in step with the map."""
    drawing = design.journal.drawing
    with st.expander("Mesh as tables"):
        devices = pd.DataFrame(
            {
                "x_m": [device.x_m for device in drawing.devices],
                "y_m": [device.y_m for device in drawing.devices],
                "task": drawing.tasks(),
            }
        )
        key = f"mesh-table-{design.journal.rev}"
        st.data_editor(
            devices,
            key=key,
            num_rows="dynamic",
            height=theme.SMALL,
            on_change=edited,
            args=(design, key),
            column_config={
                "x_m": st.column_config.NumberColumn("East (m)", format="%.1f", required=True),
                "y_m": st.column_config.NumberColumn("North (m)", format="%.1f", required=True),
                "task": st.column_config.SelectboxColumn(
                    "Task", options=list(design.journal.tasks), format_func=word, required=True
                ),
            },
        )
        links = pd.DataFrame(drawing.pairs(), columns=["Device", "Linked to"])
        st.dataframe(links, hide_index=True, height=theme.SMALL, key="mesh-links")


def edited(design: Design, key: str) -> None:
    """The table was edited: the same edits to the drawing."""
    before = design.journal.rev
    for op in table_ops(design.journal.drawing, st.session_state[key]):
        design.journal.do(op)
    if design.journal.rev != before:
        design.draw()
        design.steps = None
        design.notes = ()
