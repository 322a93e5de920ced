"""Opening, upgrading and sharing the database."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from meshtune.db import rounds, runs
from meshtune.db.errors import StoreUnavailable
from meshtune.db.models import Base
from meshtune.db.session import open_engine, reading, sqlite_module, upgrade, writing
from meshtune.engine.config import config_hash
from tests.support.builders import sample_record, stored_run, tiny_config


def file_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'meshtune.db'}"


def test_the_migrations_give_the_tables_of_the_models(store: Engine) -> None:
    with store.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_upgrading_twice_changes_nothing(store: Engine) -> None:
    run_id = stored_run(store)
    upgrade(store)
    with reading(store) as session:
        assert runs.get(session, run_id).id == run_id


def test_a_database_of_a_newer_version_is_refused(store: Engine) -> None:
    with writing(store) as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreUnavailable, match="newer Meshtune"):
        upgrade(store)


def test_rounds_of_the_first_version_are_read_by_this_one(tmp_path: Path) -> None:
    engine = open_engine(file_url(tmp_path))
    upgrade(engine, "0001")
    config = tiny_config()
    newer = {"merges", "receive_j", "compute_j", "round_s", "layers", "routes"}
    old = sample_record(config, 0).model_dump(mode="json", exclude=newer)
    for device in old["devices"]:
        for name in ("cluster", "receive_j", "compute_s", "compute_j", "present"):
            del device[name]
    columns = {k: json.dumps(v) if isinstance(v, list | dict) else v for k, v in old.items()}
    columns |= {"run_id": 1, "fence": 1}
    # A connection of its own: without foreign keys, so that the round needs no run.
    with closing(sqlite_module().connect(tmp_path / "meshtune.db")) as connection, connection:
        places = ", ".join(f":{name}" for name in columns)
        connection.execute(f"INSERT INTO rounds ({', '.join(columns)}) VALUES ({places})", columns)
    upgrade(engine)
    with reading(engine) as session:
        (record,) = rounds.listed(session, 1)
    assert record == sample_record(config, 0)
    engine.dispose()


REVISIONS = sorted(
    script.revision
    for script in ScriptDirectory(str(Path(runs.__file__).with_name("migrations"))).walk_revisions()
)
FIRST_STATUSES = ("queued", "running", "completed", "diverged", "cancelled", "failed")


def old_rows(status: str, run_id: int) -> dict[str, dict[str, Any]]:
    """A run with a round and an event; a version takes of it the columns that it has."""
    config = tiny_config()
    record = sample_record(config, 0).model_dump(mode="json")
    running, ended = status == "running", status not in ("queued", "running")
    run = {
        "id": run_id,
        "name": "old",
        "method": config.method.kind,
        "seed": config.seed,
        "devices": config.fleet.devices,
        "rounds_total": config.rounds,
        "config": config.model_dump(mode="json"),
        "config_sha256": config_hash(config),
        "status": status,
        "wanted": "run",
        "created_at": 1.5e9,
        "started_at": 1.5e9,
        "finished_at": 1.6e9 if ended else None,
        "priority": 0,
        "not_before": 0.0,
        "owner": "here/1/1" if running else None,
        "fence": 1,
        "lease_until": 1.0 if running else None,
        "attempt": 0,
        "rounds_done": 1,
        "checkpoint": f"{run_id}-0-f1.safetensors",
        "progress": 0.0,
        "sent_bits": record["sent_bits"],
        "airtime_s": record["airtime_s"],
        "energy_j": record["energy_j"],
    }
    event = {"id": run_id, "run_id": run_id, "at": 1.5e9, "kind": "created", "actor": "person"}
    return {
        "runs": run,
        "rounds": {"run_id": run_id, "fence": 1} | record,
        "run_events": event | {"fence": 0},
    }


def insert_old(folder: Path, table: str, row: dict[str, Any]) -> None:
    """As the version that wrote it would have, without the models of this one.

    By the driver of the store: two copies of SQLite in one process undo each other's locks.
    """
    with closing(sqlite_module().connect(folder / "meshtune.db")) as connection, connection:
        known = {column[1] for column in connection.execute(f"PRAGMA table_info({table})")}
        given = {
            name: json.dumps(value) if isinstance(value, list | dict) else value
            for name, value in row.items()
            if name in known
        }
        places = ", ".join(f":{name}" for name in given)
        connection.execute(f"INSERT INTO {table} ({', '.join(given)}) VALUES ({places})", given)


@pytest.mark.parametrize("revision", REVISIONS)
def test_whatever_a_released_version_stored_is_there_after_the_upgrade(
    tmp_path: Path, revision: str
) -> None:
    engine = open_engine(file_url(tmp_path))
    upgrade(engine, revision)
    for run_id, status in enumerate(FIRST_STATUSES, start=1):
        for table, row in old_rows(status, run_id).items():
            insert_old(tmp_path, table, row)
    upgrade(engine)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
    with reading(engine) as session:
        for run_id, status in enumerate(FIRST_STATUSES, start=1):
            run = runs.get(session, run_id)
            assert (run.status, run.rounds_done) == (status, 1)
            assert runs.config_of(run) == tiny_config()
            assert rounds.listed(session, run_id) == [sample_record(tiny_config(), 0)]
            assert [event.kind for event in runs.events(session, run_id)] == ["created"]
    with writing(engine) as session:  # numbers of runs are never given twice, also afterwards
        assert runs.create(session, tiny_config()).id == len(FIRST_STATUSES) + 1
    engine.dispose()


def test_a_version_upgrades_one_step_at_a_time_to_the_same_tables(tmp_path: Path) -> None:
    """Whichever versions came between."""

    def tables(folder: Path, revisions: list[str]) -> set[str]:
        engine = open_engine(file_url(folder))
        for revision in revisions:
            upgrade(engine, revision)
        with engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT sql FROM sqlite_master").scalars().all()
        engine.dispose()
        return {str(sql) for sql in found}

    assert tables(tmp_path / "steps", REVISIONS) == tables(tmp_path / "leap", ["head"])


UPGRADE_AND_CREATE = """
import sys
from meshtune.db import runs
from meshtune.db.session import open_engine, upgrade, writing
from meshtune.engine.config import RunConfig
engine = open_engine(sys.argv[1])
upgrade(engine)
with writing(engine) as session:
    runs.create(session, RunConfig())
"""


def test_processes_that_start_at_once_upgrade_once(tmp_path: Path) -> None:
    # Plain processes: multiprocessing would run again whatever script this one calls its main.
    command = [sys.executable, "-c", UPGRADE_AND_CREATE, file_url(tmp_path)]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [(process.communicate(timeout=120)[1], process.returncode) for process in started]
    assert said == [("", 0)] * 3
    engine = open_engine(file_url(tmp_path))
    with reading(engine) as session:
        assert len(runs.listed(session)) == 3
    engine.dispose()


def test_sqlite_is_shared_by_wal_only_where_that_is_safe(store: Engine) -> None:
    with store.connect() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    safe = sqlite_module().sqlite_version_info >= (3, 51, 3)
    assert mode == ("wal" if safe else "truncate")


def test_a_failed_write_leaves_nothing(store: Engine) -> None:
    def create_and_fail() -> None:
        with writing(store) as session:
            runs.create(session, tiny_config())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        create_and_fail()
    with reading(store) as session:
        assert runs.listed(session) == []


def test_a_reader_sees_one_moment_and_does_not_stop_a_writer(store: Engine) -> None:
    with reading(store) as session:
        assert runs.listed(session) == []
        stored_run(store)
        assert runs.listed(session) == []
    with reading(store) as session:
        assert len(runs.listed(session)) == 1


@pytest.mark.parametrize("url", ["nonsense", "oracle9://x", "sqlite://", "sqlite:///:memory:"])
def test_a_useless_address_is_refused_in_plain_words(url: str) -> None:
    with pytest.raises(StoreUnavailable, match="MESHTUNE_DATABASE_URL"):
        open_engine(url)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    with pytest.raises(StoreUnavailable, match="taken cannot be written"):
        open_engine(file_url(tmp_path / "taken"))


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "meshtune.db").write_text("not a database " * 100, encoding="utf-8")
    engine = open_engine(file_url(tmp_path))
    with pytest.raises(StoreUnavailable, match="damaged or not a database"):
        upgrade(engine)
    engine.dispose()


def test_a_locked_database_is_told_in_plain_words(tmp_path: Path) -> None:
    engine = open_engine(file_url(tmp_path), busy_timeout_ms=50)
    upgrade(engine)
    other = sqlite_module().connect(tmp_path / "meshtune.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with (
        pytest.raises(StoreUnavailable, match="locked by another program"),
        writing(engine) as session,
    ):
        runs.create(session, tiny_config())
    with reading(engine) as session:  # readers go on
        assert runs.listed(session) == []
    other.execute("ROLLBACK")
    other.close()
    with writing(engine) as session:
        runs.create(session, tiny_config())
    engine.dispose()


def test_a_read_only_database_is_told_in_plain_words(store: Engine) -> None:
    with store.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only=ON")
        connection.rollback()
    with pytest.raises(StoreUnavailable, match="cannot be written"), writing(store) as session:
        runs.create(session, tiny_config())


def test_the_stdlib_driver_serves_where_the_other_is_missing() -> None:
    assert sqlite_module().sqlite_version_info >= sqlite3.sqlite_version_info
