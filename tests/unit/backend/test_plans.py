"""Equal configs are planned once, by whichever door they come, and files are looked at anew."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from meshtune.backend import app, plan_cache as plans
from meshtune.backend.guards.places import PLANS
from meshtune.backend.plan_cache import AT_ONCE, Plans
from meshtune.backend.schemas.runs import PlanOut, RunCreate
from meshtune.backend.settings import Settings
from meshtune.engine.config import RunConfig
from meshtune.engine.planning import plan as engine_plan
from tests.support.builders import tiny_config

WAIT_S = 60.0
DEAF = {"channel": {"kind": "radio", "tx_power_dbm": -30, "bandwidth_hz": 1e9}}
TRACED = {"mobility": {"kind": "trace", "name": "nowhere"}}


@pytest.fixture
def api(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """An API that knows nothing of what other tests have planned."""
    monkeypatch.setattr(app, "PLANNED", Plans())
    with TestClient(app.create_app(settings)) as client:
        yield client


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    """The configs that were worked on, one entry each time."""
    seen: list[RunConfig] = []

    def counted(work: Callable[..., Any]) -> Callable[..., Any]:
        def call(config: RunConfig, *more: Any) -> Any:
            if not more:  # with a plan nothing is worked out again
                seen.append(config)
            return work(config, *more)

        return call

    monkeypatch.setattr(plans, "plan", counted(plans.plan))
    monkeypatch.setattr(plans, "problems", counted(plans.problems))
    return seen


def wish(config: RunConfig) -> dict[str, Any]:
    return RunCreate(config=config).model_dump(mode="json")


def test_a_config_is_planned_once_however_often_it_is_queued(
    api: TestClient, planned: list[RunConfig]
) -> None:
    configs = [tiny_config(seed=seed) for seed in range(3)]
    with ThreadPoolExecutor(PLANS.places) as callers:
        wishes = [wish(config) for config in configs for _ in range(4)]
        said = list(callers.map(lambda each: api.post("/runs", json=each), wishes))
    assert {each.status_code for each in said} == {201}
    assert len({each.json()["id"] for each in said}) == 12
    assert sorted(config.seed for config in planned) == [0, 1, 2]


def test_what_design_has_planned_is_not_planned_for_the_run_again(
    api: TestClient, planned: list[RunConfig]
) -> None:
    config = tiny_config()
    for name in ("one", "two"):  # a name changes nothing
        body = config.model_copy(update={"name": name}).model_dump(mode="json")
        assert PlanOut.model_validate_json(api.post("/plan", json=body).content).plan is not None
    assert api.post("/runs", json=wish(config)).status_code == 201
    assert len(planned) == 1


def test_a_refusal_is_remembered_with_its_words(api: TestClient) -> None:
    config = RunConfig.model_validate(tiny_config().model_dump(mode="json") | DEAF)
    said = [api.post("/runs", json=wish(config)) for _ in range(2)]
    assert [each.status_code for each in said] == [422, 422]
    assert said[0].json() == said[1].json()
    assert said[0].json()["context"]["fields"][0]["field"] == "channel.tx_power_dbm"
    shown = PlanOut.model_validate_json(
        api.post("/plan", json=config.model_dump(mode="json")).content
    )
    assert [each.field for each in shown.problems] == ["channel.tx_power_dbm"]


def test_a_config_that_reads_files_is_looked_at_each_time(planned: list[RunConfig]) -> None:
    config = RunConfig.model_validate(tiny_config().model_dump(mode="json") | TRACED)
    known = Plans()
    for _ in range(2):  # the file may be there by now
        assert [field for field, _ in known.problems(config)] == ["mobility.name"]
        assert PlanOut.model_validate_json(known.body(config)).plan is None
    assert len(planned) == 4


def test_an_adapter_that_was_missing_may_be_there_by_now(planned: list[RunConfig]) -> None:
    config, known = tiny_config(adapter__start_from="nobodys"), Plans()
    for _ in range(2):
        assert [field for field, _ in known.problems(config)] == ["adapter.start_from"]
    assert len(planned) == 2


def test_few_are_planned_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, release = threading.Semaphore(0), threading.Event()
    lock, now, most = threading.Lock(), 0, 0

    def slow(_: RunConfig) -> list[tuple[str, str]]:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        begun.release()
        assert release.wait(WAIT_S)
        with lock:
            now -= 1
        return []

    monkeypatch.setattr(plans, "problems", slow)
    known = Plans()
    with ThreadPoolExecutor(8) as callers:
        asked = [callers.submit(known.problems, tiny_config(seed=seed)) for seed in range(8)]
        for _ in range(AT_ONCE):
            assert begun.acquire(timeout=WAIT_S)
        release.set()
        assert [each.result() for each in asked] == [[]] * 8
    assert most == AT_ONCE


@pytest.mark.parametrize("channel", [{"kind": "ideal"}, {"kind": "paper"}])
def test_a_config_that_works_is_known_to_work_without_its_whole_plan(
    monkeypatch: pytest.MonkeyPatch, channel: dict[str, Any]
) -> None:
    def whole(_: RunConfig) -> None:
        raise AssertionError("planned whole")

    monkeypatch.setattr(engine_plan, "plan", whole)
    assert engine_plan.problems(RunConfig.model_validate({"channel": channel})) == []
