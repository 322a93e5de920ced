"""Bounds on what a caller may send and how often, checked before anything parses it."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from re import Pattern
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from meshtune.backend.errors import again_later, is_json, named_problems, problem
from meshtune.backend.guards.json_bodies import first_problem

BODY_MAX_BYTES = 1_000_000
BODY_MAX_S = 30.0  # a body of that size that takes longer is meant to hold us up


class FileLimit(NamedTuple):
    """How large a file may be, and what to do with a larger one."""

    bytes: int
    instead: str


# Addresses that take files: their bodies are counted while the route reads them, not kept here.
FILE_LIMITS: dict[tuple[str, str], FileLimit] = {
    ("POST", "/runs/import"): FileLimit(256_000_000, "export fewer rounds"),
    ("PUT", "/data/{name}"): FileLimit(
        64 * 2**20, "use a part of it, or `meshtune data add` on the machine of the lab"
    ),
}
NO_FILE = FileLimit(BODY_MAX_BYTES, "a config needs far less")
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# What changes nothing is no write, whatever its method.
FREE = frozenset(
    ("POST", path)
    for path in (
        "/data/preview",
        "/plan",
        "/playground",
        "/topology/clusters",
        "/topology/export",
        "/topology/import",
        "/topology/link-curve",
    )
)
# Whoever watches the service must hear from it however often others at that address call.
WATCHED = frozenset({"/health/live", "/health/ready"})
CALLERS_MAX = 10_000


class BodyLimit:
    """ASGI middleware that refuses bodies that are too large, whatever their header claims."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the app the whole body as one message, or a file as it comes."""
        if scope["type"] != "http" or scope["method"] in SAFE:
            await self.app(scope, receive, send)
            return
        limit = _limit_of(scope)
        if _claimed_bytes(scope) > limit.bytes:
            await _too_large(limit)(scope, receive, send)
        elif limit is not NO_FILE:
            await self.app(scope, _counted(receive, limit), send)
        else:
            await self._with_whole_body(scope, receive, send)

    async def _with_whole_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(BODY_MAX_S):
                body = await _whole_body(receive)
        except TimeoutError:
            slow = problem(
                408,
                "BodyTooSlow",
                f"what was sent did not arrive in {BODY_MAX_S:g} s; send it again",
            )
            await slow(scope, receive, send)
            return
        if body is None:
            return  # the client is gone
        if len(body) > BODY_MAX_BYTES:
            await _too_large(NO_FILE)(scope, receive, send)
            return
        if is_json(Headers(scope=scope)) and (found := first_problem(body)) is not None:
            await named_problems([found])(scope, receive, send)
            return
        whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self.app(scope, replay, send)


async def _whole_body(receive: Receive) -> bytes | None:
    """The body, or its beginning once it is too large; None if the client left."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > BODY_MAX_BYTES or not message.get("more_body", False):
            return bytes(body)


def _limit_of(scope: Scope) -> FileLimit:
    for (method, path), limit in FILE_LIMITS.items():
        if method == scope["method"] and _pattern(path).match(scope["path"]):
            return limit
    return NO_FILE


@cache
def _pattern(path: str) -> Pattern[str]:
    return compile_path(path)[0]


def _counted(receive: Receive, limit: FileLimit) -> Receive:
    """`receive` that ends with an error once more bytes have come than the limit allows."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit.bytes:
            raise HTTPException(413, _too_large_detail(limit))
        return message

    return counted


def _claimed_bytes(scope: Scope) -> int:
    claimed = Headers(scope=scope).get("content-length", "")
    return int(claimed) if claimed.isdecimal() and len(claimed) < 20 else 0


def _too_large(limit: FileLimit) -> ASGIApp:
    return problem(413, "BodyTooLarge", _too_large_detail(limit))


def _too_large_detail(limit: FileLimit) -> str:
    return f"what was sent is larger than {limit.bytes:,} bytes; {limit.instead}"


@dataclass
class Bucket:
    """What a caller may still do: fills steadily, holds so much and no more."""

    left: float
    at_s: float


class CallerRate:
    """ASGI middleware that lets each caller do at a bounded rate what `counts` names.

    A caller is a token or else an address. The buckets are in memory: each API process counts
    for itself, so n processes let through n times as much. That is enough against a script gone
    wild, and keeps the database out of it.
    """

    error: str
    things: str

    def __init__(
        self,
        app: ASGIApp,
        *,
        per_s: float,
        burst: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.app = app
        self.per_s = per_s
        self.burst = burst
        self.clock = clock
        self.buckets: OrderedDict[str, Bucket] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 429 and when to come again."""
        if scope["type"] == "http" and self.counts(scope):
            wait_s = self.wait_s(_caller(scope))
            if wait_s > 0.0:
                why = f"more than {self.per_s:g} {self.things} per second"
                refusal = again_later(429, self.error, why, math.ceil(wait_s))
                await refusal(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def counts(self, scope: Scope) -> bool:
        """Whether a request takes from the bucket of its caller."""
        raise NotImplementedError

    def wait_s(self, caller: str) -> float:
        """Take one from the caller's bucket; 0 if there was one, else how long until there is."""
        now_s = self.clock()
        bucket = self.buckets.pop(caller, None) or Bucket(float(self.burst), now_s)
        grown = bucket.left + (now_s - bucket.at_s) * self.per_s
        left = min(float(self.burst), grown)
        granted = left >= 1.0
        self.buckets[caller] = Bucket(left - 1.0 if granted else left, now_s)
        if len(self.buckets) > CALLERS_MAX:
            self.buckets.popitem(last=False)  # silent for longest, so the fullest by now
        return 0.0 if granted else (1.0 - left) / self.per_s


class WriteRate(CallerRate):
    """Changes."""

    error, things = "TooManyWrites", "changes"

    def counts(self, scope: Scope) -> bool:
        return not _is_free(scope)


class ReadRate(CallerRate):
    """All that changes nothing. A page of the dashboard asks three times per second."""

    error, things = "TooManyReads", "questions"

    def counts(self, scope: Scope) -> bool:
        return _is_free(scope) and scope["path"] not in WATCHED


def _is_free(scope: Scope) -> bool:
    return scope["method"] in SAFE or (scope["method"], scope["path"]) in FREE


def _caller(scope: Scope) -> str:
    named = str(scope.get("state", {}).get("actor", ""))
    client = scope.get("client")
    return named if named.startswith("token ") else str(client[0] if client else "")
