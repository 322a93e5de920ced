"""Steering runs over HTTP: what is answered, refused, listed and compared."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from meshtune.backend.app import create_app
from meshtune.backend.schemas.runs import (
    Problem,
    RoundPage,
    RunCreate,
    RunDetail,
    RunList,
)
from meshtune.backend.settings import Settings
from meshtune.db import leases, runs, steering
from meshtune.db.session import writing
from meshtune.engine.records import RunStatus
from tests.support.builders import play, stored_run, tiny_config


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return create_app(settings)


@pytest.fixture
def api(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def shared(api: TestClient, app: FastAPI) -> Engine:
    """The database that the API uses, once it has started."""
    assert api.app is app
    engine: Engine = app.state.engine
    return engine


def refused(answer: Any, status: int, error: str) -> Problem:
    assert answer.status_code == status, answer.text
    problem = Problem.model_validate_json(answer.content)
    assert problem.error == error
    return problem


def shown(answer: Any, status: int = 200) -> RunDetail:
    assert answer.status_code == status, answer.text
    return RunDetail.model_validate_json(answer.content)


def numbers(answer: Any) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [run.id for run in RunList.model_validate_json(answer.content).runs]


def test_a_run_is_paused_and_resumed(api: TestClient, shared: Engine) -> None:
    run_id = stored_run(shared)
    for _ in range(2):
        assert shown(api.post(f"/runs/{run_id}/pause")).status is RunStatus.PAUSED
    for _ in range(2):
        assert shown(api.post(f"/runs/{run_id}/resume")).status is RunStatus.QUEUED


def test_a_running_run_shows_what_was_asked_of_it(api: TestClient, shared: Engine) -> None:
    run_id = stored_run(shared, status=RunStatus.RUNNING)
    asked = shown(api.post(f"/runs/{run_id}/pause"))
    assert (asked.status, asked.pause_requested, asked.cancel_requested) == (
        RunStatus.RUNNING,
        True,
        False,
    )
    assert not shown(api.post(f"/runs/{run_id}/resume")).pause_requested
    assert shown(api.post(f"/runs/{run_id}/cancel")).cancel_requested
    refused(api.post(f"/runs/{run_id}/pause"), 409, "IllegalTransition")


def test_only_a_failed_run_is_retried(api: TestClient, shared: Engine) -> None:
    failed = stored_run(shared, status=RunStatus.FAILED)
    retried = shown(api.post(f"/runs/{failed}/retry"))
    assert (retried.status, retried.reason, retried.finished_at) == (RunStatus.QUEUED, None, None)
    done = stored_run(shared, status=RunStatus.COMPLETED)
    problem = refused(api.post(f"/runs/{done}/retry"), 409, "IllegalTransition")
    assert problem.context == {"run_id": done, "status": "completed", "wanted": "retried"}
    assert "clone it" in problem.detail


def test_every_move_is_an_event_with_time_actor_and_reason(api: TestClient, shared: Engine) -> None:
    run_id = stored_run(shared)
    api.post(f"/runs/{run_id}/pause")
    event = shown(api.get(f"/runs/{run_id}")).events[-1]
    assert (event.kind, event.actor) == ("paused", "person")
    assert event.detail == "paused on request after 0 of 2 rounds"


def test_a_patch_changes_what_it_names_and_nothing_else(api: TestClient, shared: Engine) -> None:
    run_id = stored_run(shared, tiny_config(name="mesh"))
    before = shown(api.get(f"/runs/{run_id}"))
    after = shown(api.patch(f"/runs/{run_id}", json={"priority": -100}))
    assert (after.priority, after.note, after.name) == (-100, None, "mesh")
    after = shown(api.patch(f"/runs/{run_id}", json={"note": "<b>n</b>", "name": "new"}))
    assert (after.priority, after.note, after.name) == (-100, "<b>n</b>", "new")
    assert after.config_sha256 == before.config_sha256
    assert shown(api.patch(f"/runs/{run_id}", json={})) == after
    assert shown(api.patch(f"/runs/{run_id}", json={"note": ""})).note is None


@pytest.mark.parametrize(
    "change",
    [
        {"priority": 101},
        {"priority": -101},
        {"priority": 1.5},
        {"note": "x" * 2001},
        {"note": "a\x00b"},
        {"name": ""},
        {"name": "x" * 81},
        {"name": "a\nb"},
        {"status": "completed"},
    ],
)
def test_a_patch_out_of_bounds_names_its_field(
    api: TestClient, shared: Engine, change: dict[str, Any]
) -> None:
    run_id = stored_run(shared)
    problem = refused(api.patch(f"/runs/{run_id}", json=change), 422, "InvalidInput")
    assert [each["field"] for each in problem.context["fields"]] == list(change)


def test_a_clone_names_its_origin(api: TestClient, shared: Engine) -> None:
    origin = stored_run(shared)
    sent = RunCreate(config=tiny_config(seed=2), cloned_from=origin, note="other seed")
    clone = shown(api.post("/runs", json=sent.model_dump(mode="json")), 201)
    assert (clone.cloned_from, clone.note) == (origin, "other seed")
    sent = sent.model_copy(update={"cloned_from": 99})
    problem = refused(api.post("/runs", json=sent.model_dump(mode="json")), 422, "InvalidInput")
    assert [each["field"] for each in problem.context["fields"]] == ["cloned_from"]


RUN_ROUTES = [
    ("GET", ""),
    ("PATCH", ""),
    ("DELETE", ""),
    ("POST", "/pause"),
    ("POST", "/resume"),
    ("POST", "/cancel"),
    ("POST", "/retry"),
    ("GET", "/rounds"),
    ("GET", "/export"),
]


def test_a_deleted_run_is_gone_for_every_route_until_restored(
    api: TestClient, shared: Engine
) -> None:
    run_id = stored_run(shared, rounds=1, status=RunStatus.COMPLETED)
    assert api.delete(f"/runs/{run_id}").status_code == 204
    for method, path in RUN_ROUTES:
        sent = {"json": {"note": "x"}} if method == "PATCH" else {}
        answer = api.request(method, f"/runs/{run_id}{path}", **sent)
        problem = refused(answer, 404, "RunDeleted")
        assert problem.context == {"run_id": run_id}
        assert "brought back" in problem.detail
    refused(api.get(f"/compare/study?run={run_id}"), 404, "RunDeleted")
    assert numbers(api.get("/runs")) == []
    assert numbers(api.get("/runs?deleted=true")) == [run_id]
    for _ in range(2):
        restored = shown(api.post(f"/runs/{run_id}/restore"))
        assert (restored.status, restored.rounds_done) == (RunStatus.COMPLETED, 1)
    assert numbers(api.get("/runs")) == [run_id]
    refused(api.post("/runs/99/restore"), 404, "RunNotFound")


def test_a_running_run_is_not_deleted(api: TestClient, shared: Engine) -> None:
    run_id = stored_run(shared, status=RunStatus.RUNNING)
    problem = refused(api.delete(f"/runs/{run_id}"), 409, "IllegalTransition")
    assert problem.detail == f"run {run_id} is running and cannot be deleted; cancel it first"


def test_lists_are_filtered_by_all_that_is_named(api: TestClient, shared: Engine) -> None:
    mesh = stored_run(shared, tiny_config(name="mesh"), status=RunStatus.FAILED)
    ring = stored_run(shared, tiny_config(name="ring", method__kind="local"))
    assert numbers(api.get("/runs?name=mesh")) == [mesh]
    assert numbers(api.get("/runs?method=local")) == [ring]
    assert numbers(api.get("/runs?text=ES")) == [mesh]
    assert numbers(api.get("/runs?status=failed&status=queued&text=r")) == [ring, mesh]
    assert numbers(api.get("/runs?status=failed&text=r")) == [mesh]
    assert numbers(api.get("/runs?text=nothing")) == []
    for query in ("text=a%00b", f"name={'x' * 201}", "deleted=perhaps", "status=lost"):
        refused(api.get(f"/runs?{query}"), 422, "InvalidInput")


def test_the_largest_page_says_whether_there_is_more(api: TestClient, shared: Engine) -> None:
    ids = [stored_run(shared) for _ in range(2)]
    page = RunList.model_validate_json(api.get(f"/runs?limit={runs.PAGE_MAX}").content)
    assert page.next_before is None
    page = RunList.model_validate_json(api.get("/runs?limit=1").content)
    assert page.next_before == ids[1]


def test_rounds_can_be_thinned_out(api: TestClient, shared: Engine) -> None:
    run_id = stored_run(shared, tiny_config(rounds=20), rounds=12, status=RunStatus.RUNNING)
    answer = api.get(f"/runs/{run_id}/rounds?every=5&detail=summary")
    page = RoundPage.model_validate_json(answer.content)
    assert [record.round_index for record in page.rounds] == [0, 5, 10, 11]
    assert page.rounds_done == 12
    for every in (0, 10_001, "x"):
        refused(api.get(f"/runs/{run_id}/rounds?every={every}"), 422, "InvalidInput")


def test_a_comparison_out_of_bounds_is_refused(api: TestClient, shared: Engine) -> None:
    run_id = stored_run(shared)
    many = "&".join(f"run={run_id}" for _ in range(runs.COMPARED_MAX + 1))
    for query in ("", many, "run=0", "run=x", f"run={2**40}"):
        refused(api.get(f"/compare/study?{query}"), 422, "InvalidInput")
    refused(api.get("/compare/study?run=77"), 404, "RunNotFound")


def test_the_bounds_of_the_wire_are_those_of_the_store(api: TestClient) -> None:
    fields = api.get("/openapi.json").json()["components"]["schemas"]["RunPatch"]["properties"]
    bounds = {name: field["anyOf"][0] for name, field in fields.items()}
    assert bounds["priority"]["maximum"] == -bounds["priority"]["minimum"] == steering.PRIORITY_MAX
    assert bounds["note"]["maxLength"] == steering.NOTE_MAX
    assert bounds["name"]["maxLength"] == steering.NAME_MAX


def test_a_page_asked_for_twice_tells_what_happened_in_between(
    api: TestClient, shared: Engine
) -> None:
    run_id = stored_run(shared, tiny_config(rounds=4), rounds=2, status=RunStatus.QUEUED)
    path = f"/runs/{run_id}/rounds?after=0"

    def page() -> RoundPage:
        return RoundPage.model_validate_json(api.get(path).content)

    assert [record.round_index for record in page().rounds] == [1]
    assert page() == page()
    with writing(shared) as session:
        claim = leases.claim_next(session, "w", lease_s=20.0)
        assert claim is not None
        play(session, claim, 1)
    assert [record.round_index for record in page().rounds] == [1, 2]
    assert page().status is RunStatus.RUNNING
    api.post(f"/runs/{run_id}/cancel")
    with writing(shared) as session:
        leases.finish(session, claim, RunStatus.CANCELLED, "asked")
    assert page().status is RunStatus.CANCELLED
    assert api.delete(f"/runs/{run_id}").status_code == 204
    refused(api.get(path), 404, "RunDeleted")
