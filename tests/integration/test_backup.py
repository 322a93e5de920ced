"""Backup and restore: what comes back is what was there, or nothing is touched."""

import json
import shutil
import threading
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st
from sqlalchemy import Engine, update
from typer.testing import CliRunner

from meshtune.backend.archive import backup as backups
from meshtune.backend.archive.backup import BackupRefused, back_up, restore
from meshtune.backend.commands.main import app
from meshtune.backend.settings import Settings, open_store
from meshtune.db import leases, rounds, runs
from meshtune.db.models import Run
from meshtune.db.session import reading, sqlite_module, writing
from meshtune.engine.records import RunStatus
from tests.support.builders import (
    LEASE_S,
    sample_provenance,
    sample_record,
    stored_run,
    tiny_config,
)
from tests.support.workers import records


def checkpoint(settings: Settings, name: str, content: bytes = b"state") -> None:
    settings.checkpoint_dir.mkdir(parents=True, exist_ok=True)
    (settings.checkpoint_dir / name).write_bytes(content * 1000)


def with_runs(settings: Settings, store: Engine) -> tuple[int, int]:
    """A run that ended and one that is under way, each with its checkpoint."""
    ended = stored_run(store, tiny_config(rounds=3), rounds=3, status=RunStatus.COMPLETED)
    going = stored_run(store, tiny_config(rounds=3), rounds=1, status=RunStatus.RUNNING)
    for run_id in (ended, going):
        with reading(store) as session:
            name = runs.get(session, run_id).checkpoint
        assert name is not None
        checkpoint(settings, name, name.encode())
    return ended, going


def empty(folder: Path) -> Settings:
    return Settings(state_dir=folder / "elsewhere")


def all_of(settings: Settings) -> dict[str, Any]:
    """Every checkpoint and every row."""
    found: dict[str, Any] = {
        path.name: path.read_bytes() for path in settings.checkpoint_dir.iterdir()
    }
    # By the driver of the store: two copies of SQLite in one process undo each other's locks.
    with closing(sqlite_module().connect(settings.state_dir / "meshtune.db")) as connection:
        tables = connection.execute("SELECT name, sql FROM sqlite_master").fetchall()
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
            found[name] = connection.execute(f"SELECT * FROM {name}").fetchall()
    return found | {"tables": sorted(tables)}


def test_what_comes_back_is_what_was_there(
    settings: Settings, store: Engine, tmp_path: Path
) -> None:
    ended, going = with_runs(settings, store)
    manifest = back_up(settings, tmp_path / "lab.zip")
    assert (manifest.runs, manifest.missing) == (2, ())
    other = empty(tmp_path)
    assert restore(other, tmp_path / "lab.zip") == (manifest, None)
    assert all_of(other) == all_of(settings)
    again = open_store(other)
    assert records(again, ended) == records(store, ended)
    with writing(again) as session:  # its worker did not come along: another goes on
        session.execute(update(Run).values(lease_until=1.0).where(Run.id == going))
        claim = leases.claim_next(session, "next", lease_s=LEASE_S)
    assert claim is not None
    assert (claim.run_id, claim.rounds_done) == (going, 1)
    again.dispose()


def test_a_backup_of_a_backup_is_equal(settings: Settings, store: Engine, tmp_path: Path) -> None:
    with_runs(settings, store)
    first = back_up(settings, tmp_path / "first.zip")
    other = empty(tmp_path)
    restore(other, tmp_path / "first.zip")
    assert back_up(other, tmp_path / "second.zip").files.keys() == first.files.keys()
    third = Settings(state_dir=tmp_path / "third")
    restore(third, tmp_path / "second.zip")
    assert all_of(third) == all_of(settings)


def test_a_backup_while_rounds_are_stored_is_one_moment(
    settings: Settings, store: Engine, tmp_path: Path
) -> None:
    """A worker stores rounds and drops old checkpoints all the time; no backup misses one."""
    count = 60
    run_id = stored_run(store, tiny_config(rounds=count))
    with writing(store) as session:
        claim = leases.claim_next(session, "builder", lease_s=LEASE_S)
        assert claim is not None
        leases.record_provenance(session, claim, sample_provenance())
    first, stop = threading.Event(), threading.Event()

    def train() -> None:
        for index in range(count):
            name = f"{run_id}-{index}-f{claim.fence}.safetensors"
            checkpoint(settings, name, name.encode())
            with writing(store) as session:
                record = sample_record(claim.config, index)
                leases.append_round(session, claim, record, name, lease_s=LEASE_S)
            old = f"{run_id}-{index - 2}-f{claim.fence}.safetensors"
            (settings.checkpoint_dir / old).unlink(missing_ok=True)
            first.set()
            if stop.wait(0.02):
                return

    worker = threading.Thread(target=train)
    worker.start()
    try:
        assert first.wait(10.0)
        made = [back_up(settings, tmp_path / f"{number}.zip") for number in range(3)]
    finally:
        stop.set()
        worker.join()
    for number, manifest in enumerate(made):
        assert manifest.missing == ()
        there = Settings(state_dir=tmp_path / f"there-{number}")
        restore(there, tmp_path / f"{number}.zip")
        again = open_store(there)
        with reading(again) as session:
            run = runs.get(session, run_id)
            assert len(rounds.listed(session, run_id)) == run.rounds_done
        kept = [path.name for path in there.checkpoint_dir.iterdir()]
        assert kept == [run.checkpoint]
        again.dispose()


def test_a_checkpoint_that_is_gone_is_told(
    settings: Settings, store: Engine, tmp_path: Path
) -> None:
    with_runs(settings, store)
    lost = next(settings.checkpoint_dir.iterdir())
    lost.unlink()
    assert back_up(settings, tmp_path / "lab.zip").missing == (lost.name,)


def test_nothing_is_replaced_unless_forced_and_then_it_is_put_aside(
    settings: Settings, store: Engine, tmp_path: Path
) -> None:
    with_runs(settings, store)
    back_up(settings, tmp_path / "lab.zip")
    stored_run(store)
    before = all_of(settings)
    with pytest.raises(BackupRefused, match="not empty"):
        restore(settings, tmp_path / "lab.zip")
    assert all_of(settings) == before
    store.dispose()
    _, aside = restore(settings, tmp_path / "lab.zip", force=True)
    assert all_of(settings) != before
    assert aside is not None
    for path in aside.iterdir():
        target = settings.state_dir / path.name
        shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
        shutil.move(path, target)
    assert all_of(settings) == before


def test_a_database_in_use_is_not_replaced(
    settings: Settings, store: Engine, tmp_path: Path
) -> None:
    back_up(settings, tmp_path / "lab.zip")
    with writing(store) as session:
        leases.worker_beat(session, "here/1/1", slots=1, lease_s=LEASE_S)
    with pytest.raises(BackupRefused, match="stop Meshtune"):
        restore(settings, tmp_path / "lab.zip", force=True)


def test_a_backup_of_a_newer_version_touches_nothing(
    settings: Settings, store: Engine, tmp_path: Path
) -> None:
    with store.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    back_up(settings, tmp_path / "lab.zip")
    other = empty(tmp_path)
    with pytest.raises(BackupRefused, match="newer Meshtune"):
        restore(other, tmp_path / "lab.zip")
    assert list(other.state_dir.iterdir()) == []


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    settings = Settings(state_dir=folder / "state")
    store = open_store(settings)
    with_runs(settings, store)
    store.dispose()
    back_up(settings, folder / "lab.zip")
    return folder / "lab.zip"


@given(place=st.floats(0.0, 0.999), flip=st.integers(1, 255))
@hypothesis_settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_backup_is_refused_or_changes_nothing_that_counts(
    good: Path, tmp_path_factory: pytest.TempPathFactory, place: float, flip: int
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    content = bytearray(good.read_bytes())
    content[int(place * len(content))] ^= flip
    (folder / "lab.zip").write_bytes(content)
    other = empty(folder)
    said = refusal(other, folder / "lab.zip")
    if said is not None:
        assert "\n" not in said
        assert not (other.state_dir / "meshtune.db").exists()
        return
    whole = Settings(state_dir=folder / "whole")
    restore(whole, good)
    assert all_of(other) == all_of(whole)


def refusal(settings: Settings, backup: Path) -> str | None:
    """Why it is not restored; None if it is."""
    try:
        restore(settings, backup)
    except BackupRefused as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    "name",
    ["../outside", "/etc/outside", "checkpoints/../../outside", "checkpoints/x.pkl", "other.db"],
)
def test_no_file_leaves_the_folder_of_a_restore(good: Path, tmp_path: Path, name: str) -> None:
    evil = repacked(good, tmp_path / "evil.zip", {name: b"x"})
    with pytest.raises(BackupRefused):
        restore(empty(tmp_path), evil)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "evil.zip"]
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("name", ["../../outside", "/etc/hosts", "http://10.0.0.1/x", "", "1-1-f1"])
def test_no_run_of_a_backup_points_outside_the_checkpoints(
    settings: Settings, store: Engine, good: Path, tmp_path: Path, name: str
) -> None:
    with_runs(settings, store)
    with writing(store) as session:
        session.execute(update(Run).values(checkpoint=name))
    with pytest.raises(BackupRefused, match="no name of a checkpoint"):
        back_up(settings, tmp_path / "lab.zip")
    store.dispose()  # the last to close moves all into one file
    database = (settings.state_dir / "meshtune.db").read_bytes()
    evil = repacked(good, tmp_path / "evil.zip", {"meshtune.db": database})
    with pytest.raises(BackupRefused, match="no name of a checkpoint"):
        restore(empty(tmp_path), evil)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_file_that_unpacks_to_more_than_it_says_is_refused(good: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(good) as pack:
        name = next(n for n in pack.namelist() if n.startswith("checkpoints/"))
        told = json.loads(pack.read("manifest.json"))
    bomb = repacked(good, tmp_path / "bomb.zip", {name: b"\0" * 50_000_000}, told)
    with pytest.raises(BackupRefused, match="not what its manifest says"):
        restore(empty(tmp_path), bomb)
    assert bomb.stat().st_size < 1_000_000


def repacked(
    good: Path, to: Path, more: dict[str, bytes], told: dict[str, object] | None = None
) -> Path:
    """A backup with other files in it, which its manifest names unless one is given."""
    with zipfile.ZipFile(good) as pack:
        files = {name: pack.read(name) for name in pack.namelist()}
    files |= more
    if told is None:
        told = json.loads(files["manifest.json"])
        digest = backups.hashlib.sha256
        listed = {
            n: {"size_bytes": len(c), "sha256": digest(c).hexdigest()} for n, c in more.items()
        }
        told["files"] = told["files"] | listed  # type: ignore[operator]
    files["manifest.json"] = json.dumps(told).encode()
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, content in files.items():
            pack.writestr(name, content)
    return to


def test_a_database_server_is_backed_up_with_its_own_tools(tmp_path: Path) -> None:
    url = "postgresql+psycopg://lab:secret@db.example/meshtune"
    with pytest.raises(BackupRefused) as refused:
        back_up(Settings(state_dir=tmp_path, database_url=url), tmp_path / "lab.zip")
    said = str(refused.value)
    assert "pg_dump --format=custom --file=meshtune.dump 'postgresql://lab@db.example" in said
    assert "secret" not in said


def test_the_commands_say_what_they_did(
    settings: Settings, store: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_runs(settings, store)
    lab = str(tmp_path / "lab.zip")
    monkeypatch.setenv("MESHTUNE_STATE_DIR", str(settings.state_dir))
    made = CliRunner().invoke(app, ["backup", lab])
    assert made.exit_code == 0, made.output
    assert "2 runs, 2 checkpoints" in made.output
    monkeypatch.setenv("MESHTUNE_STATE_DIR", str(tmp_path / "elsewhere"))
    back = CliRunner().invoke(app, ["restore", lab])
    assert back.exit_code == 0, back.output
    assert "2 runs, 2 checkpoints" in back.output
