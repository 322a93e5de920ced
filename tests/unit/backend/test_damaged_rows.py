"""A row that cannot be read as it should takes nothing else with it, and can be deleted."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from meshtune.backend.app import create_app
from meshtune.backend.schemas.compare import Candidates, Study
from meshtune.backend.schemas.runs import RunList
from meshtune.backend.schemas.sweeps import SweepList
from meshtune.backend.settings import Settings
from meshtune.db import leases, runs, steering
from meshtune.db.session import reading, writing
from meshtune.engine.records import RunStatus
from tests.support.builders import stored_run, tiny_config

HEALTHY, DAMAGED = 1, 2
# What versions before this one stored, and what a fault of a disk or a hand may leave.
RUN_DAMAGES = (
    "started_at = -62135647200",  # 0001-01-01T00:00:00+14:00
    "finished_at = 253402351199",  # 9999-12-31T23:59:59-14:00
    "created_at = 9e999",
    "created_at = 'soon'",
    "name = CAST(x'ff41' AS TEXT)",
    "reason = CAST(x'c3' AS TEXT)",
    "config = '{'",
    "config = 'null'",
    "config = CAST(x'7b22ff' AS TEXT)",
    "provenance = '[['",
    'provenance = \'{"of": "another version"}\'',
    "status = 'lost', finished_at = 1.0, owner = NULL, lease_until = NULL",
    "wanted = 'nothing'",
    "energy_j = 'much'",
    "sent_bits = 'many'",
    "accuracy_own = 'good'",
)


@pytest.fixture
def api(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def shared(api: TestClient) -> Engine:
    """The database of the API, with a healthy run and one to damage."""
    engine: Engine = api.app.state.engine  # type: ignore[attr-defined]
    assert [stored_run(engine, rounds=2, status=RunStatus.COMPLETED) for _ in range(2)] == [1, 2]
    return engine


def damage(store: Engine, sql: str) -> None:
    with writing(store) as session:
        session.execute(text("PRAGMA ignore_check_constraints = ON"))
        session.execute(text(sql))
        session.execute(text("PRAGMA ignore_check_constraints = OFF"))


@pytest.mark.parametrize("damaged", RUN_DAMAGES)
def test_one_damaged_run_fails_no_list_and_can_be_deleted(
    api: TestClient, shared: Engine, damaged: str
) -> None:
    damage(shared, f"UPDATE runs SET {damaged} WHERE id = {DAMAGED}")
    for address in ("/runs", "/runs?text=tiny", "/health", "/metrics", f"/runs/{HEALTHY}"):
        assert api.get(address).status_code == 200, address
    listed = RunList.model_validate_json(api.get("/runs").content)
    assert [run.id for run in listed.runs] == [DAMAGED, HEALTHY]
    found = Candidates.model_validate_json(api.get("/compare/candidates").content)
    assert [run.id for run in found.runs] == [DAMAGED, HEALTHY]
    study = api.get(f"/compare/study?run={HEALTHY}&run={DAMAGED}")
    assert [each.run.id for each in Study.model_validate_json(study.content).runs] == [1, 2]
    told = api.get(f"/runs/{DAMAGED}")
    assert told.status_code == 200 or "run 2" in told.json()["detail"]
    assert api.delete(f"/runs/{DAMAGED}").status_code == 204
    left = RunList.model_validate_json(api.get("/runs").content)
    assert [run.id for run in left.runs] == [HEALTHY]
    hidden = RunList.model_validate_json(api.get("/runs?deleted=true").content)
    assert [run.id for run in hidden.runs] == [DAMAGED]
    with writing(shared) as session:
        assert steering.purge_deleted(session, older_than_s=-1.0) == [DAMAGED]


@pytest.mark.parametrize("damaged", [sql for sql in RUN_DAMAGES if "status" not in sql])
def test_one_damaged_run_does_not_stop_the_queue(
    api: TestClient, shared: Engine, damaged: str
) -> None:
    first, second = stored_run(shared), stored_run(shared)
    finished = damaged.replace("finished_at", "started_at")  # a run that waits has not ended
    damage(shared, f"UPDATE runs SET {finished} WHERE id = {first}")
    claimed = []
    for _ in range(3):
        with writing(shared) as session:
            claim = leases.claim_next(session, "w", lease_s=-1.0)  # and is lost at once
            claimed.append(claim and claim.run_id)
    assert {first, second} & set(claimed)
    assert api.delete(f"/runs/{second}").status_code in {204, 409}
    with reading(shared) as session:
        assert runs.get(session, first).status in set(RunStatus)


@pytest.mark.parametrize("column", ["devices", "scores", "links", "extra"])
def test_a_damaged_round_is_named(api: TestClient, shared: Engine, column: str) -> None:
    damage(shared, f"UPDATE rounds SET {column} = '[{{' WHERE run_id = 2 AND round_index = 1")
    answer = api.get("/runs/2/rounds")
    assert answer.status_code == 500
    assert answer.json()["error"] == "UnreadableRound"
    assert "round 2 of run 2 is damaged" in answer.json()["detail"]
    assert api.get("/runs/1/rounds").status_code == 200
    assert api.get("/compare/study?run=1&run=2").status_code == 200


@pytest.mark.parametrize("column", ["own", "tasks"])
def test_a_damaged_curve_is_taken_from_its_scores(
    api: TestClient, shared: Engine, column: str
) -> None:
    before = api.get("/compare/study?run=2").json()["runs"][0]["curves"]
    damage(shared, f"UPDATE round_curves SET {column} = '[' WHERE run_id = 2")
    with TestClient(create_app(api.app.state.settings)) as other:  # type: ignore[attr-defined]
        assert other.get("/compare/study?run=2").json()["runs"][0]["curves"] == before


@pytest.mark.parametrize(
    "damaged",
    ["spec = '{'", 'spec = \'{"axes": {"of_another": "version"}}\'', "created_at = 1e300"],
)
def test_one_damaged_sweep_fails_no_list(api: TestClient, shared: Engine, damaged: str) -> None:
    spec = {
        "base": tiny_config().model_dump(mode="json"),
        "axes": {"training.local_steps": [2, 3]},
    }
    assert [api.post("/sweeps", json=spec).status_code for _ in range(2)] == [201, 201]
    damage(shared, f"UPDATE sweeps SET {damaged} WHERE id = 2")
    answer = api.get("/sweeps")
    assert [each.id for each in SweepList.model_validate_json(answer.content).sweeps] == [2, 1]
    assert api.get("/sweeps/1").status_code == 200
    told = api.get("/sweeps/2")
    assert told.status_code == 200 or "sweep 2" in told.json()["detail"]
    assert api.post("/sweeps", json=spec).status_code == 201
