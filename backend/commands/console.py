"""What the commands share: settings, the database, files that appear complete or not at all."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from meshtune.engine.commands.console import Refused

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from meshtune.backend.settings import Settings


def read_settings() -> "Settings":
    """The settings in the environment.

    Raises:
        Refused: one of them is wrong.
    """
    from pydantic import ValidationError

    from meshtune.backend.settings import Settings
    from meshtune.engine.config import plain_errors

    try:
        return Settings()
    except ValidationError as error:
        lines = (f"MESHTUNE_{f.upper()}: {text}" for f, text in plain_errors(error.errors()))
        raise Refused("\n".join(lines)) from error


@contextmanager
def opened_store(settings: "Settings") -> Iterator["Engine"]:
    """The database for the time of a command."""
    from meshtune.backend.settings import open_store

    store = open_store(settings)
    try:
        yield store
    finally:
        store.dispose()


def write_whole(out: Path | None, lines: Iterable[str]) -> None:
    """Write the lines to a file that appears complete or not at all; to the screen if None.

    Raises:
        Refused: the file cannot be written.
    """
    if out is None:
        sys.stdout.writelines(lines)
        return

    def write(part: Path) -> None:
        with part.open("w", encoding="utf-8") as file:
            file.writelines(lines)

    write_file(out, write)


def write_file(out: Path, write: Callable[[Path], object]) -> None:
    """Have `write` make a file that appears complete or not at all.

    Raises:
        Refused: the file cannot be written.
    """
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        write(part)
        part.replace(out)
    except OSError as error:
        raise Refused(f"cannot write {out}: {error.strerror}; choose another --out") from error
    finally:
        with suppress(OSError):
            part.unlink()
