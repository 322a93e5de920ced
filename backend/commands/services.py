"""Commands of `meshtune` for what runs: all services, one worker, a check of the machine."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from meshtune.backend.commands.console import read_settings
from meshtune.engine.commands.console import Refused
from meshtune.engine.commands.doctor import Check, Verdict, engine_checks

app = typer.Typer()

DASHBOARD_PORT = 8700
EXIT_UNFIT = 1
EXIT_PART_DIED = 1
COLOURS = {Verdict.GOOD: "green", Verdict.NOTE: "yellow", Verdict.BAD: "red"}


@app.command()
def up(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the dashboard.")] = DASHBOARD_PORT,
    api_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Of the API; 8701 if not given.")
    ] = None,
) -> None:
    """Start API, worker and dashboard; Ctrl-C stops them all."""
    from meshtune.backend.services.announced import NotAnnounced
    from meshtune.backend.services.up import (
        HOST,
        AlreadyUp,
        PartDied,
        keep_up,
        parts_of,
        sole,
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

    logs = _made_folder(settings.state_dir / "logs")
    try:
        with sole(settings.state_dir, address):
            _require_free(port, "--port")
            _require_free(api_port, "--api-port")
            # A database that cannot be used is told here, in one sentence.
            open_store(settings).dispose()
            print("Starting Meshtune ...", flush=True)
            keep_up(parts_of(port, api_port), logs, ready, grace_s=settings.grace_s)
    except (AlreadyUp, NotAnnounced) as error:
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
def doctor() -> None:
    """Check this machine: versions, cores, ports, database, model files; say what to do."""
    from meshtune.backend.commands.doctor import service_checks

    settings = read_settings()
    ports = (DASHBOARD_PORT, settings.api_port)
    checks = [*engine_checks(), *service_checks(settings, ports)]
    Console().print(table_of(checks))
    if any(check.verdict is Verdict.BAD for check in checks):
        raise typer.Exit(EXIT_UNFIT)


def _require_free(port: int, option: str) -> None:
    from meshtune.backend.services.up import taken

    if taken(port):
        raise Refused(
            f"port {port} is in use; stop the program that listens there "
            f"or choose another port with {option}"
        )


def _made_folder(folder: Path) -> Path:
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
