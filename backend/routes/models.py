"""Language models beside the embedded one: what is here, and fetching what is not."""

from typing import Any

from fastapi import APIRouter, Request

from meshtune.backend.fetching import Fetching
from meshtune.backend.schemas.models import ModelOut
from meshtune.backend.schemas.runs import Problem

router = APIRouter(prefix="/models", tags=["models"])

REFUSED: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such model to fetch"},
    409: {"model": Problem, "description": "Another model is being fetched"},
}


@router.get("")
def list_models(request: Request) -> list[ModelOut]:
    """Models that can be fetched and models that are here, by name."""
    fetching: Fetching = request.app.state.fetching
    return fetching.models()


@router.post("/{name}/fetch", status_code=202, responses=REFUSED)
def fetch_model(name: str, request: Request) -> ModelOut:
    """Begin to fetch a model; `GET /models` says how far that is."""
    fetching: Fetching = request.app.state.fetching
    fetching.start(name)
    return next(model for model in fetching.models() if model.name == name)
