"""`meshtune`: the commands of the engine, and those that need the database or the services."""

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from backend.settings import Settings
from db.errors import StoreError
from engine.cli import Refused, answer, app
from engine.config import plain_errors
from engine.doctor import Check, Verdict, engine_checks

DASHBOARD_PORT = 8700
EXIT_UNFIT = 1
EXIT_PART_DIED = 1
COLOURS = {Verdict.GOOD: "green", Verdict.NOTE: "yellow", Verdict.BAD: "red"}


class FileFormat(StrEnum):
    """What a run can be exported as."""

    CSV = "csv"
    JSONL = "jsonl"


def main() -> None:
    """The `meshtune` command."""
    answer(app, also=(StoreError,))


@app.command()
def up(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the dashboard.")] = DASHBOARD_PORT,
    api_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Of the API; 8701 if not given.")
    ] = None,
) -> None:
    """Start API, worker and dashboard; Ctrl-C stops them all."""
    from backend.settings import open_store
    from backend.up import HOST, PartDied, keep_up, parts_of, taken

    settings = read_settings()
    api_port = api_port or settings.api_port
    if port == api_port:
        raise Refused(f"--port and --api-port are both {port}; choose two different ports")
    for wanted, option in ((port, "--port"), (api_port, "--api-port")):
        if taken(wanted):
            raise Refused(
                f"port {wanted} is in use; stop the program that listens there "
                f"or choose another port with {option}"
            )
    open_store(settings).dispose()  # a database that cannot be used is told here, in one sentence
    logs = made_folder(settings.state_dir / "logs")

    def ready() -> None:
        print(f"Meshtune is ready: http://{HOST}:{port}  (API: http://{HOST}:{api_port}/docs)")
        print("Ctrl-C stops it.", flush=True)

    print("Starting Meshtune ...", flush=True)
    try:
        keep_up(parts_of(port, api_port), logs, ready, grace_s=settings.grace_s)
    except PartDied as error:
        print(f"Stopped, because {error}", file=sys.stderr)
        raise typer.Exit(EXIT_PART_DIED) from error
    print("Stopped. Finished rounds are kept; waiting runs go on at the next start.")


@app.command()
def worker() -> None:
    """Train queued runs until told to stop."""
    from backend.worker import main as work

    raise typer.Exit(work(read_settings()))


@app.command()
def export(
    run: Annotated[int, typer.Argument(metavar="RUN", min=1, help="Number of the run.")],
    file_format: Annotated[FileFormat, typer.Option("--format", help="Form of the export.")],
    out: Annotated[Path | None, typer.Option(help="File to write; the screen if none.")] = None,
) -> None:
    """Take all rounds of a run away; the first line says config, seed, versions and commit."""
    from backend import replies
    from backend.export import csv_lines, jsonl_lines, stored_rounds
    from backend.settings import open_store
    from db import runs
    from db.session import reading

    store = open_store(read_settings())
    try:
        with reading(store) as session:
            detail = replies.detail(session, runs.get(session, run))
        lines = csv_lines if file_format is FileFormat.CSV else jsonl_lines
        write_whole(out, lines(detail, stored_rounds(store, detail)))
    finally:
        store.dispose()


@app.command()
def doctor() -> None:
    """Check this machine: versions, cores, ports, database, model files; say what to do."""
    from backend.doctor import service_checks

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


def write_whole(out: Path | None, lines: Iterable[str]) -> None:
    """Write the lines to a file that appears complete or not at all; to the screen if None.

    Raises:
        Refused: the file cannot be written.
    """
    if out is None:
        sys.stdout.writelines(lines)
        return
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.writelines(lines)
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


def _plain(words: str) -> str:
    return words.replace("[", r"\[")


# They add their commands to the same app.
from backend import backup_cli, sweep_cli, token_cli  # noqa: E402, F401

if __name__ == "__main__":
    main()
