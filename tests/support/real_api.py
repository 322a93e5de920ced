"""The API itself over a small database, as `served` wants it; with one preset to draw."""

from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from meshtune.backend.app import create_app
from meshtune.backend.schemas.runs import PresetOut
from meshtune.backend.settings import Settings
from meshtune.engine.presets import load_preset


class RealApi:
    """What `served` needs."""

    def __init__(self, store: Engine, settings: Settings) -> None:
        self._api = create_app(settings)
        self._api.state.engine = store

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/presets", one_preset), Mount("/", self._api)])


def one_preset(_request: Request) -> Response:
    """The first preset, instead of all of them."""
    preset = PresetOut(**vars(load_preset("quick")))
    return Response(f"[{preset.model_dump_json()}]", media_type="application/json")
