"""The API as typed calls. The only place in the dashboard that speaks HTTP."""

import os
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import httpx
import streamlit as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from backend.schemas import (
    Health,
    PlanOut,
    PresetOut,
    Problem,
    RoundPage,
    RunCreate,
    RunDetail,
    RunList,
)
from dashboard.launch import API_URL_VARIABLE, DEFAULT_API_URL
from engine.config import RunConfig

TIMEOUT_S = 10.0  # a page of 200 rounds on a busy two-core machine takes a second or two
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

    def __init__(self, base_url: str, transport: httpx.BaseTransport | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        # trust_env off: a proxy of the environment must not see calls to this machine
        self._http = httpx.Client(
            base_url=self.base_url, timeout=TIMEOUT_S, transport=transport, trust_env=False
        )

    def close(self) -> None:
        """Close the connections; the next call would fail."""
        self._http.close()

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

    def create(self, config: RunConfig) -> RunDetail:
        """Queue a run."""
        body = RunCreate(config=config).model_dump(mode="json")
        return self._model(RunDetail, "POST", "/runs", json=body)

    def runs(self, limit: int = 50) -> RunList:
        """The newest runs."""
        return self._model(RunList, "GET", "/runs", params={"limit": limit})

    def run(self, run_id: int) -> RunDetail:
        """One run."""
        return self._model(RunDetail, "GET", f"/runs/{run_id}")

    def rounds(
        self, run_id: int, after: int = -1, *, limit: int = PAGE, detail: Detail = "scores"
    ) -> RoundPage:
        """Rounds of a run with an index above `after`."""
        params: dict[str, Any] = {"after": after, "limit": limit, "detail": detail}
        return self._model(RoundPage, "GET", f"/runs/{run_id}/rounds", params=params)

    def cancel(self, run_id: int) -> RunDetail:
        """Ask a run to stop after what it is doing now."""
        return self._model(RunDetail, "POST", f"/runs/{run_id}/cancel")

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
        try:
            answer = self._http.request(method, path, **kwargs)
        except httpx.TimeoutException as error:
            raise ApiProblem(
                "ApiTimeout",
                f"the API at {self.base_url} did not answer within {TIMEOUT_S:.0f} s; "
                "it may be busy, try again",
            ) from error
        except httpx.HTTPError as error:
            raise ApiProblem(
                "ApiUnreachable",
                f"cannot reach the API at {self.base_url}; start it with `make up`",
            ) from error
        if answer.is_error:
            raise _problem(answer)
        return answer


def _problem(answer: httpx.Response) -> ApiProblem:
    try:
        problem = Problem.model_validate_json(answer.content)
    except ValidationError:
        detail = f"the API answered with status {answer.status_code} and no explanation"
        return ApiProblem("UnexpectedAnswer", detail, answer.status_code)
    return ApiProblem(problem.error, problem.detail, answer.status_code, problem.context)


@st.cache_resource(max_entries=4, on_release=ApiClient.close)
def _client(base_url: str) -> ApiClient:
    return ApiClient(base_url)


def forget() -> None:
    """Close the clients of this process; `api` opens a new one."""
    _client.clear()


def api() -> ApiClient:
    """The client of this process; the address comes from MESHTUNE_API_URL."""
    return _client(os.environ.get(API_URL_VARIABLE, DEFAULT_API_URL))
