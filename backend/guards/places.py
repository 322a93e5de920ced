"""Places for work that takes a core or a thread for long: a few per kind, and no waiting for one.

A route runs in one of the few threads of the process (Starlette has 40). Were they all busy with
reports, nobody would be told how far a run is. So expensive addresses are counted before any thread
is taken; who finds no place is told at once when to come again. All places together are fewer than
the threads: what is cheap always finds one.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from re import Pattern

from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from meshtune.backend.errors import again_later
from meshtune.backend.guards.limits import SAFE


@dataclass(frozen=True)
class Kind:
    """Work that shares some places.

    Attributes:
        doing: what it is, as "the API is ... already" says it.
        places: how much of it goes on at a time, in each API process.
        retry_s: when to come again.
    """

    doing: str
    places: int
    retry_s: int = 1


REPORTS = Kind("making as many reports", 2, 3)  # each takes a core for two seconds
BUNDLES = Kind("packing as many bundles", 2, 3)  # each reads all it packs and writes it twice
IMPORTS = Kind("taking in as many files", 2, 3)  # from their first byte on
TABLES = Kind("writing as many tables", 2, 2)
QUESTIONS = Kind("answering as many questions about a model", 6, 2)  # one is; the others wait
EXPERIMENTS = Kind("computing as many experiments", 2, 2)  # seconds, with the widest matrices
COMPARISONS = Kind("comparing as many runs", 4)
# Two are worked on (backend/plan_cache.py), the others wait for their turn.
PLANS = Kind("planning as many runs", 8)
# They stand in one line before the database anyway; with it locked, for half a minute.
CHANGES = Kind("making as many changes", 4)

KINDS: Mapping[tuple[str, str], Kind] = {
    ("GET", "/compare/report"): REPORTS,
    ("GET", "/runs/{run_id}/bundle"): BUNDLES,
    ("GET", "/runs/{run_id}/adapters"): BUNDLES,
    ("POST", "/runs/import"): IMPORTS,
    ("GET", "/runs/{run_id}/export"): TABLES,
    ("GET", "/compare/table"): TABLES,
    ("GET", "/sweeps/{sweep_id}/table.csv"): TABLES,
    ("POST", "/playground"): QUESTIONS,
    ("GET", "/learn/routing"): QUESTIONS,
    ("GET", "/learn/interference"): EXPERIMENTS,
    ("GET", "/learn/collision"): EXPERIMENTS,
    ("GET", "/learn/subspaces"): EXPERIMENTS,
    ("GET", "/learn/link"): EXPERIMENTS,
    ("GET", "/learn/clusters"): EXPERIMENTS,
    ("GET", "/compare/candidates"): COMPARISONS,
    ("GET", "/compare/study"): COMPARISONS,
    ("GET", "/compare/paired"): COMPARISONS,
    ("GET", "/sweeps/{sweep_id}"): COMPARISONS,
    ("POST", "/plan"): PLANS,
    ("PUT", "/data/{name}"): IMPORTS,
    ("POST", "/data/preview"): PLANS,
    ("POST", "/runs"): PLANS,
    ("POST", "/sweeps"): PLANS,
    ("POST", "/topology/clusters"): PLANS,
    ("POST", "/topology/link-curve"): PLANS,
    ("POST", "/topology/import"): PLANS,
    ("POST", "/topology/export"): PLANS,
}


class Places:
    """ASGI middleware that lets expensive work in while it has a place, or answers 503 at once.

    It stands behind the one that reads bodies: a body that drips in holds no place. A place is
    free again when the answer has been sent and the work has ended, whoever left meanwhile.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.taken: Counter[Kind] = Counter()
        self._rules: list[tuple[str, Pattern[str], Kind]] = [
            (method, compile_path(path)[0], kind) for (method, path), kind in KINDS.items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on in its place, if it needs one."""
        kind = self.kind_of(scope) if scope["type"] == "http" else None
        if kind is None:
            await self.app(scope, receive, send)
            return
        # One thread runs all of this, so nobody comes between the look and the count.
        if self.taken[kind] >= kind.places:
            detail = f"the API is {kind.doing} as it can already"
            await again_later(503, "Busy", detail, kind.retry_s)(scope, receive, send)
            return
        self.taken[kind] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.taken[kind] -= 1

    def kind_of(self, scope: Scope) -> Kind | None:
        """What a request is; None if it is cheap."""
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        path = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))
        for of_method, pattern, kind in self._rules:
            if of_method == method and pattern.match(path):
                return kind
        return None if method in SAFE else CHANGES
