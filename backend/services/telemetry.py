"""What watches the API: a log line and numbers of each request, and the numbers of /metrics.

Counters and histograms are those of one API process; with several, ask each. Queue, workers and
rounds come from the database, so every process tells the same.
"""

import logging
import platform
import re
import threading
import time
from importlib.metadata import version
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    generate_latest,
)
from sqlalchemy import Engine, event
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from meshtune.backend.errors import unexpected
from meshtune.backend.services.logs import FIELDS
from meshtune.db.census import Census
from meshtune.db.moves import PERSON
from meshtune.engine.records import RunStatus

log = logging.getLogger("meshtune.backend.requests")

STORE_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)
REQUEST_BUCKETS_S = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
NO_ROUTE = "none"  # label of requests that met no route: their addresses are anybody's
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Metrics:
    """The numbers of one API process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        build = Info("meshtune_build", "What runs here", registry=self.registry)
        build.info({"version": version("meshtune"), "python": platform.python_version()})
        self.requests = Counter(
            "meshtune_requests",
            "Requests answered; failures are those with a status of 500 or more",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.request_s = Histogram(
            "meshtune_request_seconds",
            "Time until an answer begins",
            ("method", "route"),
            buckets=REQUEST_BUCKETS_S,
            registry=self.registry,
        )
        self.store_s = Histogram(
            "meshtune_store_seconds",
            "Time of one statement in the database",
            buckets=STORE_BUCKETS_S,
            registry=self.registry,
        )
        self.store_up = Gauge(
            "meshtune_store_up", "Whether the database answers", registry=self.registry
        )
        self.runs = Gauge("meshtune_runs", "Runs by status", ("status",), registry=self.registry)
        self.queue = Gauge("meshtune_queue_length", "Runs that wait", registry=self.registry)
        self.workers = Gauge("meshtune_workers", "Workers alive", registry=self.registry)
        self.rounds = Counter(
            "meshtune_rounds_stored",
            "Rounds stored; its rate is rounds per second",
            registry=self.registry,
        )
        self._rounds_seen = 0
        self._lock = threading.Lock()

    def text(self, census: Census | None) -> bytes:
        """All numbers in Prometheus' text format; `census` is None if the database is away."""
        with self._lock:
            self.store_up.set(census is not None)
            if census is not None:
                self._take(census)
            return generate_latest(self.registry)

    def _take(self, census: Census) -> None:
        for status, number in census.runs.items():
            self.runs.labels(status).set(number)
        self.queue.set(census.runs[RunStatus.QUEUED])
        self.workers.set(census.workers)
        # Deleted runs take their rounds along; a counter must not fall.
        self.rounds.inc(max(0, census.rounds - self._rounds_seen))
        self._rounds_seen = census.rounds

    def watch(self, engine: Engine) -> None:
        """Time every statement of this engine."""

        @event.listens_for(engine, "before_cursor_execute")
        def _before(*arguments: Any) -> None:
            arguments[4]._meshtune_begun_s = time.perf_counter()

        @event.listens_for(engine, "after_cursor_execute")
        def _after(*arguments: Any) -> None:
            self.store_s.observe(time.perf_counter() - arguments[4]._meshtune_begun_s)


class Observe:
    """ASGI middleware: numbers the request, times it, and logs one line.

    What nobody expected ends here, so that even that answer has its headers and its line.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and watch what becomes of it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope).get("x-request-id"))
        status = 0
        answered_s = begun_s = time.perf_counter()

        async def watched(message: Message) -> None:
            nonlocal status, answered_s
            if message["type"] == "http.response.start":
                status, answered_s = message["status"], time.perf_counter()
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:
            _log_failure(scope, request_id, error)
            if not status:
                await unexpected()(scope, receive, watched)
        finally:
            # 499: the client left before an answer began.
            self._note(scope, request_id, status or 499, (begun_s, answered_s))

    def _note(
        self, scope: Scope, request_id: str, status: int, times_s: tuple[float, float]
    ) -> None:
        begun_s, answered_s = times_s
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = getattr(scope.get("route"), "path", NO_ROUTE)
        self.metrics.requests.labels(method, route, str(status)).inc()
        self.metrics.request_s.labels(method, route).observe(answered_s - begun_s)
        told = _told(scope, request_id)
        told |= {"status": status, "ms": round(1000 * (time.perf_counter() - begun_s), 1)}
        log.info("%(method)s %(path)s %(status)d %(ms).1f ms", told, extra={FIELDS: told})


_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})


def _log_failure(scope: Scope, request_id: str, error: Exception) -> None:
    told = _told(scope, request_id)
    log.error("%(method)s %(path)s failed", told, exc_info=error, extra={FIELDS: told})


def _told(scope: Scope, request_id: str) -> dict[str, Any]:
    """What may be told of a request: no query, no header, no body."""
    actor = str(scope.get("state", {}).get("actor", PERSON))
    return {
        "request_id": request_id,
        "method": scope["method"][:16],
        "path": quote(scope["path"])[:200],
        "token": actor.removeprefix("token ") if actor != PERSON else None,
    }


def _request_id(given: str | None) -> str:
    """The caller's own id if it is a plain word, so that logs of two services can be joined."""
    return given if given and _REQUEST_ID.fullmatch(given) else uuid4().hex[:16]
