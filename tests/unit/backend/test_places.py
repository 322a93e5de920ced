"""Expensive work has a few places: the next is refused at once, and cheap answers go on."""

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import anyio.to_thread
import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from meshtune.backend.app import create_app
from meshtune.backend.guards.auth import SCOPES
from meshtune.backend.guards.places import CHANGES, COMPARISONS, KINDS, PLANS, REPORTS, Kind, Places
from meshtune.backend.routes import compare, health
from meshtune.backend.schemas.compare import ReportInput
from meshtune.backend.schemas.runs import Problem
from meshtune.backend.settings import Settings
from meshtune.db.session import MORE_CONNECTIONS
from tests.support.builders import stored_run
from tests.support.loops import in_own_loop

THREADS = 40  # that Starlette has; a test below looks
WAIT_S = 60.0  # for what comes at once, unless something is broken


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return create_app(settings)


@pytest.fixture
def api(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def address(path: str) -> str:
    return re.sub(r"\{\w+\}", "1", path)


def test_all_places_together_leave_threads_and_connections_for_what_is_cheap() -> None:
    async def threads() -> float:
        return anyio.to_thread.current_default_thread_limiter().total_tokens

    assert in_own_loop(threads()) == THREADS
    assert sum(kind.places for kind in {*KINDS.values(), CHANGES}) <= 0.8 * THREADS
    assert MORE_CONNECTIONS + 5 >= THREADS


def test_only_routes_that_exist_have_places() -> None:
    assert KINDS.keys() <= SCOPES.keys()


def test_what_changes_something_is_never_for_free() -> None:
    places = Places(Response())
    for method, path in SCOPES:
        kind = places.kind_of({"type": "http", "method": method, "path": address(path)})
        assert kind == KINDS.get((method, path), CHANGES if method != "GET" else None), path


def test_with_every_place_taken_the_rest_is_refused_and_cheap_answers_come() -> None:
    app, release = FastAPI(), threading.Event()
    app.add_middleware(Places)
    working: Counter[str] = Counter()

    def work() -> None:
        working["now"] += 1
        assert release.wait(WAIT_S)

    for method, path in KINDS:
        app.add_api_route(path, work, methods=[method])
    app.add_api_route("/runs", lambda: "listed", methods=["GET"])
    each, most = 10, sum(kind.places for kind in set(KINDS.values()))

    async def all_at_once() -> Counter[int]:
        relay = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=relay, base_url="http://api") as api:
            tasks = [
                asyncio.create_task(api.request(method, address(path)))
                for method, path in KINDS
                for _ in range(each)
            ]
            refused = each * len(KINDS) - most
            async with asyncio.timeout(WAIT_S):  # those refused do not wait for those who work
                while sum(task.done() for task in tasks) < refused or working["now"] < most:
                    await asyncio.sleep(0.01)
                assert (await api.get("/runs")).json() == "listed"
            assert working["now"] == most
            release.set()
            return Counter(answer.status_code for answer in await asyncio.gather(*tasks))

    assert in_own_loop(all_at_once()) == {200: most, 503: each * len(KINDS) - most}


def test_a_report_too_many_is_told_when_to_come_again(
    app: FastAPI, api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = stored_run(app.state.engine)
    release, begun = threading.Event(), threading.Semaphore(0)

    def slow(_: ReportInput) -> bytes:
        begun.release()
        assert release.wait(WAIT_S)
        return b"a page"

    monkeypatch.setattr(compare, "report_html", slow)
    path = f"/compare/report?run={number}"
    with ThreadPoolExecutor(REPORTS.places) as others:
        made = [others.submit(api.get, path) for _ in range(REPORTS.places)]
        for _ in made:
            assert begun.acquire(timeout=WAIT_S)
        refused = [api.get(path) for _ in range(50)]
        assert api.get("/runs").status_code == api.get("/health/live").status_code == 200
        release.set()
        assert {each.result().status_code for each in made} == {200}
    assert {each.status_code for each in refused} == {503}
    said = Problem.model_validate_json(refused[0].content)
    assert (said.error, refused[0].headers["retry-after"]) == ("Busy", str(REPORTS.retry_s))
    assert said.detail == "the API is making as many reports as it can already; try again in 3 s"
    assert api.get(path).content == b"a page"


@pytest.mark.parametrize("kind", [COMPARISONS, PLANS])
def test_a_place_is_free_again_however_the_work_ended(kind: Kind) -> None:
    method, path = next(route for route, of in KINDS.items() if of is kind)
    sent: list[Message] = []

    async def broken(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise RuntimeError

    async def send(message: Message) -> None:
        sent.append(message)

    async def nothing() -> Message:
        raise AssertionError

    places = Places(broken)
    for _ in range(2 * kind.places):
        with pytest.raises(RuntimeError):
            in_own_loop(places({"type": "http", "method": method, "path": path}, nothing, send))
    assert sent == []
    assert not +places.taken


def test_a_service_without_a_free_thread_is_not_live(
    app: FastAPI, api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, stuck = threading.Event(), threading.Semaphore(0)

    @app.get("/stuck")
    def wait() -> None:
        stuck.release()
        assert release.wait(WAIT_S)

    assert api.get("/health/live").json() == {"status": "live"}
    with ThreadPoolExecutor(THREADS) as others:
        waiting = [others.submit(api.get, "/stuck") for _ in range(THREADS)]
        for _ in waiting:
            assert stuck.acquire(timeout=WAIT_S)
        monkeypatch.setattr(health, "LIVE_S", 0.05)  # nothing will be free, however long it is
        said = api.get("/health/live")
        release.set()
        assert {each.result().status_code for each in waiting} == {200}
    monkeypatch.undo()
    assert (said.status_code, said.json()["error"]) == (503, "Starved")
    assert api.get("/health/live").status_code == 200
