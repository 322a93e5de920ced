"""The database: how it is opened, brought up to date, read and written."""

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from meshtune.db.columns import as_json, of_json
from meshtune.db.errors import StoreUnavailable

# SQLite 3.7.0 to 3.51.2 can corrupt a WAL file that two processes checkpoint at once.
WAL_SAFE = (3, 51, 3)
BUSY_TIMEOUT_MS = 30_000  # the lock queue of SQLite is not fair: waits of 2 s were measured
# Of PostgreSQL: a worker stopped inside a transaction must not keep the row of its run for ever.
IDLE_TIMEOUT_MS = 60_000
CONNECT_TIMEOUT_S = 5
# With the five that stay open as many as the API has threads: whoever has a thread need not wait.
MORE_CONNECTIONS = 35
USELESS = (
    "MESHTUNE_DATABASE_URL is not the address of a database that can be used here; "
    "write sqlite:///folder/meshtune.db or postgresql://user@host/name"
)
UPGRADE_LOCK = 0x6D657368  # any number that no other program locks on PostgreSQL


def open_engine(url: str | URL, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> Engine:
    """An engine for `url`, with the settings under which several processes can share it.

    Raises:
        StoreUnavailable: the URL is no database URL, or the folder of the file cannot be used.
    """
    try:
        parsed = make_url(url)
        kind = parsed.get_backend_name()
        if kind == "postgresql":
            return _postgres_engine(parsed, busy_timeout_ms)
    except ModuleNotFoundError as error:
        raise StoreUnavailable(
            "MESHTUNE_DATABASE_URL names a database whose driver is not installed; "
            "for PostgreSQL: pip install 'meshtune[postgres]'"
        ) from error
    except (ArgumentError, NoSuchModuleError) as error:
        raise StoreUnavailable(USELESS) from error
    if kind != "sqlite":
        raise StoreUnavailable(USELESS)
    _make_folder(file_of(parsed))
    module = sqlite_module()
    engine = create_engine(
        parsed,
        module=module,
        max_overflow=MORE_CONNECTIONS,
        json_serializer=as_json,
        json_deserializer=of_json,
    )
    _tune_sqlite(engine, wal=module.sqlite_version_info >= WAL_SAFE, timeout_ms=busy_timeout_ms)
    return engine


def _postgres_engine(url: URL, lock_timeout_ms: int) -> Engine:
    settings = {
        "lock_timeout": lock_timeout_ms,
        "idle_in_transaction_session_timeout": IDLE_TIMEOUT_MS,
    }
    ours = " ".join(f"-c {name}={value}" for name, value in settings.items())
    theirs = url.query.get("options", "")
    return create_engine(
        url,
        pool_pre_ping=True,  # a server that was restarted costs no request
        max_overflow=MORE_CONNECTIONS,
        json_serializer=as_json,
        json_deserializer=of_json,
        connect_args={
            "application_name": url.query.get("application_name", "meshtune"),
            "connect_timeout": CONNECT_TIMEOUT_S,
            "options": f"{ours} {theirs if isinstance(theirs, str) else ' '.join(theirs)}".strip(),
        },
    )


def sqlite_module() -> ModuleType:
    """The SQLite driver to use: the bundled one where the system's may corrupt WAL files."""
    if sys.platform == "linux" and sqlite3.sqlite_version_info < WAL_SAFE:
        try:
            import pysqlite3  # noqa: PLC0415 - shipped for Linux only
        except ImportError:
            return sqlite3
        if pysqlite3.sqlite_version_info >= WAL_SAFE:
            return pysqlite3  # type: ignore[no-any-return]
    return sqlite3


def file_of(url: URL) -> Path | None:
    """The file behind an address of SQLite; None for a database in memory."""
    named = url.database or ":memory:"
    if str(url.query.get("uri", "")).lower() in {"true", "1", "yes", "on", "t", "y"}:
        if url.query.get("mode") == "memory":
            return None
        if named.startswith("file:"):  # an address within the address, with escapes of its own
            named = unquote(urlsplit(named).path, errors="surrogateescape")
    return None if named in {"", ":memory:"} else Path(named)


def _make_folder(file: Path | None) -> None:
    if file is None:
        raise StoreUnavailable(
            "a database in memory cannot be shared by API and worker; "
            "name a file in MESHTUNE_DATABASE_URL"
        )
    folder = file.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(
            f"the database folder {folder} cannot be written ({error.strerror}); "
            "set MESHTUNE_STATE_DIR to a folder that you may write to"
        ) from error


def _tune_sqlite(engine: Engine, *, wal: bool, timeout_ms: int) -> None:
    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where we say so, below
        connection.text_factory = _text  # one damaged character must not fail a whole list
        for pragma in (
            f"busy_timeout={timeout_ms}",  # first: the next one may have to wait
            "journal_mode=WAL" if wal else "journal_mode=TRUNCATE",
            "synchronous=FULL",  # NORMAL may forget many commits when the power fails
            "foreign_keys=ON",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        # A deferred transaction that reads and then writes fails with "database is locked" at
        # once, whatever the timeout; so writers take the lock at the start.
        readonly = connection.get_execution_options().get("readonly")
        connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")


def _text(stored: bytes) -> str:
    return stored.decode(errors="replace")


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the tables up to date; processes that do it at the same time wait for one another.

    Raises:
        StoreUnavailable: the database cannot be written, or is newer than this program.
    """
    config = migrations()
    with _translated(), engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADE_LOCK})
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, revision)
        except CommandError as error:
            raise StoreUnavailable(
                "the database was written by a newer Meshtune than this one; "
                "install that version or use another MESHTUNE_DATABASE_URL"
            ) from error


def migrations() -> Config:
    """Where Alembic finds the revisions."""
    folder = str(Path(__file__).with_name("migrations"))
    config = Config()
    # Its parser takes a lone percent sign for the name of another option.
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """A session that sees one moment of the database and writes nothing."""
    options: dict[str, Any] = {"readonly": True}
    if engine.dialect.name == "postgresql":  # where each statement sees a moment of its own
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    reader = engine.execution_options(**options)
    with _translated(), Session(reader, autoflush=False, expire_on_commit=False) as session:
        yield session


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """A session whose changes become visible together at the end, or not at all."""
    with (
        _translated(),
        Session(engine, expire_on_commit=False) as session,
        session.begin(),
    ):
        yield session


@contextmanager
def _translated() -> Iterator[None]:
    """Trouble with the database itself, in plain words; errors of our own pass."""
    try:
        yield
    except PoolTimeout as error:
        raise StoreUnavailable(BUSY) from error
    except DBAPIError as error:
        if (sentence := _plain(error)) is None:
            raise
        raise StoreUnavailable(sentence) from error


BUSY = "the database is busy; try again in a moment"
LOCKED = "the database is locked by another program; try again in a moment"
NO_TABLES = "the database has no Meshtune tables; it was replaced while in use"
FULL = "the disk of the database is full; free some space, nothing stored is lost"
CROWDED = "the database server has no connection left; raise its max_connections or run fewer parts"
REFUSED = (
    "the database server does not let us in; "
    "check user, password and name of the database in MESHTUNE_DATABASE_URL"
)
# PostgreSQL says what it means by a number, but for an attempt to connect.
_SQLSTATE = {
    "25006": "the database cannot be written: the server is read-only",
    "40001": BUSY,  # transactions in each other's way
    "40P01": BUSY,
    "42501": "the database cannot be written: its user may not do that; grant it the rights",
    "42P01": NO_TABLES,
    "53100": FULL,
    "53300": CROWDED,
    "55P03": LOCKED,
}
_PLAIN = {
    "authentication failed": REFUSED,
    "no password supplied": REFUSED,
    "no pg_hba.conf entry": REFUSED,
    'fatal:  role "': REFUSED,
    'fatal:  database "': REFUSED,
    "too many clients": CROWDED,
    "remaining connection slots": CROWDED,
    "database is locked": LOCKED,
    "readonly database": "the database cannot be written: file or folder is read-only",
    "unable to open database file": "the database file cannot be opened; "
    "check that its folder exists and may be written",
    "disk is full": FULL,
    "disk i/o error": "the disk of the database does not answer",
    "not a database": "the database file is damaged or not a database",
    "malformed": "the database file is damaged or not a database",
    "no such table": NO_TABLES,
}


def _plain(error: DBAPIError) -> str | None:
    if (known := _SQLSTATE.get(getattr(error.orig, "sqlstate", None) or "")) is not None:
        return known
    said = str(error.orig).lower()
    for sign, sentence in _PLAIN.items():
        if sign in said:
            return sentence
    if error.connection_invalidated or "connection" in said:
        return "the database server does not answer; check that it runs"
    return None
