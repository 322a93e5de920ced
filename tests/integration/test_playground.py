"""The playground over HTTP, with its real process, a real checkpoint, and misfortunes."""

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from meshtune.backend.app import create_app
from meshtune.backend.archive.adapters import Choice, export_adapters
from meshtune.backend.schemas.playground import AnsweredOut, PlaygroundOut
from meshtune.backend.schemas.runs import Problem
from meshtune.backend.settings import Settings
from meshtune.engine.checkpoint import save_state
from meshtune.engine.config import RunConfig
from meshtune.engine.records import RunStatus
from meshtune.engine.simulate import play_round
from meshtune.engine.world import build_world, initial_state
from tests.support.builders import stored_run, tiny_config

CONFIG = RunConfig.model_validate(
    tiny_config().model_dump()
    | {
        "rounds": 2,
        "fleet": {"devices": 2, "tasks": ["reading", "addition"], "train_samples": 20},
        "method": {"kind": "so_lora", "mode": "stack"},
        "channel": {"kind": "ideal"},
    }
)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    state_dir = tmp_path_factory.mktemp("state")
    return create_app(Settings(state_dir=state_dir, database_url=None))


@pytest.fixture(scope="module")
def api(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def run_id(app: FastAPI, api: TestClient) -> int:
    """A completed run whose last state is kept."""
    assert api.app is app  # it has started
    settings: Settings = app.state.settings
    number = stored_run(app.state.engine, CONFIG, rounds=2, status=RunStatus.COMPLETED)
    world = build_world(CONFIG)
    state = initial_state(world)
    for _ in range(2):
        state, _ = play_round(world, state)
    settings.checkpoint_dir.mkdir(parents=True, exist_ok=True)
    save_state(world, state, settings.checkpoint_dir / f"{number}-1-f1.safetensors")
    return number


def asked(api: TestClient, **body: Any) -> AnsweredOut:
    answer = api.post("/playground", json=body)
    assert answer.status_code == 200, answer.text
    return AnsweredOut.model_validate_json(answer.content)


def refused(answer: Any, status: int) -> Problem:
    assert answer.status_code == status, answer.text
    return Problem.model_validate_json(answer.content)


def test_it_says_what_can_be_asked(api: TestClient, run_id: int) -> None:
    told = PlaygroundOut.model_validate_json(api.get(f"/runs/{run_id}/playground").content)
    assert told.rounds == [2]
    assert told.devices == ["reading", "addition"]
    assert told.missing is None


def test_a_test_question_and_a_typed_prompt_are_answered_by_all_arms(
    api: TestClient, run_id: int
) -> None:
    question = asked(api, run_id=run_id, device=1, task="addition", number=3)
    assert question.rounds_done == 2
    assert question.answer is not None
    assert [arm.name for arm in question.arms][:3] == ["base", "own", "merged"]
    assert all(arm.correct is (arm.text == question.answer) for arm in question.arms)
    assert all(len(arm.likely) == 8 for arm in question.arms)
    again = asked(api, run_id=run_id, device=1, prompt=question.prompt)
    assert again.answer is None
    assert [arm.text for arm in again.arms[:3]] == [arm.text for arm in question.arms[:3]]
    assert "which task" in again.missing["oracle"]


def test_an_adapter_from_outside_answers_as_well(
    api: TestClient, app: FastAPI, run_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: Settings = app.state.settings
    monkeypatch.setenv("MESHTUNE_STATE_DIR", str(settings.state_dir))
    app.state.playground.close()  # the next child knows the folder
    home = settings.state_dir / "adapters"
    home.mkdir()
    export_adapters(app.state.engine, settings, run_id, Choice(device=0), home / "mine")
    told = PlaygroundOut.model_validate_json(api.get(f"/runs/{run_id}/playground").content)
    assert told.adapters == ["mine"]
    there = asked(api, run_id=run_id, device=1, task="addition", adapter="mine")
    here = asked(api, run_id=run_id, device=0, task="addition")
    outside, own = there.arms[-1], here.arms[1]
    assert (outside.name, own.name) == ("outside", "own")
    assert outside.likely == own.likely


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": "a" * 1500}, "prompt"),
        ({"prompt": "\u732b"}, "prompt"),
        ({"prompt": "a" * 5000}, "prompt"),
        ({"device": 2}, "device"),
        ({"device": -1}, "device"),
        ({"rounds_done": 1}, "rounds_done"),
        ({"number": 10**9}, "number"),
        ({"gate": {"top_k": 0}}, "gate.top_k"),
        ({"gate": {"kind": "clairvoyant"}}, "gate.kind"),
        ({"adapter": "nobodys"}, "adapter"),
        ({"adapter": "../checkpoints"}, "adapter"),
    ],
)
def test_what_cannot_be_asked_is_named_at_its_field(
    api: TestClient, run_id: int, body: dict[str, Any], field: str
) -> None:
    problem = refused(api.post("/playground", json={"run_id": run_id, **body}), 422)
    assert [each["field"] for each in problem.context["fields"]] == [field]


def test_runs_without_a_state_say_so(api: TestClient, app: FastAPI) -> None:
    empty = stored_run(app.state.engine, CONFIG, rounds=1, status=RunStatus.CANCELLED)
    told = PlaygroundOut.model_validate_json(api.get(f"/runs/{empty}/playground").content)
    assert told.rounds == []
    assert "kept no state" in (told.missing or "")
    assert "kept no state" in refused(api.post("/playground", json={"run_id": empty}), 422).detail
    assert api.post("/playground", json={"run_id": 999}).status_code == 404


def test_a_damaged_state_is_told(api: TestClient, app: FastAPI) -> None:
    broken = stored_run(app.state.engine, CONFIG, rounds=1, status=RunStatus.FAILED)
    file = app.state.settings.checkpoint_dir / f"{broken}-0-f1.safetensors"
    file.write_bytes(b"no tensors here")
    problem = refused(api.post("/playground", json={"run_id": broken}), 422)
    assert "cannot be read" in problem.detail


def test_a_killed_child_is_replaced_unseen(api: TestClient, app: FastAPI, run_id: int) -> None:
    before = asked(api, run_id=run_id)
    child = app.state.playground._child[0]
    os.kill(child.pid, signal.SIGKILL)
    child.join(5.0)
    after = asked(api, run_id=run_id)
    assert after.model_copy(update={"seconds": 0.0}) == before.model_copy(update={"seconds": 0.0})


def test_a_child_that_dies_at_work_is_told_or_replaced(
    api: TestClient, app: FastAPI, run_id: int
) -> None:
    asked(api, run_id=run_id)
    child = app.state.playground._child[0]
    os.kill(child.pid, signal.SIGSTOP)  # so that the question is surely under way
    killer = threading.Timer(0.5, os.kill, (child.pid, signal.SIGKILL))
    killer.start()
    answer = api.post("/playground", json={"run_id": run_id})
    killer.join()
    assert answer.status_code == 200, answer.text


def test_many_at_once_get_the_same_answer(api: TestClient, run_id: int) -> None:
    expected = asked(api, run_id=run_id, number=5).arms
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(asked(api, run_id=run_id, number=5).arms))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 6
