"""The API over a real database: what it answers, and that every error has one shape."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from meshtune.backend.app import create_app
from meshtune.backend.archive.tables import CSV_HEADER
from meshtune.backend.guards.limits import BODY_MAX_BYTES
from meshtune.backend.routes import design
from meshtune.backend.schemas.runs import (
    Health,
    PlanOut,
    PresetOut,
    Problem,
    RoundPage,
    RunCreate,
    RunDetail,
    RunList,
    TopologyOut,
)
from meshtune.backend.settings import Settings
from meshtune.db import leases, runs
from meshtune.db.session import writing
from meshtune.engine.config import RunConfig
from meshtune.engine.presets import preset_names
from meshtune.engine.presets.stored import StoredResult, stored_result
from meshtune.engine.records import RoundRecord, RunStatus
from tests.support.builders import sample_record, stored_run, tiny_config


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


def body(**changes: Any) -> dict[str, Any]:
    return RunCreate(config=tiny_config(**changes)).model_dump(mode="json")


def refused(answer: Any, status: int, error: str) -> Problem:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    problem = Problem.model_validate_json(answer.content)
    assert problem.error == error
    assert "Traceback" not in answer.text
    return problem


def test_a_run_is_created_listed_and_shown(api: TestClient) -> None:
    answer = api.post("/runs", json=body(name="mesh"))
    assert answer.status_code == 201
    created = RunDetail.model_validate_json(answer.content)
    assert (created.name, created.status) == ("mesh", RunStatus.QUEUED)
    assert [event.kind for event in created.events] == ["created"]
    listed = RunList.model_validate_json(api.get("/runs").content)
    assert [run.id for run in listed.runs] == [created.id]
    assert RunDetail.model_validate_json(api.get(f"/runs/{created.id}").content) == created


def test_a_running_run_shows_progress_and_time_left(api: TestClient, shared: Engine) -> None:
    run_id = stored_run(shared, tiny_config(rounds=4), rounds=2, status=RunStatus.RUNNING)
    with writing(shared) as session:
        runs.get(session, run_id).progress = 0.5
    run = RunDetail.model_validate_json(api.get(f"/runs/{run_id}").content)
    assert (run.rounds_done, run.progress) == (2, 0.5)
    assert run.seconds_left == pytest.approx(1.5 * 1.5)
    assert run.provenance is not None


def test_lists_come_in_pages(api: TestClient, shared: Engine) -> None:
    ids = [stored_run(shared) for _ in range(3)]
    first = RunList.model_validate_json(api.get("/runs?limit=2").content)
    assert [run.id for run in first.runs] == [ids[2], ids[1]]
    assert first.next_before == ids[1]
    rest = RunList.model_validate_json(api.get(f"/runs?limit=2&before={ids[1]}").content)
    assert [run.id for run in rest.runs] == [ids[0]]
    assert rest.next_before is None


def test_lists_can_be_of_some_statuses(api: TestClient, shared: Engine) -> None:
    stored_run(shared)
    done = stored_run(shared, status=RunStatus.COMPLETED)
    failed = stored_run(shared, status=RunStatus.FAILED)
    listed = RunList.model_validate_json(api.get("/runs?status=completed&status=failed").content)
    assert [run.id for run in listed.runs] == [failed, done]


@pytest.mark.parametrize(
    ("detail", "missing"),
    [
        ("summary", {"devices": (), "scores": (), "links": ()}),
        ("scores", {"links": ()}),
        ("full", {}),
    ],
)
def test_rounds_come_with_as_much_detail_as_asked(
    api: TestClient, shared: Engine, detail: str, missing: dict[str, Any]
) -> None:
    config = tiny_config(rounds=3)
    run_id = stored_run(shared, config, rounds=3, status=RunStatus.COMPLETED)
    answer = api.get(f"/runs/{run_id}/rounds?after=0&limit=1&detail={detail}")
    page = RoundPage.model_validate_json(answer.content)
    assert (page.status, page.rounds_done, page.rounds_total) == (RunStatus.COMPLETED, 3, 3)
    assert page.rounds == [sample_record(config, 1, **missing)]


def test_a_waiting_run_is_cancelled_once(api: TestClient, shared: Engine) -> None:
    run_id = stored_run(shared)
    answer = RunDetail.model_validate_json(api.post(f"/runs/{run_id}/cancel").content)
    assert answer.status is RunStatus.CANCELLED
    again = RunDetail.model_validate_json(api.post(f"/runs/{run_id}/cancel").content)
    assert again == answer


def test_a_running_run_is_asked_to_stop(api: TestClient, shared: Engine) -> None:
    run_id = stored_run(shared, status=RunStatus.RUNNING)
    answer = RunDetail.model_validate_json(api.post(f"/runs/{run_id}/cancel").content)
    assert answer.status is RunStatus.RUNNING
    assert answer.cancel_requested


def test_jsonl_export_is_every_record_behind_a_line_that_explains_it(
    api: TestClient, shared: Engine
) -> None:
    config = tiny_config(rounds=120)
    run_id = stored_run(shared, config, rounds=120, status=RunStatus.COMPLETED)
    answer = api.get(f"/runs/{run_id}/export?format=jsonl")
    about, *lines = answer.text.splitlines()
    told = json.loads(about)
    assert RunConfig.model_validate(told["config"]) == config
    assert told["provenance"]["commit"] == "0" * 40
    assert told["seed"] == config.seed
    records = [RoundRecord.model_validate_json(line) for line in lines]
    assert records == [sample_record(config, index) for index in range(120)]


def test_csv_export_has_a_row_per_round_device_and_task(api: TestClient, shared: Engine) -> None:
    config = tiny_config(rounds=2)
    run_id = stored_run(shared, config, rounds=2, status=RunStatus.COMPLETED)
    answer = api.get(f"/runs/{run_id}/export")
    assert answer.headers["content-disposition"] == f'attachment; filename="run-{run_id}.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert list(rows[0]) == answer.text.splitlines()[0].split(",") == list(CSV_HEADER)
    assert json.loads(rows[0]["about"])["config_sha256"]
    assert {row["about"] for row in rows[1:]} == {""}
    keys = [(row["round_index"], row["device"], row["scored_task"]) for row in rows]
    expected = [(r, d, t) for r in "01" for d in "01" for t in ("reading", "addition")]
    assert sorted(keys) == sorted(expected)
    assert float(rows[0]["accuracy"]) == 0.123456789
    assert int(rows[0]["round_sent_bits"]) == sample_record(config, 0).sent_bits


def test_csv_export_keeps_devices_of_a_round_without_evaluation(
    api: TestClient, shared: Engine
) -> None:
    config = tiny_config()
    run_id = stored_run(shared, config)
    with writing(shared) as session:
        claim = leases.claim_next(session, "w", lease_s=20.0)
        assert claim is not None
        leases.append_round(session, claim, sample_record(config, 0, scores=()), "c", lease_s=20.0)
    text = api.get(f"/runs/{run_id}/export?format=csv").text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["device"], row["accuracy"]) for row in rows] == [("0", ""), ("1", "")]


def test_presets_schema_and_plan_help_to_design(api: TestClient) -> None:
    presets = [PresetOut.model_validate(preset) for preset in api.get("/presets").json()]
    assert [preset.name for preset in presets] == preset_names()
    schema = api.get("/schema/run-config").json()
    bandwidth = schema["$defs"]["PaperChannel"]["properties"]["bandwidth_hz"]
    assert (bandwidth["unit"], bandwidth["exclusiveMinimum"]) == ("Hz", 0)
    answer = api.post("/plan", json=tiny_config().model_dump(mode="json"))
    told = PlanOut.model_validate_json(answer.content)
    assert told.problems == ()
    assert told.plan is not None
    assert len(told.plan.devices) == 2


def test_a_stored_result_of_another_config_is_not_shown(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(name: str) -> StoredResult | None:
        found = stored_result(name)
        if found is None or name != "quick":
            return found
        return found.model_copy(update={"config_sha256": "0" * 64})

    monkeypatch.setattr(design, "stored_result", changed)
    design._preset.cache_clear()
    try:
        presets = [PresetOut.model_validate(preset) for preset in api.get("/presets").json()]
    finally:
        design._preset.cache_clear()
    assert [preset.name for preset in presets if preset.result is None] == ["quick"]


# -50 dBm over 100 km: the fields are valid one by one, the radio carries nothing.
# These name their runs behind the "?".
COMPARISONS = {f"/compare{each}" for each in ("/study", "/paired", "/table", "/report")}
DEAF = {
    "channel": {"kind": "paper", "tx_power_dbm": -50.0},
    "topology": {"kind": "ring", "radius_m": 100_000.0},
}
GONE = {"channel": {"kind": "radio", "path_loss": {"kind": "gain_table", "name": "gone"}}}


def test_a_plan_comes_with_what_keeps_the_config_from_running(api: TestClient) -> None:
    answer = api.post("/plan", json=tiny_config(**DEAF).model_dump(mode="json"))
    told = PlanOut.model_validate_json(answer.content)
    assert told.plan is not None
    assert [each.field for each in told.problems] == ["channel.tx_power_dbm"]
    assert "raise the power" in told.problems[0].message


def test_a_file_that_is_not_there_is_a_problem_and_no_plan(api: TestClient) -> None:
    answer = api.post("/plan", json=tiny_config(**GONE).model_dump(mode="json"))
    told = PlanOut.model_validate_json(answer.content)
    assert told.plan is None
    assert [each.field for each in told.problems] == ["channel.path_loss.name"]
    assert "gone" in told.problems[0].message


@pytest.mark.parametrize(
    ("changes", "field"),
    [(DEAF, "channel.tx_power_dbm"), (GONE, "channel.path_loss.name")],
)
def test_a_config_that_cannot_work_is_not_queued(
    api: TestClient, changes: dict[str, Any], field: str
) -> None:
    problem = refused(api.post("/runs", json=body(**changes)), 422, "InvalidInput")
    assert [each["field"] for each in problem.context["fields"]] == [field]
    assert problem.detail.startswith(f"{field}: ")
    assert RunList.model_validate_json(api.get("/runs").content).runs == []


TWO_DEVICES = {
    "devices": [
        {"x_m": 0.0, "y_m": 0.0, "task": "reading"},
        {"x_m": 30.0, "y_m": 5.0, "task": "addition"},
    ],
    "links": [[0, 1]],
}
TWO_NODES = (
    '<graphml><graph edgedefault="undirected"><node id="a"/><node id="b"/>'
    '<edge source="a" target="b"/></graph></graphml>'
)


def test_a_mesh_of_a_file_becomes_a_topology(api: TestClient) -> None:
    sent = {"format": "json", "text": json.dumps(TWO_DEVICES)}
    told = TopologyOut.model_validate_json(api.post("/topology/import", json=sent).content)
    assert told.tasks == ("reading", "addition")
    assert told.topology.links == ((0, 1),)
    assert told.topology.positions[1].model_dump() == {"x_m": 30.0, "y_m": 5.0}
    sent = {"format": "graphml", "text": TWO_NODES}
    told = TopologyOut.model_validate_json(api.post("/topology/import", json=sent).content)
    assert (told.tasks, told.topology.links) == (None, ((0, 1),))
    assert "made up" in told.notes[0]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_content_says_what_a_file_of_a_mesh_is(api: TestClient, mark: str) -> None:
    gml = "graph [\r\n node [ id 0 x_m 0 y_m 0 ] node [ id 1 x_m 9 y_m 0 ] ]"
    for text in (json.dumps(TWO_DEVICES), TWO_NODES, gml, "*Vertices 2\r\n"):
        answer = api.post("/topology/import", json={"text": mark + text})
        assert len(TopologyOut.model_validate_json(answer.content).topology.positions) == 2
    body = b"\xef\xbb\xbf" + json.dumps({"text": gml}).encode()
    headers = {"content-type": "application/json"}
    assert api.post("/topology/import", content=body, headers=headers).status_code == 200


# A billion times "lol" once its entities are put in.
BOMB = "".join(
    [
        '<?xml version="1.0"?>\n<!DOCTYPE graphml [<!ENTITY e0 "lol">',
        *(f'<!ENTITY e{level + 1} "{f"&e{level};" * 10}">' for level in range(9)),
        "]><graphml><graph><node id='a'><data key='d'>&e9;</data></node></graph></graphml>",
    ]
)


@pytest.mark.parametrize("before", ["", "\ufeff", "  \n"])
def test_a_bomb_of_entities_is_refused_unopened(api: TestClient, before: str) -> None:
    problem = refused(
        api.post("/topology/import", json={"text": before + BOMB}), 422, "InvalidInput"
    )
    assert "document type" in problem.detail


@pytest.mark.parametrize(
    ("sent", "field", "says"),
    [
        ({"format": "json", "text": "{"}, "text", "JSON"),
        ({"format": "graphml", "text": "<html/>"}, "text", "no graph"),
        (
            {"format": "json", "text": json.dumps({**TWO_DEVICES, "links": [[0, 7]]})},
            "text",
            "not drawn",
        ),
        ({"format": "gml", "text": ""}, "format", "graphml"),
        ({"text": "a,b"}, "text", "neither JSON nor GraphML"),
    ],
)
def test_a_file_without_a_mesh_is_refused_in_one_sentence(
    api: TestClient, sent: dict[str, Any], field: str, says: str
) -> None:
    problem = refused(api.post("/topology/import", json=sent), 422, "InvalidInput")
    assert problem.context["fields"][0]["field"] == field
    assert says in problem.detail


def test_health_counts_the_queue(api: TestClient, shared: Engine) -> None:
    stored_run(shared)
    with writing(shared) as session:
        leases.worker_beat(session, "w", slots=1, lease_s=20.0)
    health = Health.model_validate_json(api.get("/health").content)
    assert (health.status, health.queued, health.running, health.workers) == ("ok", 1, 0, 1)


@pytest.mark.parametrize(
    ("sent", "field", "says"),
    [
        ({"topology": {"kind": "ring", "radius_m": -1}}, "topology.radius_m", "0.01"),
        ({"fleet": {"devices": 0}}, "fleet.devices", "greater than or equal to 1 (got 0)"),
        ({"fleet": {"tasks": ["chess"]}}, "fleet.tasks.0", "'reading'"),
        ({"channel": {"bandwidth": 1}}, "channel", "say which kind it is"),
        ({"tea": 1}, "tea", "there is no such field"),
        ({"fleet": {"devises": 1}}, "fleet.devises", "did you mean fleet.devices?"),
        ({"method": {"kind": "magic"}}, "method", "'magic'"),
        (
            {"topology": {"kind": "clusters", "by": "place", "clusters": 9}},
            "topology.clusters",
            "at most one",
        ),
        (
            {"channel": {"kind": "radio", "path_loss": {"kind": "log_distance", "exponent": 0}}},
            "channel.path_loss.exponent",
            "greater than or equal to 1 (got 0)",
        ),
    ],
)
def test_a_wrong_field_is_named_in_one_sentence(
    api: TestClient, sent: dict[str, Any], field: str, says: str
) -> None:
    for address, content in (("/runs", {"config": sent}), ("/plan", sent)):
        problem = refused(api.post(address, json=content), 422, "InvalidInput")
        named = problem.context["fields"][0]
        assert named["field"] == field
        assert says in named["message"]
        assert problem.detail.startswith(f"{field}: {named['message']}")


def test_all_wrong_fields_are_listed(api: TestClient) -> None:
    answer = api.post("/plan", json={"rounds": 0, "fleet": {"devices": 0}})
    problem = refused(answer, 422, "InvalidInput")
    assert {each["field"] for each in problem.context["fields"]} == {"rounds", "fleet.devices"}
    assert problem.detail.endswith("(and 1 more)")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused(api: TestClient, number: str) -> None:
    sent = f'{{"config": {{"training": {{"learning_rate": {number}}}, "seed": {number}}}}}'
    answer = api.post("/runs", content=sent, headers={"content-type": "application/json"})
    problem = refused(answer, 422, "InvalidInput")
    assert "must be a finite number" in problem.detail


@pytest.mark.parametrize(
    ("content", "kind", "status", "error"),
    [
        (b"{bad", "application/json", 422, "InvalidJson"),
        (b"\xff\xfe", "application/json", 422, "InvalidJson"),
        (b"[" * 100_000, "application/json", 422, "InvalidInput"),
        (b"", "application/json", 422, "InvalidInput"),
        (b"[]", "application/json", 422, "InvalidInput"),
        (b"null", "application/json", 422, "InvalidInput"),
        (b'{"config": {}}', "text/plain", 415, "UnsupportedMediaType"),
        (b"config=1", "application/x-www-form-urlencoded", 415, "UnsupportedMediaType"),
    ],
)
def test_a_body_that_is_no_config_is_refused(
    api: TestClient, content: bytes, kind: str, status: int, error: str
) -> None:
    answer = api.post("/runs", content=content, headers={"content-type": kind})
    refused(answer, status, error)


def test_a_huge_body_is_refused_whatever_its_header_says(api: TestClient) -> None:
    def pieces() -> Iterator[bytes]:  # without a content-length
        for _ in range(3):
            yield b" " * (BODY_MAX_BYTES // 2)

    for content in (b" " * (BODY_MAX_BYTES + 1), pieces()):
        answer = api.post("/runs", content=content, headers={"content-type": "application/json"})
        refused(answer, 413, "BodyTooLarge")


@pytest.mark.parametrize(
    "address",
    ["/runs/5", "/runs/5/rounds", "/runs/5/export", "/runs/5/export?format=jsonl"],
)
def test_an_unknown_run_is_not_found(api: TestClient, address: str) -> None:
    problem = refused(api.get(address), 404, "RunNotFound")
    assert problem.context == {"run_id": 5}


@pytest.mark.parametrize(
    "address",
    [
        "/runs/abc",
        "/runs/0",
        "/runs/99999999999999999999",
        "/runs?limit=0",
        "/runs?limit=100000",
        "/runs?before=-1",
        "/runs?status=asleep",
        "/runs/1/rounds?after=-2",
        "/runs/1/rounds?detail=all",
        "/runs/1/export?format=xml",
    ],
)
def test_a_wrong_parameter_is_named(api: TestClient, address: str) -> None:
    refused(api.get(address), 422, "InvalidInput")


def test_unknown_addresses_and_methods_have_the_same_shape(api: TestClient) -> None:
    refused(api.get("/nothing"), 404, "NotFound")
    answer = api.delete("/runs")
    refused(answer, 405, "MethodNotAllowed")
    assert answer.headers["allow"]


def test_a_database_that_cannot_be_written_is_told(api: TestClient, shared: Engine) -> None:
    with writing(shared) as session:
        session.connection().exec_driver_sql("DROP TABLE run_events")
    problem = refused(api.post("/runs", json=body()), 503, "StoreUnavailable")
    assert "database" in problem.detail
    assert api.get("/runs").json()["runs"] == []


def test_an_unexpected_error_says_nothing_of_its_inside(api: TestClient, app: FastAPI) -> None:
    @app.get("/broken")
    def broken() -> None:
        raise ZeroDivisionError("secret")

    problem = refused(api.get("/broken"), 500, "InternalError")
    assert "secret" not in problem.detail


def test_the_documentation_names_every_error(api: TestClient) -> None:
    paths = api.get("/openapi.json").json()["paths"]
    for path, methods in paths.items():
        for method, operation in methods.items():
            answers = operation["responses"]
            for status in [s for s in answers if s >= "400"]:
                schema = answers[status]["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Problem"}, (path, method, status)
            assert "503" in answers
            assert ("404" in answers) == ("{" in path or path in COMPARISONS | {"/playground"}), (
                path,
                method,
            )
    for move in ("cancel", "pause", "resume", "retry"):
        assert "409" in paths[f"/runs/{{run_id}}/{move}"]["post"]["responses"]
    assert "409" in paths["/runs/{run_id}"]["delete"]["responses"]
