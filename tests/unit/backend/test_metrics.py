"""What watches the API tells the truth, and tells no secret."""

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given, strategies as st
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine

from meshtune.backend.app import create_app
from meshtune.backend.services import logs
from meshtune.backend.services.logs import MASK, JsonFormatter, PlainFormatter, masked
from meshtune.backend.settings import LogForm, Settings
from meshtune.db import leases, tokens
from meshtune.db.scopes import Scope
from meshtune.db.session import writing
from meshtune.engine.records import RunStatus
from tests.support.builders import stored_run

SECRET = "mt_" + "Ab3-_" * 8 + "xyz"


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    made = create_app(settings)

    @made.get("/broken")
    def broken() -> None:
        raise ZeroDivisionError(f"Bearer {SECRET}")

    return made


@pytest.fixture
def api(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app) as client:
        yield client


@pytest.fixture
def kept(api: TestClient) -> Engine:
    assert isinstance(api.app, FastAPI)
    engine: Engine = api.app.state.engine
    return engine


def numbers(api: TestClient) -> dict[tuple[str, ...], float]:
    """Every sample, by its name and the values of its labels."""
    said = api.get("/metrics")
    assert said.status_code == 200
    assert said.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(said.text)
        for sample in family.samples
    }


def test_queue_workers_and_rounds_are_those_of_the_store(api: TestClient, kept: Engine) -> None:
    for _ in range(3):
        stored_run(kept)
    stored_run(kept, rounds=2, status=RunStatus.COMPLETED)
    with writing(kept) as session:
        leases.worker_beat(session, "w", slots=1, lease_s=20.0)
    told = numbers(api)
    assert told["meshtune_queue_length",] == told["meshtune_runs", "queued"] == 3
    assert told["meshtune_runs", "completed"] == 1
    assert told["meshtune_runs", "running"] == 0
    assert told["meshtune_workers",] == told["meshtune_store_up",] == 1
    assert told["meshtune_rounds_stored_total",] == 2
    assert [name for name in told if name[0] == "meshtune_build_info"]


def test_the_count_of_rounds_never_falls(api: TestClient, kept: Engine) -> None:
    stored_run(kept, rounds=2, status=RunStatus.COMPLETED)
    assert numbers(api)["meshtune_rounds_stored_total",] == 2
    with writing(kept) as session:
        for table in ("rounds", "run_events", "runs"):
            session.connection().exec_driver_sql(f"DELETE FROM {table}")
    assert numbers(api)["meshtune_rounds_stored_total",] == 2
    stored_run(kept, rounds=1, status=RunStatus.RUNNING)
    assert numbers(api)["meshtune_rounds_stored_total",] == 3


def test_requests_are_counted_by_route_and_not_by_address(api: TestClient) -> None:
    for run in range(1, 6):
        api.get(f"/runs/{run}?token=x")
    for path in ("/a", "/b", "/c"):
        api.get(path)
    api.get("/broken")
    api.request("BREW", "/runs")
    told = numbers(api)
    assert told["meshtune_requests_total", "GET", "/runs/{run_id}", "404"] == 5
    assert told["meshtune_request_seconds_count", "GET", "/runs/{run_id}"] == 5
    assert told["meshtune_requests_total", "GET", "none", "404"] == 3
    assert told["meshtune_requests_total", "GET", "/broken", "500"] == 1
    assert not [name for name in told if "BREW" in name or "/a" in name]


def test_every_statement_of_the_store_is_timed(api: TestClient) -> None:
    before = numbers(api)["meshtune_store_seconds_count",]
    api.get("/runs")
    assert numbers(api)["meshtune_store_seconds_count",] > before


def test_numbers_are_told_also_while_the_database_is_away(api: TestClient, kept: Engine) -> None:
    with writing(kept) as session:
        session.connection().exec_driver_sql("DROP TABLE workers")
    assert numbers(api)["meshtune_store_up",] == 0


def test_two_apps_in_one_process_count_apart(api: TestClient, settings: Settings) -> None:
    with TestClient(create_app(settings)) as other:
        other.get("/runs")
        assert ("meshtune_requests_total", "GET", "/runs", "200") in numbers(other)
    assert ("meshtune_requests_total", "GET", "/runs", "200") not in numbers(api)


# Logs


def lines_of(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    form = JsonFormatter()
    return [
        json.loads(form.format(record))
        for record in caplog.records
        if record.name == "meshtune.backend.requests"
    ]


def test_a_request_leaves_one_line_without_query_body_or_header(
    api: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    headers = {"authorization": f"Bearer {SECRET}", "x-request-id": "abc-1", "cookie": "c=hidden"}
    said = api.post("/plan?key=hidden", json={"name": "hidden"}, headers=headers)
    assert said.headers["x-request-id"] == "abc-1"
    (line,) = lines_of(caplog)
    assert (line["method"], line["path"], line["status"]) == ("POST", "/plan", said.status_code)
    assert line["request_id"] == "abc-1"
    assert line["token"] is None
    assert line["ms"] >= 0
    assert "hidden" not in str(line)
    assert SECRET not in caplog.text


def test_the_line_names_the_token_of_the_caller(
    api: TestClient, kept: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with writing(kept) as session:
        secret = tokens.create(session, "nightly", Scope.READ)
    api.get("/runs", headers={"authorization": f"Bearer {secret}"})
    assert lines_of(caplog)[-1]["token"] == "nightly"
    assert secret not in caplog.text


def test_an_unexpected_error_is_logged_with_traceback_and_without_its_secret(
    api: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    said = api.get("/broken")
    assert said.status_code == 500
    failed = next(line for line in lines_of(caplog) if line["level"] == "error")
    assert failed["request_id"] == said.headers["x-request-id"]
    assert "ZeroDivisionError" in failed["traceback"]
    assert SECRET not in json.dumps(failed)


@pytest.mark.parametrize("given_id", ["a b", "x" * 65, "é", ""])
def test_a_request_id_that_could_forge_lines_is_replaced(api: TestClient, given_id: str) -> None:
    said = api.get("/health/live", headers={"x-request-id": given_id.encode()})
    assert said.headers["x-request-id"] != given_id
    assert len(said.headers["x-request-id"]) == 16


SPOTS = [
    f"authorization: Bearer {SECRET}",
    f"got {SECRET}!",
    f"https://host/x?token={SECRET}&y=1",
    f"postgresql://me:{SECRET}@host/name",
    f"password={SECRET}",
    f"Authorization: bearer  {SECRET}",
]


@given(st.sampled_from(SPOTS), st.text(max_size=20), st.text(max_size=20))
def test_secrets_are_masked_wherever_they_stand(spot: str, before: str, after: str) -> None:
    shown = masked(f"{before} {spot} {after}")
    assert SECRET not in shown
    assert MASK in shown


@pytest.mark.parametrize("formatter", [PlainFormatter(), JsonFormatter()])
def test_tracebacks_and_arguments_are_masked_too(formatter: logging.Formatter) -> None:
    try:
        int(SECRET)
    except ValueError:
        error = sys.exc_info()
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "told %s", (SECRET,), error)
    text = formatter.format(record)
    assert "ValueError" in text
    assert SECRET not in text


@given(st.text(max_size=40))
def test_what_a_caller_writes_cannot_look_like_another_line(written: str) -> None:
    record = logging.LogRecord("x", logging.INFO, "f", 1, "path %s", (written,), None)
    for formatter in (PlainFormatter(), JsonFormatter()):
        assert not set("\n\r\x1b\x85") & set(formatter.format(record))


@pytest.mark.parametrize("form", LogForm)
def test_logs_of_every_library_take_the_chosen_form(
    form: LogForm, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        logs.set_up(form)
        logging.getLogger("some.library").warning("hello")
        said = capsys.readouterr().err.strip()
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    assert "hello" in said
    if form is LogForm.JSON:
        assert json.loads(said)["message"] == "hello"
