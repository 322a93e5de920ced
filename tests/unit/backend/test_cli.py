"""The commands that need database or ports: refusals, exports, the doctor."""

import io
import json
import socket
import zipfile
from pathlib import Path
from typing import NamedTuple

import pandas
import pytest
from pyarrow.parquet import read_schema
from rich.console import Console
from sqlalchemy import Engine

from meshtune.backend.archive.tables import CSV_HEADER
from meshtune.backend.commands.console import write_whole
from meshtune.backend.commands.doctor import check_database, check_port
from meshtune.backend.commands.main import app
from meshtune.backend.commands.services import table_of
from meshtune.backend.settings import Settings
from meshtune.backend.training import supervisor as worker
from meshtune.db import rounds, runs
from meshtune.db.errors import StoreError
from meshtune.db.session import reading
from meshtune.engine.commands.console import EXIT_REFUSED, Refused, answer
from meshtune.engine.commands.doctor import Check, Verdict
from meshtune.engine.records import RoundRecord, RunStatus
from tests.support.builders import stored_run
from tests.support.bundles import kept_run


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], settings: Settings, monkeypatch: pytest.MonkeyPatch):
    """Run a command line in this process, over the state folder of the test."""
    monkeypatch.setenv("MESHTUNE_STATE_DIR", str(settings.state_dir))

    def run(*argv: str | Path | int) -> Said:
        with pytest.raises(SystemExit) as ended:
            answer(app, also=(StoreError,), argv=[str(word) for word in argv])
        code = ended.value.code
        return Said(code if isinstance(code, int) else 0, *capfd.readouterr())

    return run


def refused(said: Said, *parts: str) -> None:
    assert said.code == EXIT_REFUSED
    assert len(said.err.splitlines()) == 1
    assert "Traceback" not in said.err
    for part in parts:
        assert part in said.err


@pytest.fixture
def busy_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_up_refuses_a_dashboard_port_in_use(call, busy_port: int) -> None:
    refused(call("up", "--port", busy_port), f"port {busy_port} is in use", "--port")


def test_up_refuses_an_api_port_in_use(call, busy_port: int) -> None:
    said = call("up", "--port", busy_port + 1, "--api-port", busy_port)
    refused(said, f"port {busy_port} is in use", "--api-port")


def test_up_refuses_one_port_for_two(call) -> None:
    refused(call("up", "--port", 8890, "--api-port", 8890), "8890", "two different ports")


@pytest.mark.parametrize("port", ["0", "65536", "many"])
def test_up_refuses_what_is_no_port(call, port: str) -> None:
    said = call("up", "--port", port)
    assert said.code == EXIT_REFUSED
    assert "--port" in said.err


UP = ["up", "--port", "17431", "--api-port", "17432"]


@pytest.mark.parametrize("command", [["export", "1", "--format", "csv"], UP])
def test_a_database_that_cannot_be_written_is_refused(
    call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("MESHTUNE_STATE_DIR", str(tmp_path / "file"))
    refused(call(*command), "MESHTUNE_STATE_DIR")


@pytest.mark.parametrize("command", [["export", "1", "--format", "csv"], ["up"], ["worker"]])
def test_a_wrong_setting_is_named(
    call, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("MESHTUNE_WORKER_SLOTS", "many")
    refused(call(*command), "MESHTUNE_WORKER_SLOTS", "many")


def test_a_run_that_is_not_there_is_refused(call) -> None:
    refused(call("export", 7, "--format", "csv"), "no run 7")


def test_an_unknown_format_is_refused(call) -> None:
    said = call("export", 7, "--format", "xls")
    assert said.code == EXIT_REFUSED
    assert "csv" in said.err
    assert "jsonl" in said.err


def test_exported_lines_are_the_config_and_the_stored_rounds(
    call, store: Engine, tmp_path: Path
) -> None:
    run_id = stored_run(store, rounds=2, status=RunStatus.COMPLETED)
    out = tmp_path / "run.jsonl"
    assert call("export", run_id, "--format", "jsonl", "--out", out).code == 0
    about, *lines = out.read_text(encoding="utf-8").splitlines()
    with reading(store) as session:
        run = runs.get(session, run_id)
        stored = rounds.listed(session, run_id)
    assert json.loads(about)["config"] == run.config
    assert json.loads(about)["provenance"] == run.provenance
    assert [RoundRecord.model_validate_json(line) for line in lines] == stored


def test_without_a_file_the_export_goes_to_the_screen(call, store: Engine) -> None:
    run_id = stored_run(store, rounds=1, status=RunStatus.COMPLETED)
    said = call("export", run_id, "--format", "csv")
    header, *rows = said.out.splitlines()
    assert "accuracy" in header.split(",")
    assert len(rows) == 4  # two devices on two tasks


def test_a_run_goes_into_a_bundle_and_comes_out_as_another_run(
    call, store: Engine, settings: Settings, tmp_path: Path
) -> None:
    run_id = kept_run(store, settings)
    for out in (tmp_path / "run.zip", tmp_path / "run"):
        assert call("export", run_id, "--out", out).code == 0
        said = call("import", out)
        assert said.code == 0
        assert said.out.endswith("tiny, completed, 2 of 2 rounds\n")
    assert zipfile.is_zipfile(tmp_path / "run.zip")
    assert (tmp_path / "run" / "manifest.json").is_file()
    with reading(store) as session:
        assert len(runs.listed(session)) == 3


def test_a_bundle_needs_a_place(call, store: Engine, settings: Settings, tmp_path: Path) -> None:
    run_id = kept_run(store, settings)
    refused(call("export", run_id), "--out FOLDER", "FILE.zip", "--format csv")
    refused(call("export", run_id, "--format", "parquet"), "--out")
    refused(call("export", run_id, "--out", tmp_path / "none" / "run.zip"), "none")
    (tmp_path / "precious").write_text("x", encoding="utf-8")
    refused(call("export", run_id, "--out", tmp_path / "precious"), "exists")
    refused(call("export", 77, "--out", tmp_path / "run"), "no run 77")
    assert not (tmp_path / "run").exists()


def test_what_is_no_bundle_is_refused(call, tmp_path: Path) -> None:
    refused(call("import", tmp_path / "none.zip"), "there is no", "none.zip")
    (tmp_path / "text.zip").write_text("hello", encoding="utf-8")
    refused(call("import", tmp_path / "text.zip"), "text.zip is no zip file")
    (tmp_path / "empty").mkdir()
    refused(call("import", tmp_path / "empty"), "no manifest.json")


def test_a_table_in_parquet_holds_what_the_csv_holds(
    call, store: Engine, settings: Settings, tmp_path: Path
) -> None:
    run_id = kept_run(store, settings)
    for name in ("csv", "parquet"):
        assert call("export", run_id, "--format", name, "--out", tmp_path / name).code == 0
    found = pandas.read_parquet(tmp_path / "parquet")
    told = pandas.read_csv(tmp_path / "csv")
    assert list(told.columns) == list(CSV_HEADER)
    assert told.columns[-1] == "about"
    first, *others = told.pop("about")
    assert pandas.isna(others).all()
    assert found.to_csv(index=False) == told.to_csv(index=False)
    inside = read_schema(tmp_path / "parquet").metadata[b"meshtune"]
    assert json.loads(first) == json.loads(inside)
    assert json.loads(first)["config_sha256"]
    assert len(found) == 8  # two rounds of two devices on two tasks


def test_a_run_without_rounds_cannot_be_verified(call, store: Engine) -> None:
    refused(call("verify", stored_run(store)), "no finished round")
    refused(call("verify", 77), "no run 77")


def test_a_worker_takes_as_many_slots_as_it_is_told(call, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []

    def work(settings: Settings) -> int:
        given.append(settings.worker_slots)
        return 0

    monkeypatch.setattr(worker, "main", work)
    monkeypatch.setenv("MESHTUNE_WORKER_SLOTS", "2")
    assert call("worker", "--slots", 3).code == 0
    assert call("worker").code == 0
    assert given == [3, 2]
    assert call("worker", "--slots", 0).code == EXIT_REFUSED


def test_an_export_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    out = tmp_path / "run.csv"
    out.write_text("precious\n", encoding="utf-8")

    def lines():
        yield "half\n"
        raise OSError(28, "No space left on device")

    with pytest.raises(Refused, match="No space left"):
        write_whole(out, lines())
    assert out.read_text(encoding="utf-8") == "precious\n"
    assert list(tmp_path.iterdir()) == [out]


def test_an_export_to_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="choose another --out"):
        write_whole(tmp_path / "none" / "run.csv", ["a"])


def test_a_port_in_use_is_a_note_and_a_free_one_is_good(busy_port: int) -> None:
    check = check_port(busy_port)
    assert check.verdict is Verdict.NOTE
    assert "--port" in check.advice


def test_the_doctor_writes_to_the_database(settings: Settings, tmp_path: Path) -> None:
    assert check_database(settings).verdict is Verdict.GOOD
    (tmp_path / "file").write_text("", encoding="utf-8")
    check = check_database(Settings(state_dir=tmp_path / "file"))
    assert check.verdict is Verdict.BAD
    assert "MESHTUNE_STATE_DIR" in check.advice


def test_the_doctor_never_shows_a_password() -> None:
    url = "postgresql://me:secret@127.0.0.1:1/none"
    check = check_database(Settings(database_url=url))
    assert check.verdict is Verdict.BAD
    assert "secret" not in check.found


def test_checks_are_shown_as_they_are() -> None:
    screen = io.StringIO()
    Console(width=200, file=screen).print(
        table_of([Check("Port", Verdict.BAD, "[taken]", "stop it")])
    )
    assert all(part in screen.getvalue() for part in ["fail", "Port", "[taken]", "stop it"])
