"""What every command needs: refusals as sentences, exit codes, files to write, a progress bar."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from meshtune.engine.errors import EngineError

EXIT_REFUSED = 2
EXIT_DIVERGED = 3
EXIT_INTERRUPTED = 130


class Refused(Exception):
    """What was asked cannot be done; the message says why and what to do."""


def answer(
    asked: typer.Typer, also: tuple[type[Exception], ...] = (), argv: Sequence[str] | None = None
) -> None:
    """Run the command line; what a person can put right ends as a sentence and exit code 2."""
    expected: tuple[type[Exception], ...] = (EngineError, Refused, *also)
    try:
        asked(args=argv)
    except expected as error:
        print(error, file=sys.stderr)
        raise SystemExit(EXIT_REFUSED) from error


def refuse(found: Sequence[tuple[str, str]]) -> None:
    """End the command if a config has problems.

    Raises:
        Refused: one line per problem.
    """
    if found:
        raise Refused("\n".join(f"{field}: {sentence}" for field, sentence in found))


@contextmanager
def opened(path: Path | None) -> Iterator[TextIO | None]:
    """The file to append to, not yet emptied; None for no file, standard output for `-`."""
    if path is None or str(path) == "-":
        yield None if path is None else sys.stdout
        return
    existed = path.exists()
    try:
        # Never "w": what the file holds is dropped only when the new records are about to come.
        file = path.open("a", encoding="utf-8")
    except OSError as error:
        raise Refused(f"cannot write {path}: {error.strerror}; choose another --out") from error
    try:
        with file:
            yield file
    except OSError as error:
        raise Refused(f"cannot write {path}: {error.strerror}") from error
    finally:
        if not existed and path.is_file() and path.stat().st_size == 0:
            path.unlink()


def emptied(sink: TextIO | None) -> None:
    """Drop what a file held before; not earlier, as a refused run must not cost older records."""
    if sink is not None and sink is not sys.stdout and os.path.isfile(sink.name):
        sink.truncate(0)


@contextmanager
def progress_bar(
    name: str, total: int, shown: str, *, quiet: bool
) -> Iterator[tuple[Progress, TaskID]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total}"),
        TextColumn("{task.fields[shown]}"),
        TimeRemainingColumn(),
    )
    # On standard error, so that `--out -` can be piped.
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bar:
        yield bar, bar.add_task(name, total=total, shown=shown)
