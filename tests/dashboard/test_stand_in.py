"""The stand-in answers as the API itself: asked the same, with equal status and shape of the body.

Both have the same runs in the same states, with the same rounds. What is compared of a body are the
names of its fields and the kinds of its values, through all its depth.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine
from starlette.routing import Match, Route

from meshtune.backend import fetching
from meshtune.backend.app import create_app
from meshtune.backend.settings import Settings, open_store
from meshtune.db import leases, runs, steering
from meshtune.db.session import writing
from meshtune.engine.config import RunConfig
from meshtune.engine.records import RunStatus
from tests.support.builders import LEASE_S, sample_provenance
from tests.support.fake_api import FakeApi, FakeRun, fake_config, fake_plan


@dataclass(frozen=True)
class Question:
    """One request."""

    method: str
    path: str
    body: Any = None
    free: tuple[str, ...] = ()  # fields of the answer that are the content of either, not its form

    def __str__(self) -> str:
        told = "" if self.body is None else f" {json.dumps(self.body)[:40]}"
        return f"{self.method} {self.path}{told}"


# Runs 1 to 14 of both. Each change has a run of its own.
DONE, OTHER_SEED, QUEUED, RUNNING, GONE, UNTOUCHED = 1, 2, 3, 4, 5, 6
TO_CANCEL, TO_PAUSE, TO_RESUME, TO_RETRY, TO_CHANGE, TO_DELETE, TO_RESTORE = range(7, 14)
NOBODY = 99
STATES = {
    DONE: RunStatus.COMPLETED,
    OTHER_SEED: RunStatus.COMPLETED,
    QUEUED: RunStatus.QUEUED,
    RUNNING: RunStatus.RUNNING,
    GONE: RunStatus.COMPLETED,
    UNTOUCHED: RunStatus.FAILED,
    TO_CANCEL: RunStatus.RUNNING,
    TO_PAUSE: RunStatus.QUEUED,
    TO_RESUME: RunStatus.PAUSED,
    TO_RETRY: RunStatus.FAILED,
    TO_CHANGE: RunStatus.COMPLETED,
    TO_DELETE: RunStatus.COMPLETED,
    TO_RESTORE: RunStatus.COMPLETED,
}
DELETED = {GONE, TO_RESTORE}
CONFIG = fake_config().model_dump(mode="json")
WRONG = {**CONFIG, "rounds": -1}
IDEAL = fake_config(channel={"kind": "ideal"}).model_dump(mode="json")
PLACES = [{"x_m": each.x_m, "y_m": each.y_m} for each in fake_plan(fake_config()).devices]
DRAWN = fake_config(
    topology={"kind": "drawn", "positions": PLACES, "links": [[i, i + 1] for i in range(7)]}
).model_dump(mode="json")
GRAPH = '{"nodes": [{"id": 1}, {"id": 2}], "edges": []}'


def steered(move: str, good: int) -> list[Question]:
    """A move that may be made, of a run that has ended, and of one that is not there."""
    return [Question("POST", f"/runs/{each}/{move}") for each in (good, DONE, NOBODY, GONE)]


ASKED = [
    Question("GET", "/health"),
    Question("GET", "/presets", free=("config", "tasks")),
    Question("GET", "/schema/run-config"),
    *(Question("POST", "/plan", each) for each in (CONFIG, IDEAL, DRAWN, WRONG)),
    *(Question("GET", f"/runs{query}") for query in (
        "", "?deleted=true", "?status=failed&status=queued", "?text=quick", "?limit=2")),
    *(Question("POST", "/runs", each) for each in (
        {"config": CONFIG}, {"config": CONFIG, "cloned_from": DONE, "note": "why"},
        {"config": WRONG}, {"config": CONFIG, "priority": "high"})),
    *(Question("GET", f"/runs/{each}")
      for each in (DONE, QUEUED, RUNNING, UNTOUCHED, NOBODY, GONE)),
    *(Question("GET", f"/runs/{DONE}/rounds{query}") for query in (
        "", "?detail=scores", "?detail=full", "?after=0&every=2", "?limit=1")),
    *(Question("GET", f"/runs/{each}/rounds") for each in (QUEUED, RUNNING, NOBODY, GONE)),
    *(question for move, good in (
        ("cancel", TO_CANCEL), ("pause", TO_PAUSE), ("resume", TO_RESUME), ("retry", TO_RETRY))
        for question in steered(move, good)),
    *(Question("PATCH", f"/runs/{TO_CHANGE}", each) for each in (
        {"note": "seen"}, {"name": "mine", "priority": 2}, {"priority": "high"})),
    Question("PATCH", f"/runs/{NOBODY}", {"note": "seen"}),
    *(Question("DELETE", f"/runs/{each}") for each in (TO_DELETE, RUNNING, NOBODY, GONE)),
    *(Question("POST", f"/runs/{each}/restore") for each in (TO_RESTORE, NOBODY)),
    *(Question("GET", f"/runs/{each}/export?format={form}")
      for each in (DONE, NOBODY) for form in ("csv", "jsonl")),
    Question("GET", "/compare/candidates"),
    *(Question("GET", f"/compare/study?run={each}&run={OTHER_SEED}") for each in (DONE, NOBODY)),
    Question("GET", f"/compare/paired?run={DONE}&run={OTHER_SEED}&reference={DONE}"),
    Question("GET", f"/compare/table?run={DONE}&format=csv"),
    Question("POST", "/drafts", {"tree": CONFIG}),
    *(Question("GET", f"/drafts/{number}") for number in (1, NOBODY)),
    *(Question("PUT", "/drafts/1", {"tree": CONFIG, "version": version}) for version in (1, 1)),
    *(Question("POST", "/topology/link-curve", each) for each in (CONFIG, IDEAL)),
    Question("POST", "/topology/clusters", {"config": DRAWN, "collision_max": 0.3}),
    *(Question("POST", "/topology/import", {"text": text}) for text in (GRAPH, "a,b")),
    *(Question("PUT", "/data/rows.jsonl", row) for row in (
        {"question": "1 + 1?", "answer": "2"}, {"question": "1 + 1?", "answer": "2"}, {"q": "3"})),
    Question("PUT", "/data/empty.jsonl"),
    Question("GET", "/data"),
    *(Question("POST", "/data/preview", {"path": "rows.jsonl", **more}) for more in (
        {}, {"template": "gsm8k"}, {"prompt": "{question}", "answer": "{answer}"},
        {"prompt": "{q}", "answer": "{answer}"}, {"template": "none"})),
    Question("POST", "/data/preview", {"path": "none.jsonl"}),
    Question("GET", "/models"),
    *(Question("POST", f"/models/{name}/fetch") for name in ("nobody", "smollm2")),
]  # fmt: skip


def stored(store: Engine, run: FakeRun) -> None:
    """The same run in a real store, brought to its state by the legal way."""
    assert run.fixed is not None
    with writing(store) as session:
        row = runs.create(session, run.config)
        assert row.id == run.id
        if run.fixed is RunStatus.QUEUED:
            return
        row.priority = 1_000  # so that this very run is claimed
        session.flush()
        claim = leases.claim_next(session, "worker-1", lease_s=LEASE_S)
        assert claim is not None
        assert claim.run_id == run.id
        row.priority = 0
        leases.record_provenance(session, claim, sample_provenance())
        for index in range(run.done):
            leases.append_round(session, claim, run.record(index), f"{index}", lease_s=LEASE_S)
        if run.fixed is RunStatus.PAUSED:
            steering.request_pause(session, run.id)
            leases.release(session, claim, "told to stop")
        elif run.fixed is not RunStatus.RUNNING:
            leases.finish(session, claim, run.fixed, run.reason)


def config_of(number: int) -> RunConfig:
    return fake_config(rounds=4, seed=number)


def remembered() -> FakeApi:
    """The stand-in with its runs."""
    api = FakeApi()
    for status in STATES.values():
        done = {RunStatus.QUEUED: 0, RunStatus.COMPLETED: 4}.get(status, 2)
        reason = "the disk is full" if status is RunStatus.FAILED else None
        config = config_of(len(api.runs) + 1)
        api.add(config, fixed=status, done=done, reason=reason, round_s=1e9)
    return api


@dataclass(frozen=True)
class Answer:
    """What is compared of an answer."""

    status: int
    kind: str
    error: str | None
    shape: Any


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[Answer]]]:
    """All answers of the stand-in, and of the API."""
    with ExitStack() as running:
        patch = running.enter_context(pytest.MonkeyPatch.context())
        patch.delenv("MESHTUNE_DATABASE_URL", raising=False)
        patch.setattr(fetching, "COMMAND", (sys.executable, "-c", "input()"))
        state = tmp_path_factory.mktemp("state")
        patch.setenv("MESHTUNE_STATE_DIR", str(state))  # where files of rows are kept
        fake = remembered()
        settings = Settings(state_dir=state, database_url=None)
        store = open_store(settings)
        for run in fake.runs.values():
            stored(store, run)
        store.dispose()
        clients = {
            "stand-in": TestClient(fake.app()),
            "API": running.enter_context(TestClient(create_app(settings))),
        }
        for client in clients.values():
            for number in DELETED:
                assert client.delete(f"/runs/{number}").status_code == 204
        yield {
            name: [answered(client, question) for question in ASKED]
            for name, client in clients.items()
        }


def answered(client: TestClient, question: Question) -> Answer:
    answer = client.request(question.method, question.path, json=question.body)
    kind = answer.headers.get("content-type", "").partition(";")[0] if answer.content else ""
    told = answer.json() if kind == "application/json" else None
    error = told["error"] if answer.is_error else None
    return Answer(answer.status_code, kind, error, shape(told, question.free))


def shape(value: Any, free: tuple[str, ...] = ()) -> Any:
    """Names and kinds; of a list the kinds of all that is in it together; None says nothing."""
    if isinstance(value, dict):
        return {n: None if n in free else shape(each, free) for n, each in value.items()}
    if isinstance(value, list):
        together: Any = None
        for each in value:
            together = merged(together, shape(each, free))
        return [together]
    if value is None or isinstance(value, bool | str):
        return None if value is None else type(value).__name__
    return "number"


def merged(one: Any, other: Any) -> Any:
    """What is known of either, as far as they do not contradict one another."""
    if one is None or other is None or one == other:
        return other if one is None else one
    if isinstance(one, dict) and isinstance(other, dict):
        return {name: merged(one.get(name), other.get(name)) for name in {**one, **other}}
    if isinstance(one, list) and isinstance(other, list):
        return [merged(one[0], other[0])]
    return f"{one} or {other}"


def differences(fake: Any, real: Any, place: str = "") -> list[str]:
    """Where two shapes contradict one another, a sentence each."""
    if fake is None or real is None:
        return []
    if isinstance(fake, dict) and isinstance(real, dict):
        lone = [f"{place}.{name} has one of them alone" for name in fake.keys() ^ real.keys()]
        shared = [
            told
            for name in fake.keys() & real.keys()
            for told in differences(fake[name], real[name], f"{place}.{name}")
        ]
        return lone + shared
    if isinstance(fake, list) and isinstance(real, list):
        return differences(fake[0], real[0], f"{place}[]")
    return [] if fake == real else [f"{place}: the stand-in says {fake}, the API {real}"]


@pytest.mark.parametrize("place", range(len(ASKED)), ids=lambda place: str(ASKED[place]))
def test_the_stand_in_answers_as_the_api(both: dict[str, list[Answer]], place: int) -> None:
    fake, real = both["stand-in"][place], both["API"][place]
    assert (fake.status, fake.kind, fake.error) == (real.status, real.kind, real.error)
    assert differences(fake.shape, real.shape) == []


def test_every_route_of_the_stand_in_is_asked() -> None:
    for route in FakeApi().app().routes:
        assert isinstance(route, Route)
        asked = [
            question
            for question in ASKED
            if route.matches(
                {
                    "type": "http",
                    "method": question.method,
                    "path": question.path.partition("?")[0],
                }
            )[0]
            is Match.FULL
        ]
        assert asked, f"{route.methods} {route.path}"


def test_a_field_that_one_of_them_lacks_is_seen() -> None:
    body = {"runs": [{"id": 1, "extra": {"a": 1.0}}], "next": None}
    assert differences(shape(body), shape(body)) == []
    renamed = {"runs": [{"number": 1, "extra": {"a": 1.0}}], "next": None}
    assert len(differences(shape(body), shape(renamed))) == 2
    other = {"runs": [{"id": "1", "extra": {"a": 1.0}}], "next": "x"}
    (told,) = differences(shape(body), shape(other))
    assert told == ".runs[].id: the stand-in says number, the API str"
