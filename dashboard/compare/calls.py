"""Comparisons as typed calls on the client of the API; each raises `ApiProblem` alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter

from meshtune.backend.schemas.compare import Candidates, Paired, Study
from meshtune.dashboard.api.client import ApiClient

TableFormat = Literal["csv", "parquet"]
_STUDY = TypeAdapter(Study)


@dataclass(frozen=True)
class Seen:
    """A study and the tag by which the API knows whether it has changed since."""

    asked: tuple[int, ...]
    tag: str
    study: Study


def candidates(client: ApiClient, limit: int = 200, **only: Any) -> Candidates:
    """The newest runs with their groups; `only` may name status, method, text."""
    params = {"limit": limit, **only}
    return client._model(Candidates, "GET", "/compare/candidates", params=params)


def study(client: ApiClient, run_ids: Sequence[int], seen: Seen | None = None) -> Seen:
    """Configs and curves of these runs; `seen` itself if nothing has changed since."""
    asked = tuple(run_ids)
    known = seen is not None and seen.asked == asked
    headers = {"if-none-match": seen.tag} if seen is not None and known else {}
    answer = client._ask("GET", "/compare/study", params={"run": list(asked)}, headers=headers)
    if seen is not None and answer.status_code == 304:
        return seen
    return Seen(asked, answer.headers.get("etag", ""), client._parsed(_STUDY, answer))


def paired(client: ApiClient, run_ids: Sequence[int], reference: int) -> Paired:
    """Groups of seeds, and their tests against the group of the run `reference`."""
    params = {"run": list(run_ids), "reference": reference}
    return client._model(Paired, "GET", "/compare/paired", params=params)


def table(client: ApiClient, run_ids: Sequence[int], form: TableFormat) -> bytes:
    """Every round of these runs as one file."""
    params = {"run": list(run_ids), "format": form}
    return client._ask("GET", "/compare/table", params=params).content
