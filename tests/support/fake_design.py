"""Drafts and the questions of the map editor, for the stand-in API; the answers are real."""

import asyncio
import functools
from datetime import UTC, datetime
from typing import Any

import numpy as np
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from meshtune.backend.errors import InvalidConfig
from meshtune.backend.schemas.drafts import ClustersOut, DraftOut, LinkCurveOut
from meshtune.backend.schemas.runs import TopologyOut
from meshtune.db.drafts import DraftChanged, DraftNotFound
from meshtune.engine.config import RunConfig
from meshtune.engine.topology.files import drawn_from_text
from meshtune.engine.topology.suggestion import link_curve, suggested_mesh


class FakeDesign:
    """Drafts in memory."""

    def __init__(self) -> None:
        self.drafts: dict[int, dict[str, Any]] = {}
        self.delay_s = 0.0  # before a draft is saved
        self.answers_lost = 0  # so many of the next saves succeed and say nothing

    def routes(self) -> list[Route]:
        """What a design asks."""
        return [
            Route("/drafts", self._create, methods=["POST"]),
            Route("/drafts/{draft_id:int}", self._get, methods=["GET"]),
            Route("/drafts/{draft_id:int}", self._save, methods=["PUT"]),
            Route("/topology/link-curve", self._curve, methods=["POST"]),
            Route("/topology/clusters", self._clusters, methods=["POST"]),
            Route("/topology/import", self._import, methods=["POST"]),
        ]

    async def _create(self, request: Request) -> Response:
        tree = (await request.json())["tree"]
        await asyncio.sleep(self.delay_s)
        return self._kept(len(self.drafts) + 1, 1, tree, 201)

    async def _get(self, request: Request) -> Response:
        number = request.path_params["draft_id"]
        if number not in self.drafts:
            raise DraftNotFound(number)
        return JSONResponse(self.drafts[number])

    async def _save(self, request: Request) -> Response:
        number, body = request.path_params["draft_id"], await request.json()
        await asyncio.sleep(self.delay_s)
        version = self.drafts[number]["version"]
        if body["version"] != version:
            raise DraftChanged(number, version)
        kept = self._kept(number, version + 1, body["tree"])
        if self.answers_lost:
            self.answers_lost -= 1
            return Response("gateway timeout", status_code=504)
        return kept

    async def _curve(self, request: Request) -> Response:
        return _json(_curve_of(await request.body()))

    async def _clusters(self, request: Request) -> Response:
        body = await request.json()
        mesh = suggested_mesh(RunConfig.model_validate(body["config"]), body["collision_max"])
        told = {
            "clusters": mesh.cluster.tolist(),
            "merges": [vars(merge) for merge in mesh.merges],
            "links": np.argwhere(np.triu(mesh.linked)).tolist(),
        }
        return _json(ClustersOut.model_validate(told))

    async def _import(self, request: Request) -> Response:
        try:
            mesh = drawn_from_text((await request.json())["text"])
        except ValueError as error:
            raise InvalidConfig([("text", str(error))]) from error
        return _json(TopologyOut(topology=mesh.drawn, tasks=mesh.tasks, notes=mesh.notes))

    def _kept(self, number: int, version: int, tree: dict[str, Any], status: int = 200) -> Response:
        draft = DraftOut(id=number, version=version, tree=tree, updated_at=datetime.now(UTC))
        self.drafts[number] = draft.model_dump(mode="json")
        return _json(draft, status)


@functools.cache
def _curve_of(config_json: bytes) -> LinkCurveOut:
    curve = link_curve(RunConfig.model_validate_json(config_json))
    return LinkCurveOut.model_validate(vars(curve))


def _json(body: BaseModel, status: int = 200) -> Response:
    return Response(body.model_dump_json(), status, media_type="application/json")
