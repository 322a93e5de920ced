"""`meshtune`: the commands of the engine, and those that need the database or the services."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from functools import partial
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from meshtune.backend.settings import Settings
from meshtune.db.errors import StoreError
from meshtune.engine.commands.app import app
from meshtune.engine.commands.console import EXIT_INTERRUPTED, Refused, answer
from meshtune.engine.commands.doctor import Check, Verdict, engine_checks
from meshtune.engine.config import plain_errors

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from meshtune.backend.schemas.runs import RunDetail
    from meshtune.engine.records import RoundRecord

DASHBOARD_PORT = 8700
EXIT_UNFIT = 1
EXIT_PART_DIED = 1
EXIT_DIFFERENT = 1
COLOURS = {Verdict.GOOD: "green", Verdict.NOTE: "yellow", Verdict.BAD: "red"}


class FileFormat(StrEnum):
    """What a run can be exported as."""

    BUNDLE = "bundle"
    CSV = "csv"
    HTML = "html"
    JSONL = "jsonl"
    PARQUET = "parquet"


RunNumbers = Annotated[
    list[int], typer.Argument(metavar="RUN...", min=1, help="Number of the run; several for html.")
]
RunNumber = Annotated[int, typer.Argument(metavar="RUN", min=1, help="Number of the run.")]


def main() -> None:
    """The `meshtune` command."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # names of files that are not text
    answer(app, also=(StoreError,))


@app.command()
def up(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the dashboard.")] = DASHBOARD_PORT,
    api_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Of the API; 8701 if not given.")
    ] = None,
) -> None:
    """Start API, worker and dashboard; Ctrl-C stops them all."""
    from meshtune.backend.services.up import (
        HOST,
        AlreadyUp,
        PartDied,
        keep_up,
        parts_of,
        sole,
        taken,
    )
    from meshtune.backend.settings import open_store

    settings = read_settings()
    api_port = api_port or settings.api_port
    if port == api_port:
        raise Refused(f"--port and --api-port are both {port}; choose two different ports")
    address = f"http://{HOST}:{port}"

    def ready() -> None:
        print(f"Meshtune is ready: {address}  (API: http://{HOST}:{api_port}/docs)")
        print("Ctrl-C stops it.", flush=True)

    logs = made_folder(settings.state_dir / "logs")
    try:
        with sole(settings.state_dir, address):
            for wanted, option in ((port, "--port"), (api_port, "--api-port")):
                if taken(wanted):
                    raise Refused(
                        f"port {wanted} is in use; stop the program that listens there "
                        f"or choose another port with {option}"
                    )
            # A database that cannot be used is told here, in one sentence.
            open_store(settings).dispose()
            print("Starting Meshtune ...", flush=True)
            keep_up(parts_of(port, api_port), logs, ready, grace_s=settings.grace_s)
    except AlreadyUp as error:
        raise Refused(str(error)) from error
    except PartDied as error:
        print(f"Stopped, because {error}", file=sys.stderr)
        raise typer.Exit(EXIT_PART_DIED) from error
    print("Stopped. Finished rounds are kept; waiting runs go on at the next start.")


@app.command()
def worker(
    slots: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Runs to train at a time; MESHTUNE_WORKER_SLOTS or 1."),
    ] = None,
) -> None:
    """Train queued runs until told to stop."""
    from meshtune.backend.training.supervisor import main as work

    settings = read_settings()
    if slots is not None:
        settings = settings.model_copy(update={"worker_slots": slots})
    raise typer.Exit(work(settings))


@app.command()
def export(
    run: RunNumbers,
    file_format: Annotated[
        FileFormat, typer.Option("--format", help="A bundle that import takes, or a table.")
    ] = FileFormat.BUNDLE,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write, the screen if none; for a bundle FOLDER or FILE.zip."),
    ] = None,
) -> None:
    """Take a run away: all of it as a bundle, its rounds as a table, runs compared as a page."""
    from meshtune.backend.archive import bundle
    from meshtune.backend.archive.tables import csv_lines, jsonl_lines, stored_rounds
    from meshtune.backend.commands import compare as compare_cli
    from meshtune.backend.replies import runs as replies
    from meshtune.db import runs
    from meshtune.db.session import reading

    if out is None and file_format not in {FileFormat.CSV, FileFormat.JSONL}:
        raise Refused(
            "say where to write: --out FOLDER or --out FILE.zip; "
            "or take --format csv or jsonl on the screen"
        )
    settings = read_settings()
    with opened_store(settings) as store, plain_trouble(out):
        if out is not None and file_format is FileFormat.HTML:
            write_page(out, compare_cli.report(store, run))
            return
        only = compare_cli.single(run, file_format)
        if out is not None and file_format is FileFormat.BUNDLE:
            write = bundle.export_zip if out.suffix.lower() == ".zip" else bundle.export_folder
            write(store, settings, only, out)
            return
        with reading(store) as session:
            detail = replies.detail(session, runs.get(session, only))
        records = stored_rounds(store, detail)
        if out is not None and file_format is FileFormat.PARQUET:
            write_table(out, detail, records)
        else:
            lines = csv_lines if file_format is FileFormat.CSV else jsonl_lines
            write_whole(out, lines(detail, records))


@app.command("import")
def import_bundle(
    source: Annotated[Path, typer.Argument(metavar="FOLDER|FILE.zip", help="Bundle of export.")],
) -> None:
    """Rebuild a run from a bundle. One that has not ended comes in paused."""
    from meshtune.backend.archive.bundle_import import import_run
    from meshtune.db import runs
    from meshtune.db.session import reading

    settings = read_settings()
    with opened_store(settings) as store, plain_trouble(settings.state_dir):
        number = import_run(source, store, settings)
        with reading(store) as session:
            run = runs.get(session, number)
    print(f"run {number}: {run.name}, {run.status}, {run.rounds_done} of {run.rounds_total} rounds")


@app.command()
def verify(
    run: RunNumber,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Compare the first N rounds; all if not given.")
    ] = None,
) -> None:
    """Train a run again, here and now, and compare every round to the bit.

    Exit codes: 0 equal, 1 different, 2 refused, 130 stopped by Ctrl-C.
    """
    from meshtune.backend.archive.tables import stored_rounds
    from meshtune.backend.replies import runs as replies
    from meshtune.backend.training.trainer import load_engine
    from meshtune.backend.training.verify import verified
    from meshtune.db import runs
    from meshtune.db.session import reading

    with opened_store(read_settings()) as store:
        with reading(store) as session:
            detail = replies.detail(session, runs.get(session, run))
        wanted = min(rounds or detail.rounds_done, detail.rounds_done)
        if wanted == 0:
            raise Refused(f"run {run} has no finished round yet; verify it once it has")
        if detail.provenance is not None:
            # As many threads as then: sums are split by them. Before torch is loaded.
            os.environ.setdefault("OMP_NUM_THREADS", str(detail.provenance.threads))
        try:
            found = verified(
                detail.config,
                islice(stored_rounds(store, detail), wanted),
                detail.provenance,
                load_engine(),
                tell=partial(_counted, wanted),
            )
        except KeyboardInterrupt:
            print("Stopped by Ctrl-C before all rounds were compared", file=sys.stderr)
            raise typer.Exit(EXIT_INTERRUPTED) from None
    if found.difference is None:
        print(f"all {found.rounds_equal} rounds equal")
    else:
        print(found.difference)
        print(f"{found.rounds_equal} of {wanted} rounds equal")
    for change in found.surroundings:
        print(f"  {change}")
    if found.difference is not None:
        raise typer.Exit(EXIT_DIFFERENT)


def _counted(total: int, equal: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{equal}/{total}", end="\n" if equal == total else "", file=sys.stderr, flush=True)


@app.command()
def doctor() -> None:
    """Check this machine: versions, cores, ports, database, model files; say what to do."""
    from meshtune.backend.commands.doctor import service_checks

    settings = read_settings()
    ports = (DASHBOARD_PORT, settings.api_port)
    checks = [*engine_checks(), *service_checks(settings, ports)]
    Console().print(table_of(checks))
    if any(check.verdict is Verdict.BAD for check in checks):
        raise typer.Exit(EXIT_UNFIT)


def read_settings() -> Settings:
    """The settings in the environment.

    Raises:
        Refused: one of them is wrong.
    """
    try:
        return Settings()
    except ValidationError as error:
        lines = (f"MESHTUNE_{f.upper()}: {text}" for f, text in plain_errors(error.errors()))
        raise Refused("\n".join(lines)) from error


def made_folder(folder: Path) -> Path:
    """The folder, which exists now.

    Raises:
        Refused: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(
            f"cannot write {folder}: {error.strerror}; "
            "set MESHTUNE_STATE_DIR to a folder that you may write to"
        ) from error
    return folder


@contextmanager
def opened_store(settings: Settings) -> Iterator["Engine"]:
    """The database for the time of a command."""
    from meshtune.backend.settings import open_store

    store = open_store(settings)
    try:
        yield store
    finally:
        store.dispose()


@contextmanager
def plain_trouble(place: Path | None) -> Iterator[None]:
    """Trouble with a bundle, or with files at `place`, as one sentence.

    Raises:
        Refused: there was some.
    """
    from meshtune.backend.archive.bundle import BundleError

    try:
        yield
    except BundleError as error:
        raise Refused(str(error)) from error
    except OSError as error:
        raise Refused(f"cannot use {error.filename or place}: {error.strerror}") from error


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

    _appear(out, write)


def write_page(out: Path, page: bytes) -> None:
    """Write a page to a file that appears complete or not at all.

    Raises:
        Refused: the file cannot be written.
    """
    _appear(out, lambda part: part.write_bytes(page))


def write_table(out: Path, run: "RunDetail", records: Iterable["RoundRecord"]) -> None:
    """Write the rounds as Parquet, complete or not at all.

    Raises:
        Refused: the file cannot be written, or what writes Parquet is not installed.
    """
    from meshtune.backend.archive.tables import write_parquet

    def write(part: Path) -> None:
        with part.open("wb") as file:
            write_parquet(file, run, records)

    try:
        _appear(out, write)
    except ModuleNotFoundError as error:
        raise Refused("Parquet needs pyarrow: pip install pyarrow; or take --format csv") from error


def _appear(out: Path, write: Callable[[Path], object]) -> None:
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        write(part)
        part.replace(out)
    except OSError as error:
        raise Refused(f"cannot write {out}: {error.strerror}; choose another --out") from error
    finally:
        with suppress(OSError):
            part.unlink()


def table_of(checks: Iterable[Check]) -> Table:
    """Checks as the screen shows them."""
    table = Table("", "Check", "Found", "What to do", box=None, pad_edge=False)
    for check in checks:
        colour = COLOURS[check.verdict]
        table.add_row(
            f"[{colour}]{check.verdict}[/]", check.name, _plain(check.found), _plain(check.advice)
        )
    return table


def _plain(words: str) -> Text:
    return Text(words)  # its brackets and backslashes are not markup


# They add their commands to the same app.
from meshtune.backend.commands import (  # noqa: E402, F401
    backup as backup_cli,
    sweeps as sweep_cli,
    tokens as token_cli,
)

if __name__ == "__main__":
    main()
