"""What happened to a run, and the run as files: events, config, exports."""

from typing import Any

import pandas as pd
import streamlit as st
import tomli_w

from meshtune.backend.schemas.runs import RunDetail
from meshtune.dashboard.api import bundles
from meshtune.dashboard.api.client import api, carried
from meshtune.dashboard.look import format as fmt, theme


def events(run: RunDetail) -> None:
    """What happened to the run, newest first."""
    st.subheader("Events", anchor=False)
    table = pd.DataFrame(
        [
            {
                "time": f"{e.at:%H:%M:%S}",
                "event": e.kind.replace("_", " "),
                "by": e.actor,
                "detail": e.detail or "",
            }
            for e in reversed(run.events)
        ],
        columns=["time", "event", "by", "detail"],
    )
    st.dataframe(table, hide_index=True, height=min(220, 38 + 35 * max(1, len(table))))


def config_and_data(run: RunDetail) -> None:
    """The records as files, the whole config, and what the run ran on."""
    st.subheader("Config and data", anchor=False)
    downloads(run)
    adapter_download(run)
    with st.expander("Config as TOML"):
        st.code(tomli_w.dumps(run.config.model_dump(mode="json")), language="toml")
    if run.provenance is not None:
        with st.expander("Versions and machine"):
            facts = run.provenance.model_dump().items()
            st.table(
                pd.DataFrame(
                    [(key, fmt.plain(value)) for key, value in facts], columns=["what", "value"]
                )
            )


def downloads(run: RunDetail) -> None:
    """The run as files."""
    name = "".join(c if c.isalnum() else "-" for c in run.name).strip("-") or "run"
    with st.container(horizontal=True):
        st.download_button(
            "Rounds as CSV",
            carried(lambda: api().export(run.id, "csv")),
            f"{name}-{run.id}.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
        )
        st.download_button(
            "Records as JSON lines",
            carried(lambda: api().export(run.id, "jsonl")),
            f"{name}-{run.id}.jsonl",
            "application/x-ndjson",
            icon=":material/download:",
            on_click="ignore",
        )
        st.download_button(
            "Bundle",
            carried(lambda: bundles.taken(api(), run.id)),
            f"{name}-{run.id}.zip",
            "application/zip",
            icon=":material/deployed_code:",
            on_click="ignore",
            help="Config, rounds, checkpoint and adapters in one file. Another Meshtune takes it "
            "at the end of its gallery.",
        )


def adapter_download(run: RunDetail) -> None:
    """An adapter of the run, chosen here, as a folder that PEFT loads."""
    fleet = run.config.fleet
    choices: dict[str, dict[str, Any]] = {"All devices": {}}
    choices |= {
        f"Device {each}, {theme.TASKS[fleet.task_of(each)].title}": {"device": each}
        for each in range(fleet.devices)
    }
    choices |= {f"Best at {theme.TASKS[t].title}": {"expert": t} for t in fleet.present_tasks()}
    choices["Mean of all"] = {"merged": True}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox("Adapter", choices, key="adapter", width=240)
        st.download_button(
            "Adapter for PEFT",
            carried(lambda: bundles.adapters(api(), run.id, **choices[chosen])),
            f"adapters-{run.id}.zip",
            "application/zip",
            icon=":material/extension:",
            on_click="ignore",
            disabled=run.rounds_done == 0,
            help="A zip file that plain peft loads on the same language model, with a card of what "
            "it is. See Handbook, Bring your model.",
        )
