"""Sweeps over the API: asked for, looked at, stopped, taken away."""

import csv
import io
from collections.abc import Iterator
from typing import Any

import pandas
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from meshtune.backend.app import create_app
from meshtune.backend.schemas.runs import Problem, RunList
from meshtune.backend.schemas.sweeps import SweepDetail, SweepList
from meshtune.backend.settings import Settings
from meshtune.db import leases
from meshtune.db.session import writing
from meshtune.engine.records import RunStatus
from tests.support.builders import play, tiny_config

TINY = tiny_config().model_dump(mode="json")


def body(**values: Any) -> dict[str, Any]:
    axes = {"training.learning_rate": [0.01, 0.1]}
    return {"name": "rates", "base": TINY, "axes": axes, "seeds": [0, 1], **values}


@pytest.fixture
def api(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def shared(api: TestClient) -> Engine:
    """The database that the API uses."""
    engine: Engine = api.app.state.engine  # type: ignore[attr-defined]
    return engine


def started(api: TestClient, **values: Any) -> SweepDetail:
    answer = api.post("/sweeps", json=body(**values))
    assert answer.status_code == 201, answer.text
    return SweepDetail.model_validate_json(answer.content)


def finish(store: Engine, count: int) -> None:
    with writing(store) as session:
        for _ in range(count):
            claim = leases.claim_next(session, "w", lease_s=20.0)
            assert claim is not None
            play(session, claim, 2)
            leases.finish(session, claim, RunStatus.COMPLETED)


def refused(answer: Any, status: int, error: str) -> Problem:
    assert answer.status_code == status, answer.text
    problem = Problem.model_validate_json(answer.content)
    assert problem.error == error
    return problem


def test_a_sweep_is_created_listed_and_shown(api: TestClient) -> None:
    created = started(api)
    assert (created.name, created.cells, created.statuses) == ("rates", 4, {"queued": 4})
    assert created.fields == ["training.learning_rate"]
    assert [state.seed for state in created.states] == [0, 1, 0, 1]
    assert [row.seeds for row in created.table] == [2, 2]
    assert created.best is None
    shown = SweepDetail.model_validate_json(api.get(f"/sweeps/{created.id}").content)
    assert shown == created
    (listed,) = SweepList.model_validate_json(api.get("/sweeps").content).sweeps
    assert listed.model_dump() == {
        name: value for name, value in created.model_dump().items() if name in listed.model_dump()
    }
    assert len(RunList.model_validate_json(api.get("/runs").content).runs) == 4


def test_the_stored_description_starts_the_same_sweep_again(api: TestClient) -> None:
    axes = {"training.learning_rate": {"from": 0.001, "to": 0.1, "steps": 3, "scale": "log"}}
    created = started(api, axes=axes)
    answer = api.get(f"/sweeps/{created.id}").json()
    again = SweepDetail.model_validate_json(api.post("/sweeps", json=answer["spec"]).content)
    assert [state.run_id for state in again.states] == [state.run_id for state in created.states]
    assert all(state.reused for state in again.states)


def test_a_wrong_cell_is_one_sentence_and_nothing_is_stored(api: TestClient) -> None:
    axes = {"training.batch_size": [1, 2, 0]}
    problem = refused(api.post("/sweeps", json=body(axes=axes)), 422, "InvalidInput")
    assert "axes.training.batch_size: the value 0 does not work" in problem.detail
    assert SweepList.model_validate_json(api.get("/sweeps").content).sweeps == []
    assert RunList.model_validate_json(api.get("/runs").content).runs == []


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"mode": "list"}, "rows"),
        ({"axes": {"rounds": 3}}, "list of values"),
        ({"seeds": 100_000}, "1,000"),
        ({"seeds": "x"}, "seeds"),
        ({"nonsense": 1}, "no such field"),
        ({"preset": "none"}, "no preset"),
        ({"axes": {"seed": [1]}}, "seeds"),
        (
            {"axes": {"mobility": [{"kind": "trace", "name": "nowhere"}]}},
            "nowhere",
        ),
    ],
)
def test_what_is_no_sweep_is_refused_with_the_reason(api: TestClient, values, part: str) -> None:
    problem = refused(api.post("/sweeps", json=body(**values)), 422, "InvalidInput")
    assert part in problem.detail


def test_values_that_are_not_finite_are_refused(api: TestClient) -> None:
    text = '{"axes": {"training.learning_rate": [1, NaN]}}'
    answer = api.post("/sweeps", content=text, headers={"content-type": "application/json"})
    assert answer.status_code == 422


def test_the_best_row_is_by_the_chosen_metric_and_goal(api: TestClient, shared: Engine) -> None:
    created = started(api, axes={"rounds": [2]}, seeds=[0, 1])
    finish(shared, 2)
    best = SweepDetail.model_validate_json(api.get(f"/sweeps/{created.id}").content).best
    assert best is not None
    assert best.metrics["accuracy_all"].count == 2
    assert best.metrics["accuracy_all"].mean == pytest.approx(1 / 3)
    cost = api.get(f"/sweeps/{created.id}?metric=energy_j").json()
    assert (cost["metric"], cost["goal"]) == ("energy_j", "min")
    assert api.get(f"/sweeps/{created.id}?metric=energy_j&goal=max").json()["goal"] == "max"
    assert api.get(f"/sweeps/{created.id}?metric=beauty").status_code == 422


def test_a_stopped_sweep_keeps_what_is_done(api: TestClient, shared: Engine) -> None:
    created = started(api)
    finish(shared, 1)
    for _ in range(2):
        stopped = SweepDetail.model_validate_json(api.post(f"/sweeps/{created.id}/stop").content)
        assert stopped.stopped_at is not None
        assert stopped.statuses == {"completed": 1, "cancelled": 3}


def test_the_table_is_taken_away_as_csv(api: TestClient, shared: Engine) -> None:
    created = started(api, name='a,b"c', base=TINY | {"name": "x"})
    finish(shared, 3)
    answer = api.get(f"/sweeps/{created.id}/table.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert list(pandas.read_csv(io.StringIO(answer.text)).columns) == list(rows[0])
    assert [row["training.learning_rate"] for row in rows] == ["0.01", "0.1"]
    assert [(row["completed"], row["queued"]) for row in rows] == [("2", "0"), ("1", "1")]
    assert float(rows[0]["accuracy_all_mean"]) == pytest.approx(1 / 3)
    assert rows[0]["accuracy_all_half_width_95"] == "0.0"
    assert rows[1]["accuracy_all_half_width_95"] == ""


@pytest.mark.parametrize("way", ["", "/stop", "/table.csv"])
def test_an_unknown_sweep_is_named(api: TestClient, way: str) -> None:
    answer = api.post(f"/sweeps/7{way}") if way == "/stop" else api.get(f"/sweeps/7{way}")
    assert "no sweep 7" in refused(answer, 404, "SweepNotFound").detail


def test_lists_come_in_pages(api: TestClient) -> None:
    ids = [started(api, seeds=None).id for _ in range(3)]
    first = SweepList.model_validate_json(api.get("/sweeps?limit=2").content)
    assert [sweep.id for sweep in first.sweeps] == [ids[2], ids[1]]
    assert first.next_before == ids[1]
    rest = SweepList.model_validate_json(api.get(f"/sweeps?before={ids[1]}").content)
    assert [sweep.id for sweep in rest.sweeps] == [ids[0]]
    assert rest.next_before is None
