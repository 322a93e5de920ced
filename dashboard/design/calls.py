"""Designing by hand as typed calls on the client of the API; each raises `ApiProblem`."""

from typing import Any, Literal

import streamlit as st

from meshtune.backend.schemas.drafts import ClustersOut, DraftOut, LinkCurveOut, MeshFileOut
from meshtune.backend.schemas.runs import TopologyOut
from meshtune.dashboard.api.client import ApiClient, api
from meshtune.engine.config import RunConfig

MeshFormat = Literal["json", "graphml"]


def load(client: ApiClient, draft_id: int) -> DraftOut:
    """A draft as it is kept."""
    return client._model(DraftOut, "GET", f"/drafts/{draft_id}")


def keep(
    client: ApiClient, tree: dict[str, Any], draft_id: int | None, version: int | None
) -> DraftOut:
    """A new draft, or a changed one that is still at `version`."""
    body = {"tree": tree, "version": version}
    if draft_id is None:
        return client._model(DraftOut, "POST", "/drafts", json=body)
    return client._model(DraftOut, "PUT", f"/drafts/{draft_id}", json=body)


def clusters(client: ApiClient, config: RunConfig, collision_max: float) -> ClustersOut:
    """The paper's clusters at the places of a drawn topology."""
    body = {"config": config.model_dump(mode="json"), "collision_max": collision_max}
    return client._model(ClustersOut, "POST", "/topology/clusters", json=body)


@st.cache_data(max_entries=64, ttl=3600, show_spinner=False)
def _curve(config_json: str) -> LinkCurveOut:
    return api()._model(
        LinkCurveOut,
        "POST",
        "/topology/link-curve",
        content=config_json,
        headers={"content-type": "application/json"},
    )


def link_curve(config: RunConfig) -> LinkCurveOut:
    """What a single link gives by distance; depends on channel, adapter and method alone."""
    parts = {"channel": config.channel, "adapter": config.adapter, "method": config.method}
    return _curve(RunConfig().model_copy(update=parts).model_dump_json())


def mesh_text(client: ApiClient, form: MeshFormat, topology: dict[str, Any], tasks: Any) -> str:
    """The text of a file with a mesh."""
    body = {"format": form, "topology": topology, "tasks": tasks}
    return client._model(MeshFileOut, "POST", "/topology/export", json=body).text


def mesh_of(client: ApiClient, text: str) -> TopologyOut:
    """The mesh of the text of a file, of any format that the API knows."""
    return client._model(TopologyOut, "POST", "/topology/import", json={"text": text})
