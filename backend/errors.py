"""Every error of the API: one table from exception to status, one JSON shape (`Problem`)."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from meshtune.backend.schemas.runs import Problem
from meshtune.db.drafts import DraftChanged, DraftNotFound
from meshtune.db.errors import (
    IllegalTransition,
    RunNotFound,
    StoreUnavailable,
    UnreadableConfig,
    UnreadableRound,
)
from meshtune.db.sweeps import SweepNotFound, UnreadableSweep
from meshtune.engine.config import RunConfig, plain_errors
from meshtune.engine.data.kept import NameTaken
from meshtune.engine.errors import AssetMissing, ConfigMismatch, PresetNotFound


class PlaygroundBusy(Exception):
    """The playground cannot answer now; trying again may help."""


class ReportFailed(Exception):
    """No report came about; the message is one sentence."""


class NotOffered(Exception):
    """There is no such model to fetch."""


class FetchBusy(Exception):
    """Another model is being fetched."""


STATUS: dict[type[Exception], int] = {
    RunNotFound: 404,
    PresetNotFound: 404,
    SweepNotFound: 404,
    DraftNotFound: 404,
    NotOffered: 404,
    DraftChanged: 409,
    NameTaken: 409,
    FetchBusy: 409,
    IllegalTransition: 409,
    ConfigMismatch: 422,
    AssetMissing: 422,
    StoreUnavailable: 503,
    UnreadableConfig: 500,
    UnreadableRound: 500,
    UnreadableSweep: 500,
    PlaygroundBusy: 503,
    ReportFailed: 503,
}
# Named in full: with a model alone, OpenAPI would say that streams refuse in their own format.
_PROBLEM = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
# What OpenAPI says of every route; most of it comes before any route is asked.
ANYWHERE: dict[int | str, dict[str, Any]] = {
    401: {"content": _PROBLEM, "description": "A token is needed, or this one is not valid"},
    403: {
        "content": _PROBLEM,
        "description": "The token may not do this, or a page of another origin asked",
    },
    422: {"content": _PROBLEM, "description": "A field is wrong; `detail` names it"},
    429: {
        "content": _PROBLEM,
        "description": "Too many requests; Retry-After says when to come again",
    },
    503: {
        "content": _PROBLEM,
        "description": "The database cannot be used right now; or, with Retry-After, as much work "
        "of this kind goes on as can",
    },
}
# And of every route that changes something.
WRITES: dict[int | str, dict[str, Any]] = {
    408: {"model": Problem, "description": "The body took too long to arrive"},
    413: {"model": Problem, "description": "The body is too large"},
}
BODY: dict[int | str, dict[str, Any]] = {
    413: {"model": Problem, "description": "The body is too large"},
    415: {"model": Problem, "description": "The body is not sent as JSON"},
}
NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such run"}
}
CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"model": Problem, "description": "The run is not in a state that allows it"}
}


class InvalidConfig(Exception):
    """Input that has the right shape and cannot be used: (field, one sentence) of each problem."""

    def __init__(self, fields: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in fields))
        self.fields = fields


_HTTP = {
    404: ("NotFound", "there is no such address here; the page of documentation lists all"),
    405: (
        "MethodNotAllowed",
        "this cannot be done at this address; the page of documentation says what can",
    ),
}
_NAMES = {413: "BodyTooLarge"}


def problem(
    status: int, error: str, detail: str, context: dict[str, Any] | None = None
) -> JSONResponse:
    """An error answer."""
    body = Problem(error=error, detail=detail, context=context or {})
    return JSONResponse(body.model_dump(mode="json"), status_code=status)


def again_later(status: int, error: str, why: str, wait_s: int) -> JSONResponse:
    """An answer that says when to come again; nothing of what was asked has been done."""
    answer = problem(status, error, f"{why}; try again in {wait_s} s", {"retry_after_s": wait_s})
    answer.headers["retry-after"] = str(wait_s)
    return answer


def install(app: FastAPI) -> None:
    """Make `app` answer every error as a `Problem`, never with a traceback."""
    for kind in STATUS:
        app.add_exception_handler(kind, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(InvalidConfig, _unusable)
    app.add_exception_handler(HTTPException, _http)


def _known(_request: Request, error: Exception) -> JSONResponse:
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    context = {
        k: v for k, v in vars(error).items() if isinstance(v, str | int) and not k.startswith("_")
    }
    return problem(status, type(error).__name__, str(error), context)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - Starlette hands over no other
    found = error.errors()
    if found[0]["type"] == "json_invalid":
        reason = found[0].get("ctx", {}).get("error", "it ends too early")
        return problem(422, "InvalidJson", f"the body is not JSON: {reason}")
    if found[0]["loc"] == ("body",) and not is_json(request.headers):
        given = request.headers.get("content-type", "nothing")
        return problem(
            415,
            "UnsupportedMediaType",
            f"send the body with content-type application/json, not {given[:80]}",
        )
    root = _body_model(request)
    return named_problems(plain_errors([_from_inside(item, root) for item in found]))


def _unusable(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, InvalidConfig)  # noqa: S101 - Starlette hands over no other
    return named_problems(error.fields)


def named_problems(found: Sequence[tuple[str, str]]) -> JSONResponse:
    """The answer that names each wrong field with its sentence."""
    fields = [{"field": field, "message": message} for field, message in found]
    more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
    detail = f"{fields[0]['field']}: {fields[0]['message']}{more}"
    return problem(422, "InvalidInput", detail, {"fields": fields})


def _from_inside(error: dict[str, Any], root: type[BaseModel] | None) -> dict[str, Any]:
    """The error with its place as the person wrote it: without "body", "query", "config"."""
    path: Sequence[str | int] = error["loc"][1:]
    if error["loc"][0] == "body" and len(path) > 1 and path[0] == "config":
        path, root = path[1:], RunConfig
    return error | {"loc": tuple(path), "root": root if error["loc"][0] == "body" else None}


def _body_model(request: Request) -> type[BaseModel] | None:
    """What the body of a request should have been."""
    field = getattr(request.scope.get("route"), "body_field", None)
    model = None if field is None else field.field_info.annotation
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def is_json(headers: Headers) -> bool:
    """Whether a request says that its body is JSON."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - Starlette hands over no other
    if error.status_code == 400:  # FastAPI, of a body that broke the JSON parser
        return problem(422, "InvalidJson", "the body cannot be read; send one JSON object")
    name, detail = _HTTP.get(
        error.status_code, (_NAMES.get(error.status_code, "HttpError"), str(error.detail))
    )
    answer = problem(error.status_code, name, detail)
    answer.headers.update(error.headers or {})
    if error.status_code == 405:
        answer.headers["allow"] = ", ".join(_methods_at(request))
    return answer


def _methods_at(request: Request) -> list[str]:
    """Every method of this address; the router names those of its first route alone."""
    found: dict[str, set[str]] = {}
    for route in iter_route_contexts(request.app.routes):
        path = route.path or ""
        if compile_path(path)[0].match(request.scope["path"]):
            found.setdefault(path, set()).update(route.methods or ())
    closest = min(found, key=lambda path: path.count("{"), default="")
    return sorted(found.get(closest, ()))


def unexpected() -> JSONResponse:
    """The answer to what nobody expected."""
    return problem(
        500, "InternalError", "something unexpected went wrong; the log of the API has the details"
    )
