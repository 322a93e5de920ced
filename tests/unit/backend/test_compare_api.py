"""Comparing runs over HTTP: candidates, studies, groups and their tests."""

import csv
import io
import json
import sys
from collections.abc import Iterator

import pandas
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pyarrow import parquet
from sqlalchemy import Engine

from meshtune.backend.app import create_app
from meshtune.backend.compare import report
from meshtune.backend.schemas.compare import Candidates, Paired, Study
from meshtune.backend.services import announced
from meshtune.backend.settings import Settings
from meshtune.engine.records import RunStatus
from tests.support.builders import stored_run, tiny_config
from tests.support.comparison import arm_config, complete


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


@pytest.fixture
def arms(shared: Engine) -> dict[str, list[int]]:
    """Two methods, three seeds each, eight rounds."""
    return {
        kind: [complete(shared, arm_config(kind, seed, 8)) for seed in range(3)]
        for kind in ("lora_gossip", "so_lora")
    }


def query(numbers: list[int]) -> str:
    return "&".join(f"run={number}" for number in numbers)


def test_runs_that_differ_in_seed_and_name_form_a_group(
    api: TestClient, arms: dict[str, list[int]]
) -> None:
    found = Candidates.model_validate_json(api.get("/compare/candidates").content).runs
    group = {each.id: each.group for each in found}
    assert [each.id for each in found] == sorted(group, reverse=True)
    assert len({group[number] for number in arms["so_lora"]}) == 1
    assert len(set(group.values())) == 2
    some = api.get("/compare/candidates?method=so_lora&limit=2").json()["runs"]
    assert [each["id"] for each in some] == sorted(arms["so_lora"], reverse=True)[:2]


def test_a_study_has_everything_to_draw_in_the_order_asked(
    api: TestClient, arms: dict[str, list[int]]
) -> None:
    asked = [*arms["so_lora"][::-1], arms["lora_gossip"][0]]
    answer = api.get(f"/compare/study?{query(asked)}&points=5")
    found = Study.model_validate_json(answer.content).runs
    assert [each.run.id for each in found] == asked
    first = found[0]
    assert first.config["method"]["kind"] == "so_lora"
    assert first.provenance is not None
    assert len(first.curves.round) <= 5
    assert set(first.curves.tasks) == {"reading", "addition", "expression", "ending"}
    for values in (*first.curves.values.values(), *first.curves.costs.values()):
        assert len(values) == len(first.curves.round)


def test_an_unchanged_study_is_not_sent_again(api: TestClient, arms: dict[str, list[int]]) -> None:
    path = f"/compare/study?{query(arms['so_lora'])}"
    tag = api.get(path).headers["etag"]
    again = api.get(path, headers={"if-none-match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert api.patch(f"/runs/{arms['so_lora'][0]}", json={"name": "other"}).is_success
    renamed = api.get(path, headers={"if-none-match": tag})
    assert renamed.status_code == 200
    assert renamed.headers["etag"] != tag
    assert Study.model_validate_json(renamed.content).runs[0].run.name == "other"


def test_a_running_run_is_read_anew(api: TestClient, shared: Engine) -> None:
    run_id = stored_run(shared, tiny_config(rounds=9), rounds=2, status=RunStatus.RUNNING)
    (found,) = Study.model_validate_json(api.get(f"/compare/study?run={run_id}").content).runs
    assert found.curves.round == [1, 2]


def test_groups_are_tested_against_that_of_the_reference(
    api: TestClient, arms: dict[str, list[int]]
) -> None:
    asked = [*arms["so_lora"], *arms["lora_gossip"]]
    reference = arms["lora_gossip"][1]
    answer = api.get(f"/compare/paired?{query(asked)}&reference={reference}")
    found = Paired.model_validate_json(answer.content)
    by_group = {each.group: each for each in found.groups}
    assert by_group[found.reference].runs == arms["lora_gossip"]
    bits = by_group[found.reference].estimates["sent_bits"]
    assert (bits.mean, bits.half_width, bits.count) == (8 * 21_000_000, 0.0, 3)
    tests = {each.metric: each for each in found.tests}
    assert len(tests) == len(found.tests) == 5
    accuracy = tests["accuracy_all"]
    assert accuracy.seeds == [0, 1, 2]
    assert accuracy.p_t is not None
    assert accuracy.p_t == accuracy.p_t_holm  # one comparison
    assert accuracy.difference is not None
    assert accuracy.difference.count == 3
    assert tests["sent_bits"].why_not is not None  # the same for every seed


def test_only_completed_runs_count(
    api: TestClient, arms: dict[str, list[int]], shared: Engine
) -> None:
    config = arm_config("so_lora", 7, 8)
    diverged = complete(shared, config, rounds=4, status=RunStatus.DIVERGED)
    asked = [*arms["so_lora"], diverged]
    found = Paired.model_validate_json(api.get(f"/compare/paired?{query(asked)}").content)
    (group,) = found.groups
    assert diverged in group.runs
    assert group.seeds == [0, 1, 2]
    assert group.estimates["accuracy_all"].count == 3
    assert found.tests == []


@pytest.mark.parametrize("path", ["study", "paired", "table", "report"])
def test_what_cannot_be_compared_is_refused(api: TestClient, path: str) -> None:
    assert api.get(f"/compare/{path}").status_code == 422
    assert api.get(f"/compare/{path}?run=0").status_code == 422
    assert api.get(f"/compare/{path}?run=77").json()["error"] == "RunNotFound"


def test_the_table_has_every_round_of_every_run(
    api: TestClient, arms: dict[str, list[int]]
) -> None:
    asked = [arms["so_lora"][0], arms["lora_gossip"][1]]
    answer = api.get(f"/compare/table?{query(asked)}")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    told = [json.loads(row["about"]) for row in rows if row["about"]]
    assert [each["seed"] for each in told] == [0, 1]
    assert told[0]["provenance"]["meshtune"]
    plain = pandas.read_csv(io.StringIO(answer.text))
    assert list(plain.columns) == answer.text.splitlines()[0].split(",") == list(rows[0])
    assert list(plain["about"].notna()) == ([True] + [False] * 7) * 2
    assert [(row["run_id"], row["round"]) for row in rows] == [
        (str(number), str(index)) for number in asked for index in range(1, 9)
    ]
    assert float(rows[7]["total_bits"]) == 8 * 5_600_000
    assert 0 <= float(rows[7]["own_reading"]) <= 1
    assert rows[0]["group"] != rows[8]["group"]


def test_parquet_is_the_same_table(api: TestClient, arms: dict[str, list[int]]) -> None:
    asked = [arms["so_lora"][0], arms["lora_gossip"][1]]
    text = api.get(f"/compare/table?{query(asked)}").text
    answer = api.get(f"/compare/table?{query(asked)}&format=parquet")
    read = parquet.read_table(io.BytesIO(answer.content))
    wanted = list(csv.DictReader(io.StringIO(text)))
    assert read.num_rows == len(wanted) == 16
    assert [*read.column_names, "about"] == list(wanted[0])
    assert read.column("total_bits").to_pylist() == [int(row["total_bits"]) for row in wanted]
    assert read.column("forgetting").to_pylist() == [float(row["forgetting"]) for row in wanted]
    told = json.loads(read.schema.metadata[b"meshtune"])
    assert told["runs"] == [json.loads(row["about"]) for row in wanted if row["about"]]


def test_the_report_is_one_page_with_everything_in_it(
    api: TestClient, arms: dict[str, list[int]]
) -> None:
    asked = [*arms["so_lora"], *arms["lora_gossip"]]
    reference = arms["lora_gossip"][0]
    answer = api.get(f"/compare/report?{query(asked)}&reference={reference}&axis=total_bits")
    assert answer.headers["content-type"].startswith("text/html")
    page = answer.text
    assert "plotly.js v" in page
    assert 'src="' not in page.split("<script>")[0]
    assert "Plain LoRA gossip (n = 3)" in page
    assert page.count("<summary>Config of ") == 6
    assert "Higher at the 5 % level." in page


def test_a_report_that_fails_says_so(
    api: TestClient, arms: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", "raise SystemExit('out of ink')"]
    monkeypatch.setattr(report, "drawing_command", lambda: command)
    answer = api.get(f"/compare/report?run={arms['so_lora'][0]}")
    assert (answer.status_code, answer.json()["error"]) == (503, "ReportFailed")
    assert "out of ink" in answer.json()["detail"]


def test_a_report_without_anybody_to_draw_it_says_so(
    api: TestClient, arms: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announced, "GROUP", "meshtune.nobody")
    answer = api.get(f"/compare/report?run={arms['so_lora'][0]}")
    assert (answer.status_code, answer.json()["error"]) == (503, "ReportFailed")
    assert "install Meshtune again" in answer.json()["detail"]
