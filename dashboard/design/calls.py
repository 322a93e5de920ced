"""Designing by hand as typed calls on the client of the API; each raises `ApiProblem`."""

from typing import Any, Literal
from urllib.parse import quote

import streamlit as st
from pydantic import TypeAdapter

from meshtune.backend.schemas.data import FileOut, PreviewOut
from meshtune.backend.schemas.drafts import ClustersOut, DraftOut, LinkCurveOut, MeshFileOut
from meshtune.backend.schemas.models import ModelOut
from meshtune.backend.schemas.runs import TopologyOut
from meshtune.dashboard.api.client import ApiClient, api
from meshtune.engine.config import RunConfig

UPLOAD_S = 120.0  # the API reads every row before it keeps a file
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


def files(client: ApiClient) -> list[FileOut]:
    """Files of rows that are here, by name."""
    return client._parsed(TypeAdapter(list[FileOut]), client._ask("GET", "/data"))


def keep_file(client: ApiClient, name: str, content: bytes) -> FileOut:
    """Keep a file of rows."""
    return client._model(
        FileOut,
        "PUT",
        f"/data/{quote(name, safe='')}",
        content=content,
        headers={"content-type": "application/octet-stream"},
        timeout=UPLOAD_S,
    )


def preview(client: ApiClient, path: str, **asked: Any) -> PreviewOut:
    """What a template makes of a file; without one, what fits its columns."""
    body = {"path": path, **asked}
    return client._model(PreviewOut, "POST", "/data/preview", json=body, timeout=UPLOAD_S)


def models(client: ApiClient) -> list[ModelOut]:
    """Language models that are here or can be fetched."""
    return client._parsed(TypeAdapter(list[ModelOut]), client._ask("GET", "/models"))


def fetch_model(client: ApiClient, name: str) -> ModelOut:
    """Begin to fetch a model."""
    return client._model(ModelOut, "POST", f"/models/{quote(name, safe='')}/fetch")
