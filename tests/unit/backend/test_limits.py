"""Bounds on what callers send: sizes, rates, headers of answers."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given, strategies as st
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from meshtune.backend.app import create_app
from meshtune.backend.guards import limits
from meshtune.backend.guards.limits import (
    BODY_MAX_BYTES,
    CALLERS_MAX,
    FILE_LIMITS,
    BodyLimit,
    FileLimit,
    ReadRate,
    WriteRate,
)
from meshtune.backend.guards.origins import HEADERS
from meshtune.backend.settings import Settings


@pytest.fixture
def api(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that is never asked."""


class Clock:
    """Time that moves when told."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@given(
    st.integers(1, 20),
    st.floats(0.1, 50.0),
    st.lists(st.floats(0.0, 5.0), min_size=1, max_size=60),
)
def test_a_caller_never_gets_more_than_the_burst_and_the_rate(
    burst: int, per_s: float, pauses_s: list[float]
) -> None:
    clock = Clock()
    rate = WriteRate(nothing, per_s=per_s, burst=burst, clock=clock)
    granted = 0
    for pause_s in pauses_s:
        clock.now_s += pause_s
        granted += rate.wait_s("me") == 0.0
    assert granted <= burst + per_s * sum(pauses_s) + 1e-6


@given(st.integers(1, 20), st.floats(0.1, 50.0))
def test_whoever_waits_as_told_is_let_in(burst: int, per_s: float) -> None:
    clock = Clock()
    rate = WriteRate(nothing, per_s=per_s, burst=burst, clock=clock)
    while (wait_s := rate.wait_s("me")) == 0.0:
        pass
    assert rate.wait_s("another") == 0.0
    clock.now_s += wait_s * (1 + 1e-9)
    assert rate.wait_s("me") == 0.0


def test_callers_that_are_gone_are_forgotten() -> None:
    rate = WriteRate(nothing, per_s=1.0, burst=1, clock=Clock())
    for number in range(CALLERS_MAX + 50):
        rate.wait_s(str(number))
    assert len(rate.buckets) == CALLERS_MAX


def test_too_many_changes_are_told_when_to_come_again_and_reading_goes_on(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path, writes_per_s=0.5, writes_burst=3)
    with TestClient(create_app(settings)) as api:
        statuses = [api.post("/runs/1/cancel").status_code for _ in range(4)]
        assert statuses == [404, 404, 404, 429]
        said = api.post("/runs/1/cancel")
        assert said.json()["error"] == "TooManyWrites"
        assert 1 <= int(said.headers["retry-after"]) <= 2
        assert api.get("/runs").status_code == 200
        assert api.post("/topology/import", json={}).status_code == 422


def test_too_many_questions_are_told_when_to_come_again_and_watching_goes_on(
    tmp_path: Path,
) -> None:
    settings = Settings(state_dir=tmp_path, reads_per_s=0.5, reads_burst=3)
    with TestClient(create_app(settings)) as api:
        paths = ("/runs", "/presets", "/runs/1", "/runs")
        assert [api.get(path).status_code for path in paths] == [200, 200, 404, 429]
        said = api.post("/topology/import", json={})  # it changes nothing, so it is a question
        assert (said.status_code, said.json()["error"]) == (429, "TooManyReads")
        assert 1 <= int(said.headers["retry-after"]) <= 2
        assert api.get("/health/live").status_code == api.get("/health/ready").status_code == 200
        assert api.post("/runs/1/cancel").status_code == 404


def test_a_dashboard_with_many_tabs_is_no_script_gone_wild() -> None:
    clock, usual = Clock(), Settings()
    rate = ReadRate(nothing, per_s=usual.reads_per_s, burst=usual.reads_burst, clock=clock)
    tabs, per_tab_s, opening = 30, 3, 20  # questions per second of a tab, and at its opening
    waits_s = [rate.wait_s("dashboard") for _ in range(tabs * opening)]
    for _ in range(60):
        clock.now_s += 1.0
        waits_s += [rate.wait_s("dashboard") for _ in range(tabs * per_tab_s)]
    assert set(waits_s) == {0.0}


@pytest.mark.parametrize("claimed", [str(BODY_MAX_BYTES + 1), "9" * 18])
def test_a_body_that_says_it_is_too_large_is_not_even_read(api: TestClient, claimed: str) -> None:
    said = api.post("/runs", content=b"{}", headers={"content-length": claimed})
    assert (said.status_code, said.json()["error"]) == (413, "BodyTooLarge")


def test_a_body_that_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_MAX_S", 0.05)
    sent: list[Message] = []

    async def drip() -> Message:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/runs", "headers": []}
    asyncio.run(BodyLimit(nothing)(scope, drip, send))
    assert sent[0]["status"] == 408
    assert b"BodyTooSlow" in sent[1]["body"]


@pytest.mark.parametrize("read", [True, False])
def test_a_file_is_counted_while_it_is_read(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, read: bool
) -> None:
    monkeypatch.setitem(FILE_LIMITS, ("POST", "/files"), FileLimit(2 * BODY_MAX_BYTES, "cut it"))
    app = create_app(settings)
    seen: list[int] = []

    @app.post("/files")
    async def files(request: Request) -> int:
        if read:
            async for chunk in request.stream():
                seen.append(len(chunk))  # noqa: PERF401 - kept also when the stream breaks off
        return sum(seen)

    def pieces(count: int) -> Iterator[bytes]:
        for _ in range(count):
            yield b" " * (BODY_MAX_BYTES // 2)

    with TestClient(app) as api:
        assert api.post("/files", content=pieces(4)).status_code == 200
        seen.clear()
        said = api.post("/files", content=pieces(40))
        assert said.status_code == (413 if read else 200)
        assert sum(seen) <= 2 * BODY_MAX_BYTES
        declared = {"content-length": str(2 * BODY_MAX_BYTES + 1)}
        assert api.post("/files", content=b"", headers=declared).status_code == 413


def test_the_limit_holds_whatever_the_client_sends_in_how_many_pieces() -> None:
    app = FastAPI()
    app.add_middleware(BodyLimit)

    @app.post("/length")
    async def length(request: Request) -> int:
        return len(await request.body())

    with TestClient(app) as api:
        for size, pieces in ((BODY_MAX_BYTES, 1), (BODY_MAX_BYTES, 7), (0, 1)):
            parts = [size // pieces] * (pieces - 1)
            parts.append(size - sum(parts))
            said = api.post("/length", content=iter([b"x" * part for part in parts]))
            assert (said.status_code, said.json()) == (200, size)
        assert api.post("/length", content=iter([b"x" * size, b"x"])).status_code == 200
        assert api.post("/length", content=iter([b"x" * BODY_MAX_BYTES, b"x"])).status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/runs", 200),
        ("GET", "/nothing", 404),
        ("DELETE", "/runs", 405),
        ("POST", "/runs", 415),
        ("GET", "/docs", 200),
        ("GET", "/docs/start.js", 200),
        ("GET", "/broken", 500),
        ("GET", "/openapi.json", 200),
    ],
)
def test_every_answer_carries_the_security_headers(
    settings: Settings, method: str, path: str, status: int
) -> None:
    app = create_app(settings)

    @app.get("/broken")
    def broken() -> None:
        raise ZeroDivisionError

    with TestClient(app) as api:
        said = api.request(method, path)
    assert said.status_code == status
    for name in HEADERS.keys() - {"cache-control"}:
        assert said.headers[name] == HEADERS[name]
    policy = said.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-eval" not in policy
    assert said.headers["cache-control"]
    assert said.headers["x-request-id"]
    assert "access-control-allow-origin" not in said.headers


def test_the_documentation_loads_from_here_alone(api: TestClient) -> None:
    page = api.get("/docs").text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert loaded.pop(0) == "data:,"  # an empty icon: none is asked for
    assert len(loaded) == 3
    assert "<script>" not in page
    for address in loaded:
        assert not re.match(r"\w+:|//", address)
        assert api.get(f"/{address}").status_code == 200
    assert api.get("/docs/redoc.standalone.js").status_code == 404
    assert api.get("/docs/..%2f__init__.py").status_code == 404
    assert api.get("/redoc").status_code == 404


def test_an_address_with_a_slash_too_many_is_not_redirected(api: TestClient) -> None:
    assert api.get("/runs/", follow_redirects=False).status_code == 404
