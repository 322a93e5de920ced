"""Live events: whatever place a follower comes back to, it gets the rest, once."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any, cast

import pytest
from fastapi import FastAPI
from fastapi.sse import ServerSentEvent
from fastapi.testclient import TestClient
from hypothesis import given, strategies as st
from sqlalchemy import Engine

from meshtune.backend import live, live_cursors
from meshtune.backend.app import create_app
from meshtune.backend.live import Hub, Settled, list_events, run_events
from meshtune.backend.live_cursors import ListCursor, RunCursor
from meshtune.backend.routes import live as routes
from meshtune.backend.schemas.runs import Problem, RunEventOut, RunSummary
from meshtune.backend.settings import Settings
from meshtune.db import leases, runs, steering
from meshtune.db.changes import Horizon
from meshtune.db.errors import StoreUnavailable
from meshtune.db.session import writing
from meshtune.engine.records import RoundRecord, RunStatus
from tests.support.builders import LEASE_S, play, stored_run, tiny_config

PATIENCE_S = 20.0
Lines = AsyncIterator[ServerSentEvent]


async def taken(lines: Lines, count: int) -> list[ServerSentEvent]:
    """The next lines that have an id."""
    found: list[ServerSentEvent] = []
    while len(found) < count:
        line = await asyncio.wait_for(anext(lines), PATIENCE_S)
        if line.id is not None:
            found.append(line)
    return found


async def all_of(lines: Lines) -> list[ServerSentEvent]:
    async with asyncio.timeout(PATIENCE_S):
        return [line async for line in lines if line.event != "progress"]


def generator(lines: Lines) -> Any:
    return aclosing(cast(Any, lines))


async def whole(store: Engine, run_id: int, cursor: RunCursor) -> list[ServerSentEvent]:
    hub = Hub(store)
    async with hub.following():
        return await all_of(run_events(hub, run_id, cursor))


def shape(lines: list[ServerSentEvent]) -> list[tuple[str | None, str | None]]:
    return [(line.event, line.raw_data) for line in lines]


# Places


COUNTS = st.dictionaries(st.integers(1, 10**9), st.integers(0, 10**8), max_size=20)


@given(st.integers(0, 10**17), st.integers(0, 10**8))
def test_the_place_in_a_run_survives_being_an_id(event_id: int, rounds: int) -> None:
    cursor = RunCursor(event_id, rounds)
    assert re.fullmatch(live_cursors.RUN_CURSOR, str(cursor))
    assert live_cursors.run_cursor(str(cursor)) == cursor


@given(st.integers(0, 10**17), COUNTS)
def test_the_place_in_the_list_survives_being_an_id(event_id: int, counts: dict[int, int]) -> None:
    cursor = ListCursor(event_id, counts)
    assert re.fullmatch(live_cursors.LIST_CURSOR, str(cursor))
    assert len(str(cursor)) <= routes.CURSOR_MAX
    assert live_cursors.list_cursor(str(cursor)) == cursor


@given(st.lists(st.tuples(st.sampled_from(["begin", "write", "end", "look"]), st.integers(0, 5))))
def test_no_event_appears_behind_a_settled_one(steps: list[tuple[str, int]]) -> None:
    """Transactions of PostgreSQL in any order: numbers are given before they are visible."""
    open_writes: dict[int, list[int]] = {}  # by transaction number
    visible: set[int] = set()
    next_xid, next_event, settled = 1, 1, Settled()
    for what, which in steps:
        xids = sorted(open_writes)
        if what == "begin":
            open_writes[next_xid] = []
            next_xid += 1
        elif what == "write" and xids:
            open_writes[xids[which % len(xids)]].append(next_event)
            next_event += 1
        elif what == "end" and xids:
            written = open_writes.pop(xids[which % len(xids)])
            assert all(event > settled.event_id for event in written)
            visible |= set(written)
        elif what == "look":
            oldest = min(open_writes, default=next_xid)
            settled = settled.then(Horizon(max(visible, default=0), oldest, next_xid))
    for written in open_writes.values():
        assert all(event > settled.event_id for event in written)
    for xid in sorted(open_writes):
        visible |= set(open_writes.pop(xid))
    for _ in range(2):
        settled = settled.then(Horizon(max(visible, default=0), next_xid, next_xid))
    assert settled.event_id == max(visible, default=0)


# One run


def test_a_finished_run_is_told_whole_and_then_ends(store: Engine) -> None:
    run_id = stored_run(store, tiny_config(rounds=3), rounds=3, status=RunStatus.COMPLETED)
    lines = asyncio.run(whole(store, run_id, RunCursor()))
    found = [
        RoundRecord.model_validate_json(line.raw_data or "")
        for line in lines
        if line.event == "round"
    ]
    assert [record.round_index for record in found] == [0, 1, 2]
    assert all(not (record.links or record.devices or record.scores) for record in found)
    moves = [
        RunEventOut.model_validate_json(line.raw_data or "")
        for line in lines
        if line.event == "move"
    ]
    assert [move.kind for move in moves] == ["created", "running", "completed"]
    assert (lines[-1].event, lines[-1].id) == ("end", None)
    assert json.loads(lines[-1].raw_data or "") == {"run_id": run_id, "status": "completed"}


def test_from_every_id_a_follower_gets_exactly_the_rest(
    store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "ROUNDS_PER_READ", 2)
    run_id = stored_run(store, tiny_config(rounds=5), rounds=5, status=RunStatus.COMPLETED)
    lines = asyncio.run(whole(store, run_id, RunCursor()))
    assert len(lines) == 5 + 3 + 1
    for position, line in enumerate(lines[:-1]):
        rest = asyncio.run(whole(store, run_id, live_cursors.run_cursor(line.id)))
        assert shape(rest) == shape(lines[position + 1 :])


def test_rounds_arrive_as_they_are_stored_and_progress_between(store: Engine) -> None:
    async def follow() -> list[str | None]:
        run_id = stored_run(store, tiny_config(rounds=3), status=RunStatus.RUNNING)
        with writing(store) as session:
            run = runs.get(session, run_id)
            claim = leases.Claim(run_id, run.fence, "builder", 1, runs.config_of(run), 0, None)
        hub = Hub(store)
        kinds: list[str | None] = []
        async with hub.following():
            lines = run_events(hub, run_id, RunCursor())
            await taken(lines, 2)  # created, running
            for rounds in (1, 1, 1):
                with writing(store) as session:
                    leases.beat(session, claim, progress=0.5, lease_s=LEASE_S)
                while (line := await anext(lines)).event != "progress" or '"progress":0.0' in str(
                    line.raw_data
                ):
                    kinds.append(line.event)
                kinds.append(line.event)
                with writing(store) as session:
                    play(session, claim, rounds)
                (line,) = await taken(lines, 1)
                kinds.append(line.event)
            with writing(store) as session:
                leases.finish(session, claim, RunStatus.COMPLETED)
            kinds += [line.event for line in await all_of(lines)]
        return [kind for kind in kinds if kind is not None]

    kinds = asyncio.run(follow())
    marks = [kind for kind in kinds if kind != "progress"]
    assert marks == ["round"] * 3 + ["move", "end"]
    assert kinds.count("progress") >= 3


def test_followers_at_one_place_share_one_read(
    store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = stored_run(store, tiny_config(rounds=5), rounds=5, status=RunStatus.COMPLETED)
    reads: list[RunCursor] = []
    page = live._run_page

    def counted(session: Any, run_id: int, cursor: RunCursor) -> Any:
        reads.append(cursor)
        return page(session, run_id, cursor)

    monkeypatch.setattr(live, "_run_page", counted)

    async def follow() -> list[list[ServerSentEvent]]:
        hub = Hub(store)
        async with hub.following():
            one = [all_of(run_events(hub, run_id, RunCursor())) for _ in range(20)]
            return await asyncio.gather(*one)

    found = asyncio.run(follow())
    assert all(shape(lines) == shape(found[0]) for lines in found)
    assert len(reads) <= 2  # a second, should the first look at the database fall between


def test_a_database_that_rests_costs_no_event(
    store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = stored_run(store, tiny_config(rounds=2), rounds=2, status=RunStatus.COMPLETED)
    whole_run = shape(asyncio.run(whole(store, run_id, RunCursor())))
    failures = iter([True, True])
    page = live._run_page

    def locked(session: Any, run_id: int, cursor: RunCursor) -> Any:
        if next(failures, False):
            raise StoreUnavailable("the database is locked by another program")
        return page(session, run_id, cursor)

    monkeypatch.setattr(live, "_run_page", locked)
    assert shape(asyncio.run(whole(store, run_id, RunCursor()))) == whole_run


def test_a_closing_process_ends_its_streams(store: Engine) -> None:
    async def follow() -> list[ServerSentEvent]:
        run_id = stored_run(store)
        hub = Hub(store)
        async with hub.following():
            asyncio.get_running_loop().call_later(0.5, hub.close)
            return await all_of(run_events(hub, run_id, RunCursor()))

    assert [line.event for line in asyncio.run(follow())] == ["move"]  # and no end: come back


# All runs


def settle(store: Engine, change: Callable[[Any], object]) -> None:
    with writing(store) as session:
        change(session)


def test_the_list_tells_every_run_that_changed(store: Engine) -> None:
    async def follow() -> list[ServerSentEvent]:
        first = stored_run(store)
        hub = Hub(store)
        async with hub.following(), generator(list_events(hub, None)) as lines:
            start = await taken(lines, 1)
            settle(store, lambda session: steering.request_cancel(session, first))
            changed = await taken(lines, 1)
            second = stored_run(store, tiny_config(name="other"))
            created = await taken(lines, 1)
        assert [line.event for line in start] == ["start"]
        assert second
        return changed + created

    summaries = [
        RunSummary.model_validate_json(line.raw_data or "") for line in asyncio.run(follow())
    ]
    assert [(run.name, run.status) for run in summaries] == [
        ("tiny", RunStatus.CANCELLED),
        ("other", RunStatus.QUEUED),
    ]


def test_from_every_id_the_list_goes_on_with_the_rest(store: Engine) -> None:
    """Runs that move, and one that only stores rounds: its count is part of the id."""

    async def follow() -> None:
        hub = Hub(store)
        async with hub.following():
            running = stored_run(store, tiny_config(rounds=4), rounds=1, status=RunStatus.RUNNING)
            async with generator(list_events(hub, None)) as lines:
                (start,) = await taken(lines, 1)
            with writing(store) as session:
                run = runs.get(session, running)
                claim = leases.Claim(running, run.fence, "builder", 0, runs.config_of(run), 1, None)
                play(session, claim, 2)
            waiting = [stored_run(store) for _ in range(3)]
            settle(store, lambda session: steering.request_cancel(session, waiting[0]))
            async with generator(
                list_events(hub, live_cursors.list_cursor(start.id or ""))
            ) as lines:
                told = await taken(lines, 4)
            names = [json.loads(line.raw_data or "")["id"] for line in told]
            assert names == [running, waiting[1], waiting[2], waiting[0]]
            for position, line in enumerate(told[:-1]):
                async with generator(
                    list_events(hub, live_cursors.list_cursor(line.id or ""))
                ) as again:
                    rest = await taken(again, len(told) - position - 1)
                assert shape(rest) == shape(told[position + 1 :])

    asyncio.run(follow())


def test_a_deleted_run_is_gone_from_both_streams(store: Engine) -> None:
    async def follow() -> tuple[ServerSentEvent, ServerSentEvent]:
        run_id = stored_run(store, status=RunStatus.COMPLETED, rounds=2)
        hub = Hub(store)
        async with hub.following():
            async with generator(list_events(hub, None)) as lines:
                await taken(lines, 1)
                settle(store, lambda session: steering.delete(session, run_id))
                (gone,) = await taken(lines, 1)
            return gone, (await all_of(run_events(hub, run_id, RunCursor())))[-1]

    gone, end = asyncio.run(follow())
    assert gone.event == "gone"
    assert end.event == "end"
    assert json.loads(end.raw_data or "")["status"] is None


# Over HTTP


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return create_app(settings)


@pytest.fixture
def api(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def test_a_finished_run_is_one_closed_answer(api: TestClient, app: FastAPI) -> None:
    run_id = stored_run(app.state.engine, tiny_config(rounds=2), rounds=2, status=RunStatus.FAILED)
    answer = api.get(f"/runs/{run_id}/events/stream")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.text.count("event: round") == 2
    ids = re.findall(r"^id: (.*)$", answer.text, re.MULTILINE)
    again = api.get(f"/runs/{run_id}/events/stream", headers={"Last-Event-ID": ids[-1]})
    assert re.findall(r"^event: (.*)$", again.text, re.MULTILINE) == ["end"]
    by_query = api.get(f"/runs/{run_id}/events/stream", params={"since": ids[-1]})
    assert by_query.text == again.text


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/runs/7/events/stream", {}, 404),
        ("/runs/0/events/stream", {}, 422),
        ("/runs/1/events/stream", {"Last-Event-ID": "yesterday"}, 422),
        ("/runs/1/events/stream?since=1", {}, 422),
        ("/events/stream", {"Last-Event-ID": "5~1"}, 422),
        ("/events/stream?since=5-1", {}, 422),
    ],
)
def test_a_stream_that_cannot_be_is_refused_as_a_problem(
    api: TestClient, app: FastAPI, path: str, headers: dict[str, str], status: int
) -> None:
    assert stored_run(app.state.engine) == 1
    answer = api.get(path, headers=headers)
    assert answer.status_code == status
    assert Problem.model_validate_json(answer.content).detail


def test_streams_are_counted_and_bounded(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "STREAMS_MAX", 0)
    answer = api.get("/events/stream")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert "streams" in Problem.model_validate_json(answer.content).detail


def test_a_stream_that_ended_leaves_its_place(api: TestClient, app: FastAPI) -> None:
    run_id = stored_run(app.state.engine, rounds=2, status=RunStatus.COMPLETED)
    for _ in range(3):
        assert api.get(f"/runs/{run_id}/events/stream").is_success
    assert app.state.live.streams == 0
    assert not app.state.live.watched


@pytest.mark.parametrize("path", ["/runs/{run_id}/events/stream", "/events/stream"])
def test_the_description_names_events_and_refusals(app: FastAPI, path: str) -> None:
    answers = app.openapi()["paths"][path]["get"]["responses"]
    item = answers["200"]["content"]["text/event-stream"]["itemSchema"]
    bodies = item["properties"]["data"]["contentSchema"]["anyOf"]
    assert len(bodies) == 4
    for status in ("422", "503"):
        assert answers[status]["content"].keys() == {"application/json"}
