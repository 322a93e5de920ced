"""What one needs to design a run: presets, the schema of a config, a look at what it gives."""

from typing import Any

from fastapi import APIRouter

from backend.errors import BODY
from backend.schemas import PresetOut
from engine.config import RunConfig
from engine.plan import Preview, preview
from engine.presets import load_preset, preset_names

router = APIRouter(tags=["design"])


@router.get("/presets")
def list_presets() -> list[PresetOut]:
    """The experiments that ship with Meshtune, in gallery order."""
    return [PresetOut(**vars(load_preset(name))) for name in preset_names()]


@router.get("/schema/run-config")
def run_config_schema() -> dict[str, Any]:
    """JSON schema of a config: defaults, bounds, units and help texts."""
    return RunConfig.model_json_schema()


@router.post("/preview", responses=BODY)
def preview_run(body: RunConfig) -> Preview:
    """Places, links and radio of a config, without training."""
    return preview(body)
