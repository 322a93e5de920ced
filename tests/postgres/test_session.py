"""Opening, upgrading and sharing a PostgreSQL database, and its troubles in plain words."""

import pkgutil
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, event, make_url, text

from meshtune import db
from meshtune.db import runs, steering
from meshtune.db.errors import StoreUnavailable
from meshtune.db.models import Base
from meshtune.db.session import open_engine, reading, upgrade, writing
from tests.support import postgres as private
from tests.support.builders import stored_run, tiny_config


def revisions() -> list[str]:
    """Numbers of all revisions, the first one first."""
    config = Config()
    config.set_main_option("script_location", str(Path(db.__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    return [each.revision for each in ScriptDirectory.from_config(config).walk_revisions()][::-1]


def empty(postgres: private.Server) -> str:
    """Address of a database without tables."""
    name = f"empty_{next(postgres.numbers)}"
    postgres.say(f"CREATE DATABASE {name}")
    return postgres.url(name)


def test_each_migration_follows_the_one_before_and_the_last_gives_the_tables_of_the_models(
    postgres: private.Server,
) -> None:
    for module in pkgutil.iter_modules(db.__path__):  # each may bring tables
        import_module(f"meshtune.db.{module.name}")
    url = empty(postgres)
    engine = open_engine(url)
    for revision in revisions():
        upgrade(engine, revision)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        different = compare_metadata(context, Base.metadata)
    engine.dispose()
    postgres.drop(url)
    assert different == []


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


def test_processes_that_start_at_once_upgrade_once(postgres: private.Server) -> None:
    url = empty(postgres)
    command = [sys.executable, "-c", UPGRADE_AND_CREATE, url]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [(process.communicate(timeout=120)[1], process.returncode) for process in started]
    assert said == [("", 0)] * 3
    engine = open_engine(url)
    with reading(engine) as session:
        assert len(runs.listed(session)) == 3
    engine.dispose()
    postgres.drop(url)


def test_a_reader_sees_one_moment_and_does_not_stop_a_writer(store: Engine) -> None:
    with reading(store) as session:
        assert runs.listed(session) == []
        stored_run(store)
        assert runs.listed(session) == []
    with reading(store) as session:
        assert len(runs.listed(session)) == 1


def test_a_reader_cannot_write(store: Engine) -> None:
    with pytest.raises(StoreUnavailable, match="read-only"), reading(store) as session:
        runs.create(session, tiny_config())


def test_a_failed_write_leaves_nothing(store: Engine) -> None:
    def create_and_fail() -> None:
        with writing(store) as session:
            runs.create(session, tiny_config())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        create_and_fail()
    with reading(store) as session:
        assert runs.listed(session) == []


def test_a_locked_row_is_told_in_plain_words_and_stops_no_reader(url: str, store: Engine) -> None:
    run_id = stored_run(store)
    hasty = open_engine(url, busy_timeout_ms=50)
    with store.begin() as other:
        other.execute(text("SELECT 1 FROM runs FOR UPDATE"))
        with (
            pytest.raises(StoreUnavailable, match="locked by another program"),
            writing(hasty) as session,
        ):
            steering.request_cancel(session, run_id)
        with reading(hasty) as session:
            assert runs.get(session, run_id).id == run_id
    with writing(hasty) as session:
        steering.request_cancel(session, run_id)
    hasty.dispose()


def test_transactions_in_each_others_way_are_told_in_plain_words(store: Engine) -> None:
    first, second = stored_run(store), stored_run(store)
    both_hold_one = threading.Barrier(2)
    said: list[str] = []

    def take(mine: int, theirs: int) -> None:
        update = text("UPDATE runs SET priority = priority WHERE id = :id")
        try:
            with writing(store) as session:
                session.execute(update, {"id": mine})
                both_hold_one.wait(10)
                session.execute(update, {"id": theirs})
        except StoreUnavailable as error:
            said.append(str(error))

    pairs = [(first, second), (second, first)]
    threads = [threading.Thread(target=take, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert said == ["the database is busy; try again in a moment"]


def test_a_server_without_our_tables_is_told_in_plain_words(store: Engine) -> None:
    with store.begin() as connection:
        connection.exec_driver_sql("DROP TABLE run_events CASCADE")
    with (
        pytest.raises(StoreUnavailable, match="no Meshtune tables"),
        writing(store) as session,
    ):
        runs.create(session, tiny_config())


def test_a_server_that_is_read_only_is_told_in_plain_words(
    store: Engine, postgres: private.Server
) -> None:
    postgres.say(f"ALTER DATABASE {store.url.database} SET default_transaction_read_only = on")
    store.dispose()  # the setting is for new connections
    with pytest.raises(StoreUnavailable, match="is read-only"), writing(store) as session:
        runs.create(session, tiny_config())
    with reading(store) as session:
        assert runs.listed(session) == []


@pytest.mark.parametrize(
    "changes", [{"username": "stranger"}, {"database": "elsewhere"}], ids=["user", "database"]
)
def test_a_refusal_of_the_server_says_where_to_look_and_no_password(
    url: str, changes: dict[str, str]
) -> None:
    engine = open_engine(
        make_url(url).set(password="hidden", **changes).render_as_string(hide_password=False)
    )
    with pytest.raises(StoreUnavailable, match="check user, password and name") as told:
        upgrade(engine)
    assert "hidden" not in str(told.value)
    engine.dispose()


def test_a_server_that_is_not_there_is_told_in_plain_words(tmp_path: Path) -> None:
    engine = open_engine(f"postgresql://meshtune@/meshtune?host={tmp_path}")
    with pytest.raises(StoreUnavailable, match="does not answer"):
        upgrade(engine)
    engine.dispose()


def cut_connections(postgres: private.Server, url: str) -> None:
    name = make_url(url).database
    postgres.say(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")


def test_a_cut_connection_costs_its_transaction_and_nothing_else(
    url: str, store: Engine, postgres: private.Server
) -> None:
    def create_twice() -> None:
        with writing(store) as session:
            runs.create(session, tiny_config())
            cut_connections(postgres, url)
            runs.create(session, tiny_config())

    stored_run(store)
    with pytest.raises(StoreUnavailable, match="does not answer"):
        create_twice()
    with reading(store) as session:
        assert len(runs.listed(session)) == 1


def test_connections_cut_between_two_requests_are_not_noticed(
    url: str, store: Engine, postgres: private.Server
) -> None:
    run_id = stored_run(store)
    cut_connections(postgres, url)
    with reading(store) as session:
        assert runs.get(session, run_id).id == run_id


def test_a_writer_that_sleeps_inside_a_transaction_loses_its_locks(
    store: Engine,
) -> None:
    @event.listens_for(store, "connect")
    def hurry(connection: object, _record: object) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute("SHOW idle_in_transaction_session_timeout")
        assert cursor.fetchone() == ("1min",)
        cursor.execute("SET idle_in_transaction_session_timeout = 100")
        connection.commit()  # type: ignore[attr-defined]

    run_id = stored_run(store)
    asleep = store.connect()
    asleep.execute(text("SELECT 1 FROM runs FOR UPDATE"))
    with writing(store) as session:  # waits for the lock until the sleeper is thrown out
        steering.request_cancel(session, run_id)
    asleep.invalidate()
    asleep.close()


def test_options_of_the_address_are_kept(url: str) -> None:
    engine = open_engine(f"{url}&options=-c%20search_path%3Dmine&application_name=lab")
    with engine.connect() as connection:
        told = [
            connection.exec_driver_sql(f"SHOW {name}").scalar()
            for name in ("search_path", "application_name", "lock_timeout")
        ]
    assert told == ["mine", "lab", "30s"]
    engine.dispose()
