"""The file of a SQLite database: its address, and how it is copied while others write to it."""

import os
from contextlib import closing
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from meshtune.db.errors import StoreUnavailable
from meshtune.db.session import sqlite_module

BESIDE = ("", "-wal", "-shm", "-journal")  # a database and what SQLite keeps next to it


def url_of(file: Path) -> URL:
    """The address of a SQLite file, whatever its name; a string would have to be escaped."""
    return URL.create("sqlite", database=str(file))


def misread_file(file: Path) -> Path | None:
    """Where versions that wrote addresses as strings kept the database meant for `file`.

    None where they read its name right: `?` began a query for them, and `%25` was a percent sign.
    """
    try:
        database = make_url(f"sqlite:///{file}").database
    except ArgumentError:
        return None
    return None if not database or Path(database) == file else Path(database)


def holds_runs(file: Path) -> bool:
    """Whether a file is a database of Meshtune."""
    module = sqlite_module()
    try:
        with closing(module.connect(_read_only(file), uri=True)) as connection:
            connection.execute("SELECT 1 FROM runs LIMIT 1")
    except module.Error:
        return False
    return True


def copy_database(source: Path, to: Path) -> None:
    """One moment of a database as one file, whoever writes to it: SQLite's own online backup.

    Raises:
        StoreUnavailable: it cannot be read, or the copy not be written.
    """
    to.unlink(missing_ok=True)
    module = sqlite_module()
    try:
        with (
            closing(module.connect(_read_only(source), uri=True)) as live,
            # Absolute: SQLite takes a name that begins with `file:` for an address.
            closing(module.connect(to.absolute())) as copy,
        ):
            live.execute("PRAGMA busy_timeout=30000")
            live.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, nothing beside it
    except module.Error as error:
        raise StoreUnavailable(f"the database {source} cannot be read: {error}") from error


def adopt(source: Path, to: Path) -> bool:
    """Copy a database to where there is none; False if another process was first.

    Raises:
        StoreUnavailable: it cannot be copied.
    """
    part = to.with_name(f".{to.name}.{os.getpid()}.part")
    try:
        copy_database(source, part)
        to.hardlink_to(part)  # unlike a rename, never over a database that is there by now
    except FileExistsError:
        return False
    except OSError as error:
        raise StoreUnavailable(
            f"the database {source} cannot be copied to {to} ({error.strerror}); "
            "free some space there or copy it by hand, while Meshtune is stopped"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return True


def _read_only(file: Path) -> str:
    return f"{file.absolute().as_uri()}?mode=ro"
