"""What one needs to design a run: presets, the schema of a config, its plan, meshes of files."""

from functools import cache
from typing import Any

from fastapi import APIRouter, Request, Response

from meshtune.backend.deps import Known
from meshtune.backend.errors import BODY, InvalidConfig
from meshtune.backend.guards.files import require_kept_rows
from meshtune.backend.schemas.runs import PlanOut, PresetOut, TopologyFile, TopologyOut
from meshtune.engine.config import RunConfig, config_hash
from meshtune.engine.presets import load_preset, preset_names
from meshtune.engine.presets.stored import stored_result
from meshtune.engine.topology.files import drawn_from_text

router = APIRouter(tags=["design"])


@router.get("/presets")
def list_presets() -> list[PresetOut]:
    """The experiments that ship with Meshtune, in gallery order."""
    return [_preset(name) for name in preset_names()]


@cache
def _preset(name: str) -> PresetOut:
    """A preset and what it gave; files of the package stay as they are while it runs."""
    preset, result = load_preset(name), stored_result(name)
    if result is not None and result.config_sha256 != config_hash(preset.config):
        result = None  # of an older config: its numbers would be those of another experiment
    return PresetOut(**vars(preset), result=result)


@router.get("/schema/run-config")
def run_config_schema() -> dict[str, Any]:
    """JSON schema of a config: defaults, bounds, units and help texts."""
    return _schema()


@cache
def _schema() -> dict[str, Any]:
    return RunConfig.model_json_schema()


@router.post("/plan", responses=BODY, response_model=PlanOut)
def plan_run(body: RunConfig, plans: Known, request: Request) -> Response:
    """Mesh, radio and costs of a config without training, and what keeps it from running."""
    require_kept_rows(request, body)
    return Response(plans.body(body), media_type="application/json")


@router.post("/topology/import", responses=BODY)
def import_topology(body: TopologyFile) -> TopologyOut:
    """A mesh from the text of a file: JSON, GraphML, GML or Pajek, recognised by its content."""
    try:
        mesh = drawn_from_text(body.text)
    except ValueError as error:
        raise InvalidConfig([("text", str(error))]) from error
    return TopologyOut(topology=mesh.drawn, tasks=mesh.tasks, notes=mesh.notes)
