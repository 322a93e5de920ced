"""The API as typed calls. The only place in the dashboard that speaks HTTP."""

import os
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import httpx
import streamlit as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from meshtune.backend.schemas.runs import (
    Health,
    PlanOut,
    PresetOut,
    Problem,
    RoundPage,
    RunCreate,
    RunDetail,
    RunList,
    RunPatch,
    SessionOut,
)
from meshtune.dashboard.serving.launch import API_URL_VARIABLE, DEFAULT_API_URL
from meshtune.engine.config import RunConfig

TIMEOUT_S = 10.0  # a page of 200 rounds on a busy two-core machine takes a second or two
# How long a call is repeated that found the API busy; after that the person is told.
BUSY_PATIENCE_S = 15.0
REFUSED_AT_THE_DOOR = (429, 503)
PAGE = 200

Detail = Literal["summary", "scores", "full"]
ExportFormat = Literal["csv", "jsonl"]
M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


@dataclass
class ApiProblem(Exception):
    """The API refused, or did not answer. `detail` is one sentence to show as it is."""

    error: str
    detail: str
    status: int | None = None
    context: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.detail

    @property
    def fields(self) -> dict[str, str]:
        """Message per dotted config field, when the config was refused."""
        named = self.context.get("fields", [])
        return {str(each["field"]): str(each["message"]) for each in named}


class ApiClient:
    """Typed calls to one API. Every call raises `ApiProblem` and nothing else."""

    def __init__(
        self,
        base_url: str,
        transport: httpx.BaseTransport | None = None,
        token: str | None = None,
        http: httpx.Client | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._token = token
        self._http = http or connections(self.base_url, transport)

    def close(self) -> None:
        """Close the connections; the next call would fail."""
        self._http.close()

    def session(self) -> SessionOut:
        """Who calls, and what they may do."""
        return self._model(SessionOut, "GET", "/session")

    def health(self) -> Health:
        """Whether the service is up and how many workers live."""
        return self._model(Health, "GET", "/health")

    def presets(self) -> list[PresetOut]:
        """The named experiments, in gallery order."""
        answer = self._ask("GET", "/presets")
        return self._parsed(TypeAdapter(list[PresetOut]), answer)

    def plan(self, config: RunConfig) -> PlanOut:
        """Mesh, radio and costs of a config, nothing trained; and what keeps it from running."""
        return self._model(PlanOut, "POST", "/plan", json=config.model_dump(mode="json"))

    def create(self, config: RunConfig, *, cloned_from: int | None = None) -> RunDetail:
        """Queue a run, perhaps with the config of another, edited."""
        body = RunCreate(config=config, cloned_from=cloned_from).model_dump(mode="json")
        return self._model(RunDetail, "POST", "/runs", json=body)

    def runs(self, limit: int = 50, **only: Any) -> RunList:
        """The newest runs; `only` may name status, name, method, text, deleted, before."""
        return self._model(RunList, "GET", "/runs", params={"limit": limit, **only})

    def run(self, run_id: int) -> RunDetail:
        """One run."""
        return self._model(RunDetail, "GET", f"/runs/{run_id}")

    def rounds(
        self,
        run_id: int,
        after: int = -1,
        *,
        limit: int = PAGE,
        detail: Detail = "scores",
        every: int = 1,
    ) -> RoundPage:
        """Rounds of a run with an index above `after`: every so many of them, and the last."""
        params: dict[str, Any] = {"after": after, "limit": limit, "detail": detail, "every": every}
        return self._model(RoundPage, "GET", f"/runs/{run_id}/rounds", params=params)

    def cancel(self, run_id: int) -> RunDetail:
        """Ask a run to stop for good, within the step it is doing now."""
        return self._model(RunDetail, "POST", f"/runs/{run_id}/cancel")

    def pause(self, run_id: int) -> RunDetail:
        """Ask a run to halt within the step it is doing now."""
        return self._model(RunDetail, "POST", f"/runs/{run_id}/pause")

    def resume(self, run_id: int) -> RunDetail:
        """Let a paused run go on after its last finished round."""
        return self._model(RunDetail, "POST", f"/runs/{run_id}/resume")

    def retry(self, run_id: int) -> RunDetail:
        """Let a failed run go on after its last finished round."""
        return self._model(RunDetail, "POST", f"/runs/{run_id}/retry")

    def patch(self, run_id: int, **changes: Any) -> RunDetail:
        """Change priority, note or name of a run."""
        body = RunPatch(**changes).model_dump(mode="json", exclude_unset=True)
        return self._model(RunDetail, "PATCH", f"/runs/{run_id}", json=body)

    def delete(self, run_id: int) -> None:
        """Hide a run; it can be restored for a day."""
        self._ask("DELETE", f"/runs/{run_id}")

    def restore(self, run_id: int) -> RunDetail:
        """Take back the deletion of a run."""
        return self._model(RunDetail, "POST", f"/runs/{run_id}/restore")

    def export(self, run_id: int, form: ExportFormat) -> bytes:
        """All rounds of a run as a file."""
        return self._ask("GET", f"/runs/{run_id}/export", params={"format": form}).content

    def _model(self, model: type[M], method: str, path: str, **kwargs: Any) -> M:
        return self._parsed(TypeAdapter(model), self._ask(method, path, **kwargs))

    def _parsed(self, adapter: TypeAdapter[T], answer: httpx.Response) -> T:
        try:
            return adapter.validate_json(answer.content)
        except ValidationError as error:
            raise ApiProblem(
                "UnexpectedAnswer",
                f"the API at {self.base_url} gave an answer this dashboard does not understand; "
                "run both from the same version",
                answer.status_code,
            ) from error

    def _ask(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """The answer; asked again for a bounded time while the API says when to come again.

        It says so only if it has done nothing, so that a change is repeated as safely as a look.
        """
        waited_s = 0.0
        while True:
            answer = self._asked_once(method, path, **kwargs)
            wait_s = _told_to_wait_s(answer)
            if wait_s is None or waited_s + wait_s > BUSY_PATIENCE_S:
                break
            time.sleep(wait_s)
            waited_s += wait_s
        if answer.is_error:
            raise _problem(answer)
        return answer

    def _asked_once(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        headers = dict(kwargs.pop("headers", {}))
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        try:
            return self._http.request(method, path, headers=headers, **kwargs)
        except httpx.TimeoutException as error:
            raise ApiProblem(
                "ApiTimeout",
                f"the API at {self.base_url} did not answer within "
                f"{kwargs.get('timeout', TIMEOUT_S):.0f} s; "
                "it may be busy, try again",
            ) from error
        except httpx.HTTPError as error:
            raise ApiProblem(
                "ApiUnreachable",
                f"cannot reach the API at {self.base_url}; start it with `make up`",
            ) from error


def _told_to_wait_s(answer: httpx.Response) -> float | None:
    """Seconds after which the API wants to be asked again; None if it did not say."""
    told = answer.headers.get("retry-after", "")
    if answer.status_code not in REFUSED_AT_THE_DOOR or not told.isdecimal():
        return None
    return max(1.0, float(told))


def _problem(answer: httpx.Response) -> ApiProblem:
    try:
        problem = Problem.model_validate_json(answer.content)
    except ValidationError:
        why = f"the API failed without saying why ({answer.status_code})"
        detail = f"{why}; try again, or look at its log"
        return ApiProblem("UnexpectedAnswer", detail, answer.status_code)
    return ApiProblem(problem.error, problem.detail, answer.status_code, problem.context)


def connections(base_url: str, transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """Connections to an API, which know no token: each request brings its own."""
    return httpx.Client(
        base_url=base_url,
        timeout=TIMEOUT_S,
        transport=transport,
        trust_env=False,  # a proxy of the environment must not see calls to this machine
    )


TOKEN = "token"  # of the person in front of the page, in the session
_carried: ContextVar[ApiClient | None] = ContextVar("carried", default=None)


@st.cache_resource(max_entries=4, on_release=httpx.Client.close)
def _connections(base_url: str) -> httpx.Client:
    return connections(base_url)


def forget() -> None:
    """Close the connections of this process; `api` opens new ones."""
    _connections.clear()


def api() -> ApiClient:
    """The client of this session, with the token of its person and of nobody else.

    The address comes from MESHTUNE_API_URL.
    """
    return _carried.get() or api_with(st.session_state.get(TOKEN))


def api_with(token: str | None) -> ApiClient:
    """A client that shows this token."""
    url = os.environ.get(API_URL_VARIABLE, DEFAULT_API_URL)
    return ApiClient(url, token=token, http=_connections(url))


def carried(make: Callable[[], T]) -> Callable[[], T]:
    """The same call for later: outside of the session, but with its client.

    Streamlit makes the content of a download in a thread that knows no session.
    """
    client = api()

    def made() -> T:
        mark = _carried.set(client)
        try:
            return make()
        finally:
            _carried.reset(mark)

    return made
