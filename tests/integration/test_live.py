"""Live events over real sockets: coming back to another process, stopping with streams open."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine

from meshtune.backend.settings import Settings
from meshtune.db import leases
from meshtune.db.session import writing
from meshtune.engine.records import RunStatus
from tests.support.builders import LEASE_S, play, sample_provenance, stored_run, tiny_config
from tests.support.ports import free_port

PATIENCE_S = 60.0
SERVE = """
import sys
import fastapi.routing
from meshtune.backend.serve import main
fastapi.routing._PING_INTERVAL = 0.5  # a private constant of 15 s
sys.exit(main(["--host=127.0.0.1", f"--port={sys.argv[1]}"]))
"""


@dataclass(frozen=True)
class Event:
    """One event as a browser sees it; a comment is a heartbeat."""

    kind: str
    data: str
    id: str | None


@dataclass(frozen=True)
class Server:
    """A process of the API."""

    process: subprocess.Popen[str]
    url: str


def events(answer: httpx.Response) -> Iterator[Event]:
    kind, data, place = "", "", None
    for line in answer.iter_lines():
        name, _, value = line.partition(": ")
        match name:
            case "event":
                kind = value
            case "data":
                data = value
            case "id":
                place = value
            case "" if value:
                yield Event("heartbeat", "", None)
            case "" if kind:
                yield Event(kind, data, place)
                kind, data, place = "", "", None


@pytest.fixture
def servers(settings: Settings) -> Iterator[list[Server]]:
    """Two processes of the API on one database."""
    with ExitStack() as stack:
        started = [stack.enter_context(process(settings)) for _ in range(2)]
        for server in started:
            await_answer(server)
        yield started


@pytest.fixture
def server(settings: Settings) -> Iterator[Server]:
    """One process of the API."""
    with process(settings) as started:
        await_answer(started)
        yield started


@contextmanager
def process(settings: Settings) -> Iterator[Server]:
    port = free_port()
    started = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(port)],
        env=os.environ | {"MESHTUNE_STATE_DIR": str(settings.state_dir)},
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield Server(started, f"http://127.0.0.1:{port}")
    finally:
        started.kill()
        started.wait()
        if started.stdout is not None:
            started.stdout.close()


def await_answer(server: Server) -> None:
    until = time.monotonic() + PATIENCE_S
    while not answers(server.url):
        assert server.process.poll() is None, server.process.communicate()[0]
        assert time.monotonic() < until, "the API did not start"
        time.sleep(0.05)


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", trust_env=False).is_success
    except httpx.TransportError:
        return False


def claimed(store: Engine, run_id: int) -> leases.Claim:
    with writing(store) as session:
        claim = leases.claim_next(session, "builder", lease_s=LEASE_S)
        assert claim is not None
        assert claim.run_id == run_id
        leases.record_provenance(session, claim, sample_provenance())
    return claim


def test_a_follower_that_changes_the_process_at_every_event_misses_and_repeats_none(
    servers: list[Server], store: Engine
) -> None:
    run_id = stored_run(store, tiny_config(rounds=4))
    claim = claimed(store, run_id)
    kinds: list[str] = []
    found: list[int] = []
    place: str | None = None
    turn = 0
    with httpx.Client(trust_env=False, timeout=20.0) as client:
        while "end" not in kinds:
            url = f"{servers[turn % 2].url}/runs/{run_id}/events/stream"
            turn += 1
            headers = {} if place is None else {"Last-Event-ID": place}
            with client.stream("GET", url, headers=headers) as answer:
                assert answer.status_code == 200
                for event in events(answer):
                    if event.id is None and event.kind != "end":
                        continue
                    kinds.append(event.kind)
                    place = event.id
                    if event.kind == "round":
                        found.append(json.loads(event.data)["round_index"])
                    break
            if len(kinds) == 2:
                with writing(store) as session:
                    play(session, claim, 2)
            if len(kinds) == 4:
                with writing(store) as session:
                    play(session, claim, 2)
                    leases.finish(session, claim, RunStatus.COMPLETED)
    assert found == [0, 1, 2, 3]
    assert kinds == ["move"] * 2 + ["round"] * 4 + ["move", "end"]


def test_a_stream_beats_while_nothing_happens_and_does_not_keep_its_process(
    server: Server, store: Engine
) -> None:
    run_id = stored_run(store)
    with ExitStack() as stack:
        client = stack.enter_context(httpx.Client(trust_env=False, timeout=20.0))
        paths = ["/events/stream", *[f"/runs/{run_id}/events/stream"] * 3]
        streams = [
            events(stack.enter_context(client.stream("GET", f"{server.url}{path}")))
            for path in paths
        ]
        seen = [{next(stream).kind, next(stream).kind} for stream in streams]
        assert seen == [{"start", "heartbeat"}, *[{"move", "heartbeat"}] * 3]
        server.process.send_signal(signal.SIGTERM)
        assert [kind for stream in streams for kind in rest(stream)] == []
        server.process.wait(PATIENCE_S)
    assert server.process.stdout is not None
    said = server.process.stdout.read()
    assert "Traceback" not in said
    assert "ERROR" not in said


def rest(stream: Iterator[Event]) -> list[str]:
    """What comes until the stream is closed, in good order."""
    return [event.kind for event in stream if event.kind != "heartbeat"]
