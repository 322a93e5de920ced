"""A run that nobody can see in a list is refused at every door; one that is there is shown."""

import tomllib
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomli_w
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from meshtune.backend.app import create_app
from meshtune.backend.archive.bundle import BundleError, export_zip
from meshtune.backend.archive.bundle_import import import_run
from meshtune.backend.replies.sweeps import checked_cells
from meshtune.backend.schemas.runs import RunDetail
from meshtune.backend.settings import Settings
from meshtune.db import steering
from meshtune.db.session import writing
from meshtune.engine.commands.app import app
from meshtune.engine.commands.console import EXIT_REFUSED, answer
from meshtune.engine.config import name_problem
from meshtune.engine.sweep import SweepRefused, SweepSpec
from tests.support.builders import stored_run, tiny_config
from tests.support.bundles import contents, kept_run, with_manifest, zipped

UNSEEN = [
    " ",
    "\u00a0\u2003",  # blanks of other widths
    "\u200b\u200d\ufeff",  # zero width
    "\u202e\u2066",  # directions of writing
    "\u00ad",  # a hyphen that shows at the end of a line only
    "\u3164",  # a letter that draws nothing
    "\u2800",  # Braille without a dot
    "\u034f\ufe0f",  # marks without a letter
    "\U000e0041",  # tags
]
SEEN = [
    "a",
    "\u200ba",
    ".",
    "\u732b",
    "\u0661",
    "e\u0301",
    "\N{GRINNING FACE}",
    "\U0001fae8",
    "\ue000",
]
SENTENCE = "invisible characters only"


@pytest.fixture
def api(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize("name", UNSEEN, ids=ascii)
def test_a_name_that_nobody_sees_is_refused_at_every_door(
    api: TestClient, settings: Settings, tmp_path: Path, name: str
) -> None:
    store: Engine = api.app.state.engine  # type: ignore[attr-defined]
    run_id = kept_run(store, settings)
    config = tiny_config(name=name, seed=9).model_dump(mode="json")
    for method, path, body in (
        ("POST", "/runs", {"config": config}),
        ("POST", "/runs", {"config": config, "cloned_from": run_id}),
        ("PATCH", f"/runs/{run_id}", {"name": name}),
        ("POST", "/sweeps", {"name": name, "base": config | {"name": "visible"}}),
    ):
        answer = api.request(method, path, json=body)
        assert answer.status_code == 422, (path, answer.text)
        assert answer.json()["context"]["fields"][0]["field"] == "name"
        assert SENTENCE in answer.json()["detail"]
    # A draft may hold what is not valid yet; its plan says so, and no run comes of it.
    assert api.post("/drafts", json={"tree": config}).status_code == 201
    planned = api.post("/plan", json=config).json()
    assert planned["problems"][0]["field"] == "name"
    export_zip(store, settings, run_id, tmp_path / "good.zip")
    files = with_manifest(contents(tmp_path / "good.zip"), lambda m: m.update(name=name))
    with pytest.raises(BundleError, match=f"name: holds {SENTENCE}"):
        import_run(zipped(files, tmp_path / "bad.zip"), store, settings)
    with writing(store) as session, pytest.raises(ValueError, match=SENTENCE):
        steering.rename(session, run_id, name)
    with pytest.raises(SweepRefused, match=SENTENCE):
        checked_cells(SweepSpec(name=name))
    assert [run["name"] for run in api.get("/runs").json()["runs"]] == ["tiny"]


def test_the_command_line_refuses_a_name_that_nobody_sees(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "unseen.toml"
    file.write_text(tomli_w.dumps(tiny_config(name="\u200b").model_dump(mode="json")), "utf-8")
    assert tomllib.loads(file.read_text("utf-8"))["name"] == "\u200b"
    for argv in (["run", str(file)], ["run", "quick", "--set", "name=\u200b"]):
        with pytest.raises(SystemExit) as end:
            answer(app, argv=argv)
        assert end.value.code == EXIT_REFUSED
        assert SENTENCE in capsys.readouterr().err


def test_a_run_of_older_times_is_shown_whatever_its_name(api: TestClient) -> None:
    run_id = stored_run(api.app.state.engine, tiny_config(name="\u200b"))  # type: ignore[attr-defined]
    told = RunDetail.model_validate_json(api.get(f"/runs/{run_id}").content)
    assert told.name == told.config.name == "\u200b"


@pytest.mark.parametrize("name", SEEN, ids=ascii)
def test_a_name_with_something_to_see_is_taken(name: str) -> None:
    assert name_problem(name) is None


def test_no_letter_or_digit_of_any_script_is_taken_for_invisible() -> None:
    drawn = [
        chr(code)
        for code in range(0x110000)
        if unicodedata.category(chr(code)) in {"Lu", "Ll", "Lt", "Nd", "Nl", "No", "Sc", "Sm"}
    ]
    assert not [c for c in drawn if name_problem(c)]
