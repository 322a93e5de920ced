"""Who may call which route: a table of scopes as data, and the gate that asks for tokens.

The gate stands before the router, so that nothing of a request is parsed, and no address told,
before its token is good. Whatever the table does not name needs `admin`: a route that was
forgotten is closed, not open.
"""

from collections.abc import Sequence
from ipaddress import ip_address
from re import Pattern
from typing import NamedTuple

from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from meshtune.backend.errors import problem
from meshtune.backend.settings import is_loopback
from meshtune.db import tokens
from meshtune.db.errors import StoreUnavailable
from meshtune.db.moves import PERSON
from meshtune.db.scopes import Scope as Needs
from meshtune.db.session import reading
from meshtune.db.tokens import Bearer

OPEN = None  # says no more than that the service is there, or what its source code says
SCOPES: dict[tuple[str, str], Needs | None] = {
    ("GET", "/health/live"): OPEN,
    ("GET", "/health/ready"): OPEN,
    ("GET", "/docs"): OPEN,
    ("GET", "/docs/{file}"): OPEN,
    ("GET", "/openapi.json"): OPEN,
    ("GET", "/handbook"): OPEN,
    ("GET", "/handbook/{file:path}"): OPEN,
    ("GET", "/health"): Needs.READ,
    ("GET", "/metrics"): Needs.READ,
    ("GET", "/session"): Needs.READ,
    ("GET", "/presets"): Needs.READ,
    ("GET", "/schema/run-config"): Needs.READ,
    ("POST", "/plan"): Needs.READ,
    ("POST", "/topology/import"): Needs.READ,
    ("POST", "/playground"): Needs.READ,
    ("GET", "/learn/interference"): Needs.READ,
    ("GET", "/learn/collision"): Needs.READ,
    ("GET", "/learn/subspaces"): Needs.READ,
    ("GET", "/learn/link"): Needs.READ,
    ("GET", "/learn/clusters"): Needs.READ,
    ("GET", "/learn/routing"): Needs.READ,
    ("GET", "/data"): Needs.READ,
    ("PUT", "/data/{name}"): Needs.RUN,
    ("POST", "/data/preview"): Needs.READ,
    ("GET", "/models"): Needs.READ,
    ("POST", "/models/{name}/fetch"): Needs.ADMIN,
    ("POST", "/topology/clusters"): Needs.READ,
    ("POST", "/topology/link-curve"): Needs.READ,
    ("POST", "/topology/export"): Needs.READ,
    ("POST", "/drafts"): Needs.RUN,
    ("GET", "/drafts/{draft_id}"): Needs.READ,
    ("PUT", "/drafts/{draft_id}"): Needs.RUN,
    ("GET", "/runs/{run_id}/playground"): Needs.READ,
    ("GET", "/runs"): Needs.READ,
    ("POST", "/runs"): Needs.RUN,
    ("GET", "/runs/{run_id}"): Needs.READ,
    ("PATCH", "/runs/{run_id}"): Needs.RUN,
    ("DELETE", "/runs/{run_id}"): Needs.ADMIN,
    ("POST", "/runs/{run_id}/restore"): Needs.ADMIN,
    ("POST", "/runs/{run_id}/pause"): Needs.RUN,
    ("POST", "/runs/{run_id}/resume"): Needs.RUN,
    ("POST", "/runs/{run_id}/cancel"): Needs.RUN,
    ("POST", "/runs/{run_id}/retry"): Needs.RUN,
    ("GET", "/runs/{run_id}/rounds"): Needs.READ,
    ("GET", "/runs/{run_id}/export"): Needs.READ,
    ("GET", "/runs/{run_id}/bundle"): Needs.READ,
    ("GET", "/runs/{run_id}/adapters"): Needs.READ,
    ("POST", "/runs/import"): Needs.ADMIN,
    ("GET", "/runs/{run_id}/events/stream"): Needs.READ,
    ("GET", "/events/stream"): Needs.READ,
    ("GET", "/compare/candidates"): Needs.READ,
    ("GET", "/compare/study"): Needs.READ,
    ("GET", "/compare/paired"): Needs.READ,
    ("GET", "/compare/table"): Needs.READ,
    ("GET", "/compare/report"): Needs.READ,
    ("GET", "/sweeps"): Needs.READ,
    ("POST", "/sweeps"): Needs.RUN,
    ("GET", "/sweeps/{sweep_id}"): Needs.READ,
    ("POST", "/sweeps/{sweep_id}/stop"): Needs.RUN,
    ("GET", "/sweeps/{sweep_id}/table.csv"): Needs.READ,
}


class _Rule(NamedTuple):
    method: str
    path: Pattern[str]
    needs: Needs | None


def _rules() -> Sequence[_Rule]:
    # Addresses without a parameter first: /runs/import is not the run named "import".
    ordered = sorted(SCOPES.items(), key=lambda entry: entry[0][1].count("{"))
    return [_Rule(method, compile_path(path)[0], needs) for (method, path), needs in ordered]


def needs_of(method: str, path: str, rules: Sequence[_Rule]) -> Needs | None:
    """Scope that a request needs; `admin` if no rule names it."""
    method = "GET" if method == "HEAD" else method
    for rule in rules:
        if rule.method == method and rule.path.match(path):
            return rule.needs
    return Needs.ADMIN


class TokenGate:
    """ASGI middleware that lets a request in by its token, or refuses it with 401 or 403.

    A token is asked for if the settings say so, and also of a request that reached an address
    beyond this machine: whoever binds the server by hand must not open the door by that.
    """

    def __init__(self, app: ASGIApp, *, required: bool) -> None:
        self.app = app
        self.required = required
        self.rules = _rules()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Name the caller for those behind, or refuse."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))
        needs = needs_of(scope.get("method", ""), path, self.rules)
        secret = bearer_secret(Headers(scope=scope).get("authorization"))
        required = needs is not OPEN and (self.required or _from_beyond(scope))
        try:
            bearer = await self._bearer(scope, secret)
        except StoreUnavailable as error:
            if required:
                await problem(503, "StoreUnavailable", str(error))(scope, receive, send)
                return
            bearer = None
        refusal = _refusal(needs, secret, bearer) if required and needs is not None else None
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        scope.setdefault("state", {})["actor"] = PERSON if bearer is None else actor(bearer.name)
        scope["state"]["bearer"] = bearer
        await self.app(scope, receive, send)

    async def _bearer(self, scope: Scope, secret: str | None) -> Bearer | None:
        if secret is None:
            return None
        return await run_in_threadpool(_looked_up, scope["app"].state.engine, secret)


def actor(token_name: str) -> str:
    """How events name the bearer of a token."""
    return f"token {token_name}"


def bearer_secret(header: str | None) -> str | None:
    """What follows "Bearer" in the header; None without such a header."""
    kind, _, secret = (header or "").partition(" ")
    return secret.strip() or None if kind.lower() == "bearer" else None


def _looked_up(engine: Engine, secret: str) -> Bearer | None:
    with reading(engine) as session:
        return tokens.bearer_of(session, secret)


def _from_beyond(scope: Scope) -> bool:
    """Whether the request reached an address that other machines can reach."""
    host = (scope.get("server") or ("",))[0]
    try:
        ip_address(host)
    except ValueError:
        return False  # a socket file, or a test
    return not is_loopback(host)


def _refusal(needs: Needs, secret: str | None, bearer: Bearer | None) -> ASGIApp | None:
    if bearer is None:
        told = "" if secret is None else ', error="invalid_token"'
        detail = (
            "this API asks for a token: send it as `Authorization: Bearer TOKEN`; "
            f"`meshtune token create NAME --scope {needs}` makes one"
            if secret is None
            else "this token is unknown, revoked or too old; "
            f"`meshtune token create NAME --scope {needs}` makes a new one"
        )
        answer = problem(401, "Unauthorized", detail)
        answer.headers["www-authenticate"] = f'Bearer realm="meshtune"{told}'
        return answer
    if bearer.scope.covers(needs):
        return None
    answer = problem(
        403,
        "ScopeTooSmall",
        f"the token {bearer.name} has the scope {bearer.scope}, this needs {needs}; "
        f"`meshtune token create NAME --scope {needs}` makes one that may",
        {"scope": bearer.scope, "needs": needs},
    )
    answer.headers["www-authenticate"] = (
        f'Bearer realm="meshtune", error="insufficient_scope", scope="{needs}"'
    )
    return answer
