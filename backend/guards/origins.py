"""What a browser may do with this API: be called by our own pages, and by nobody else's.

A page of any site that is open in the same browser can send requests to 127.0.0.1. It cannot read
the answers (no CORS header is ever sent), but it must not be able to cancel a run either, nor to
hold event streams open; and no name of its own may lead here (DNS rebinding).
"""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from meshtune.backend.errors import problem
from meshtune.backend.schemas.hosts import name_in

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
OURS = frozenset({"same-origin", "none"})  # none: typed by a person
NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
DOCS = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_NAME = re.compile(r"[a-z0-9_-]+")


class SecurityHeaders:
    """ASGI middleware that adds `HEADERS` and a content policy to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; complete the headers of its answer."""
        policy = DOCS if scope.get("path", "").endswith("/docs") else NOTHING

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("content-security-policy", policy)
            await send(message)

        await self.app(scope, receive, guarded)


class OwnPagesOnly:
    """ASGI middleware that refuses what pages of other origins, or under other names, send.

    A Host header that is no host is refused from everybody: what stands before and behind this
    service might read different names in it.

    Args:
        app: what to guard.
        hosts: names by which a browser may call, besides those that no site can have.
        any_host: believe every name; for an API whose callers prove themselves by a token.
    """

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str], any_host: bool) -> None:
        self.app = app
        self.hosts = hosts
        self.any_host = any_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 400 or 403."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        host = hosts[0] if hosts else ""
        if len(hosts) > 1 or (hosts and name_in(host) is None):
            refusal = problem(
                400,
                "MalformedHost",
                f"the Host header {', '.join(hosts)[:80]!r} is no name or address with a port; "
                "send one such as 127.0.0.1:8701",
            )
        elif not (self.any_host or is_own_name(host, self.hosts)):
            refusal = problem(
                403,
                "UnknownHost",
                f"this API does not answer to the name {host[:80]!r}; "
                "call it by 127.0.0.1, or add the name to MESHTUNE_ALLOWED_HOSTS",
            )
        elif not sent_by_own_page(scope["method"], headers):
            refusal = problem(
                403,
                "CrossSite",
                "a page of another origin sent this; only pages of this API may, "
                "and programs, which send no Origin",
            )
        else:
            await self.app(scope, receive, send)
            return
        await refusal(scope, receive, send)


def is_own_name(host: str, allowed: frozenset[str] = frozenset()) -> bool:
    """Whether a Host header names no other site that could have led a browser here.

    An address as a number cannot be rebound, and no public site has a name without a dot.
    """
    name = name_in(host)
    if name is None:
        return False
    if name in allowed or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name)
    except ValueError:
        return _NAME.fullmatch(name) is not None
    return True


def sent_by_own_page(method: str, headers: Headers) -> bool:
    """Whether a program or a page of this API sent the request, or a person followed a link."""
    site = headers.get("sec-fetch-site")
    if site is not None and site not in OURS:
        followed = headers.get("sec-fetch-mode") == "navigate"
        return followed and method == "GET" and headers.get("sec-fetch-dest") == "document"
    origin = headers.get("origin")
    if origin is None or method in SAFE:
        return True
    return urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
