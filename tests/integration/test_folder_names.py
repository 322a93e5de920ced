"""A state folder may have any name that a file system allows."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import make_url

from meshtune.backend.archive.backup import back_up, restore
from meshtune.backend.commands.doctor import check_database
from meshtune.backend.settings import Settings, open_store
from meshtune.backend.training.artefacts import open_artefacts
from meshtune.db import runs, session
from meshtune.db.errors import StoreUnavailable
from meshtune.db.files import misread_file
from meshtune.db.session import file_of, open_engine, reading, upgrade, writing
from meshtune.engine.commands.doctor import Verdict
from meshtune.engine.records import RunStatus
from tests.support.builders import stored_run, tiny_config
from tests.support.workers import await_end, records, worker

NAMES = [
    "why?",
    "why?not=1&uri=true",
    "50%25 done",
    "100%",
    "%(here)s",
    "a#b",
    " two  spaces ",
    'quote\'s "and" `more`',
    "Größe 研究 🛰",
    "back\\slash",
    "line\nfeed\ttab",
    "file:lab",
    "sqlite:lab",
    "a::b",
    "user@host:5",
    "[x] *?",
    "[red]x\\[b",
    "~",
    "$HOME",
    "-rf",
    ":memory:",
    os.fsdecode(b"not \xff utf-8"),
]
NUMBERED = [f"name{number}" for number in range(len(NAMES))]  # as names of tests they would be odd


def lab(folder: Path) -> Settings:
    return Settings(state_dir=folder, database_url=None)


def with_a_run(settings: Settings) -> int:
    """A run that has ended, and its checkpoint."""
    store = open_store(settings)
    run_id = stored_run(store, tiny_config(rounds=2), rounds=2, status=RunStatus.COMPLETED)
    with reading(store) as opened:
        name = runs.get(opened, run_id).checkpoint
    store.dispose()
    assert name is not None
    open_artefacts(settings).keep(name, lambda path: path.write_bytes(b"state"))  # type: ignore[arg-type,return-value]
    return run_id


def runs_in(settings: Settings) -> int:
    store = open_store(settings)
    with reading(store) as opened:
        found = len(runs.listed(opened))
    store.dispose()
    return found


@pytest.mark.parametrize("name", NAMES, ids=NUMBERED)
@pytest.mark.parametrize("relative", [False, True], ids=["whole", "relative"])
def test_a_folder_keeps_its_own_runs_and_gives_them_to_a_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, *, relative: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    here = lab(Path(name) if relative else tmp_path / name)
    assert check_database(here).verdict is Verdict.GOOD
    run_id = with_a_run(here)
    assert back_up(here, Path(name) / "lab.zip").runs == 1
    there = lab(here.state_dir / name)
    restore(there, tmp_path / name / "lab.zip")
    restore(there, tmp_path / name / "lab.zip", force=True)
    assert runs_in(there) == runs_in(here) == 1
    assert len(open_artefacts(there).of_run(run_id)) == 1
    for folder in (here, there):
        assert (folder.state_dir / "meshtune.db").is_file()
    assert os.listdir(tmp_path) == [name]  # nothing beside it


def test_no_two_folders_share_a_database(tmp_path: Path) -> None:
    for name in NAMES:
        with_a_run(lab(tmp_path / name))
    assert [runs_in(lab(tmp_path / name)) for name in NAMES] == [1] * len(NAMES)


@pytest.mark.parametrize("name", ["why? 50%25 #1", "line\nfeed %(x)s"])
def test_a_worker_trains_in_such_a_folder(tmp_path: Path, name: str) -> None:
    here = lab(tmp_path / name)
    store = open_store(here)
    run_id = stored_run(store, tiny_config(rounds=2))
    with worker(here):
        assert await_end(store, run_id).status is RunStatus.COMPLETED
    assert len(records(store, run_id)) == 2
    assert len(open_artefacts(here).of_run(run_id)) == 2
    store.dispose()


@pytest.mark.parametrize("name", ["[red]x\\[b %(x)s", NAMES[-1]], ids=["marked up", "bytes"])
def test_the_commands_name_the_folder_as_it_is(tmp_path: Path, name: str) -> None:
    environment = {
        **os.environ,
        "MESHTUNE_STATE_DIR": str(tmp_path / name),
        "PYTHONIOENCODING": "utf-8:strict",  # as in most shells
        "COLUMNS": "400",
    }
    named = os.fsencode(tmp_path / name)
    for words in (["doctor"], ["backup", "lab.zip"], ["restore", "lab.zip"]):
        command = [sys.executable, "-m", "meshtune.backend.commands.main", *words]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, check=False
        )
        assert b"Traceback" not in done.stderr, done.stderr
        assert (named in done.stdout) is (words == ["doctor"]), done.stdout


def test_the_revisions_are_found_in_a_folder_with_a_percent_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / "50% of %(here)s"
    odd.mkdir()
    (odd / "migrations").symlink_to(Path(session.__file__).with_name("migrations"))
    monkeypatch.setattr(session, "__file__", str(odd / "session.py"))
    engine = open_engine(f"sqlite:///{tmp_path}/meshtune.db")
    upgrade(engine)
    engine.dispose()


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("sqlite:///lab/x.db", "lab/x.db"),
        ("sqlite:////lab/50%25/x.db", "/lab/50%/x.db"),
        ("sqlite:////lab/why%3F/x.db", "/lab/why?/x.db"),
        ("sqlite:///file:/lab/x.db?mode=ro&uri=true", "/lab/x.db"),
        ("sqlite:///file:///lab/a%253Fb/x.db?uri=1", "/lab/a?b/x.db"),
        ("sqlite:///file:lab/x.db", "file:lab/x.db"),
        ("sqlite:///file::memory:?uri=true", None),
        ("sqlite:///file:x?mode=memory&uri=true", None),
        ("sqlite://", None),
    ],
)
def test_an_address_keeps_the_rules_of_addresses(address: str, file: str | None) -> None:
    assert file_of(make_url(address)) == (None if file is None else Path(file))


def test_a_database_that_is_opened_for_reading_alone_says_so(tmp_path: Path) -> None:
    here = lab(tmp_path / "why?")
    with_a_run(here)
    quoted = str(here.database_file).replace("?", "%253F")
    address = f"sqlite:///file:{quoted}?mode=ro&uri=true"
    engine = open_engine(address)
    with reading(engine) as opened:
        assert len(runs.listed(opened)) == 1
    with pytest.raises(StoreUnavailable, match="read-only"), writing(engine) as opened:
        runs.create(opened, tiny_config())
    engine.dispose()
    assert back_up(Settings(database_url=address), tmp_path / "lab.zip").runs == 1
    assert sorted(os.listdir(tmp_path)) == ["lab.zip", "why?"]


def misplaced(folder: Path) -> Path:
    """What an earlier version left of a folder with such a name: all but the database in it."""
    file = misread_file(folder / "meshtune.db")
    assert file is not None
    file.parent.mkdir(parents=True, exist_ok=True)
    with_a_run(lab(folder.parent / "as it was"))
    (folder.parent / "as it was" / "meshtune.db").replace(file)
    (folder / "logs").mkdir(parents=True)
    return file


@pytest.mark.parametrize("name", ["why?", "50%25 done", "why?uri=true"])
def test_runs_that_an_earlier_version_put_elsewhere_are_found(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / name
    file = misplaced(folder)
    assert back_up(lab(folder), tmp_path / "lab.zip").runs == 1
    with caplog.at_level(logging.WARNING):
        assert runs_in(lab(folder)) == 1
    assert str(file) in caplog.text
    with_a_run(lab(folder))  # the folder is on its own from now on, and the old file is untouched
    assert (runs_in(lab(folder)), file.is_file()) == (2, True)
    assert sorted(path.name for path in folder.glob("meshtune.db*")) == ["meshtune.db"]


def test_the_runs_of_a_neighbour_are_not_taken_over_by_a_new_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with_a_run(lab(tmp_path / "50% done"))
    assert runs_in(lab(tmp_path / "50%25 done")) == 0
    assert "50% done" in caplog.text
    assert runs_in(lab(tmp_path / "50% done")) == 1
