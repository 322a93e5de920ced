"""Designing by hand: drafts that outlive a page, and what the map editor asks."""

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Path

from meshtune.backend.deps import ID_MAX, Reading, Writing
from meshtune.backend.errors import BODY, CONFLICT, NOT_FOUND, InvalidConfig
from meshtune.backend.schemas.drafts import (
    ClustersIn,
    ClustersOut,
    DraftIn,
    DraftOut,
    LinkCurveOut,
    MeshFileOut,
    MeshIn,
)
from meshtune.db import drafts
from meshtune.engine.config import RunConfig
from meshtune.engine.topology.files import to_graphml, to_json
from meshtune.engine.topology.suggestion import link_curve, suggested_mesh

router = APIRouter(tags=["design"])
DraftId = Annotated[int, Path(ge=1, le=ID_MAX, description="Number of the draft")]


@router.post("/drafts", status_code=201, responses=BODY)
def create_draft(body: DraftIn, session: Writing) -> DraftOut:
    """Keep a config under design, valid or not."""
    return _told(drafts.create(session, body.tree))


@router.get("/drafts/{draft_id}", responses=NOT_FOUND)
def get_draft(draft_id: DraftId, session: Reading) -> DraftOut:
    """A draft as it is."""
    return _told(drafts.get(session, draft_id))


@router.put("/drafts/{draft_id}", responses=NOT_FOUND | CONFLICT | BODY)
def save_draft(draft_id: DraftId, body: DraftIn, session: Writing) -> DraftOut:
    """Replace a draft, unless somebody else has changed it since."""
    return _told(drafts.save(session, draft_id, body.version or 1, body.tree))


@router.post("/topology/clusters", responses=BODY)
def suggest_clusters(body: ClustersIn) -> ClustersOut:
    """The paper's clusters at drawn places, step by step."""
    mesh = suggested_mesh(body.config, body.collision_max)
    return ClustersOut.model_validate(
        {
            "clusters": mesh.cluster.tolist(),
            "merges": [vars(merge) for merge in mesh.merges],
            "links": np.argwhere(np.triu(mesh.linked)).tolist(),
        }
    )


@router.post("/topology/link-curve", responses=BODY)
def curve_of_links(body: RunConfig) -> LinkCurveOut:
    """Mean SNR, rate and outage of one link by distance, alone on the air."""
    return LinkCurveOut.model_validate(vars(link_curve(body)))


@router.post("/topology/export", responses=BODY)
def export_topology(body: MeshIn) -> MeshFileOut:
    """A mesh as the text of a file."""
    places = np.array([(p.x_m, p.y_m) for p in body.topology.positions], dtype=np.float64)
    linked = np.zeros((len(places), len(places)), dtype=bool)
    for one, other in body.topology.links:
        linked[one, other] = linked[other, one] = True
    if body.tasks is not None and len(body.tasks) != len(places):
        raise InvalidConfig([("tasks", f"name {len(places)} tasks, one per device, or none")])
    write = to_json if body.format == "json" else to_graphml
    return MeshFileOut(text=write(places, linked, body.tasks))


def _told(draft: drafts.Draft) -> DraftOut:
    return DraftOut.model_validate(draft, from_attributes=True)
