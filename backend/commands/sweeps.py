"""`meshtune sweep`: queue a sweep, follow it, stop it, take its table away."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from meshtune.backend.commands.console import opened_store, read_settings, write_whole
from meshtune.engine.commands.console import EXIT_INTERRUPTED, Refused

if TYPE_CHECKING:
    from sqlalchemy import Engine

app = typer.Typer()

WATCH_S = 1.0  # pause between looks; a round takes longer
NUMBER_MAX = 2**31 - 1
EXIT_INCOMPLETE = 3


@app.command()
def sweep(
    chosen: Annotated[
        str | None,
        typer.Argument(metavar="SPEC.toml|ID", help="A file with a sweep, or a sweep's number."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Wait until all cells ended.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the table of results, as CSV.")] = None,
    stop: Annotated[
        int | None,
        typer.Option(metavar="ID", min=1, max=NUMBER_MAX, help="Cancel what is left of a sweep."),
    ] = None,
) -> None:
    """Queue many runs that differ in a few fields and seeds; workers train them.

    Exit codes: 0 done, 2 refused, 3 watched to the end and a cell did not complete, 130 stopped
    watching by Ctrl-C. The sweep goes on without this command.
    """
    if (chosen is None) == (stop is None):
        raise Refused("name a sweep: a file to start it, its number to look at it, or --stop ID")
    with opened_store(read_settings()) as store:
        if stop is not None:
            _stop(store, stop)
            return
        sweep_id = (
            int(str(chosen)) if _is_number(str(chosen)) else _queued(store, Path(str(chosen)))
        )
        counts = _counts(store, sweep_id)
        if watch:
            counts = _watched(store, sweep_id)
        if out is not None:
            _write_table(store, sweep_id, out)
        typer.echo(f"Sweep {sweep_id}: {_worded(counts)}")
        if watch and counts.get("completed", 0) < sum(counts.values()):
            raise typer.Exit(EXIT_INCOMPLETE)


def _queued(store: "Engine", path: Path) -> int:
    """Number of the sweep of a file, queued now."""
    from meshtune.backend.replies.sweeps import checked_cells
    from meshtune.db import census, sweeps
    from meshtune.db.session import writing
    from meshtune.engine.sweep import read_spec

    spec = read_spec(path)
    planned = checked_cells(spec)
    with writing(store) as session:
        created = sweeps.create(session, spec, planned)
        reused = sum(state.reused for state in sweeps.states(session, created.id))
        workers = census.counts(session).workers
    told = f"; {reused} of its cells are in the store already" if reused else ""
    typer.echo(f"Queued sweep {created.id} with {len(planned)} cells{told}")
    if not workers:
        typer.echo("No worker is alive; start one with `meshtune worker`", err=True)
    return created.id


def _stop(store: "Engine", sweep_id: int) -> None:
    from meshtune.db import sweeps
    from meshtune.db.session import writing

    with writing(store) as session:
        sweeps.stop(session, sweep_id)
    typer.echo(f"Stopped sweep {sweep_id}: {_worded(_counts(store, sweep_id))}")


def _watched(store: "Engine", sweep_id: int) -> dict[str, int]:
    """Show the progress of a sweep until all its cells ended; how they ended."""
    from meshtune.db import sweeps
    from meshtune.db.session import reading
    from meshtune.engine.records import ENDED

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} rounds"),
        TextColumn("{task.fields[shown]}"),
    )
    console = Console(stderr=True)
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task(f"sweep {sweep_id}", total=None, shown="")
            while True:
                with reading(store) as session:
                    cells = sweeps.states(session, sweep_id)
                counts = _counts(store, sweep_id)
                bar.update(
                    task,
                    completed=sum(cell.rounds_done for cell in cells),
                    total=sum(cell.rounds_total for cell in cells),
                    shown=_worded(counts),
                )
                if counts.keys() <= {*map(str, ENDED), sweeps.DELETED}:
                    return counts
                time.sleep(WATCH_S)
    except KeyboardInterrupt:
        typer.echo(
            f"Stopped watching; sweep {sweep_id} goes on. `meshtune sweep {sweep_id} --watch` "
            f"looks again, `meshtune sweep --stop {sweep_id}` ends it",
            err=True,
        )
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _write_table(store: "Engine", sweep_id: int, out: Path) -> None:
    from meshtune.backend.replies.sweeps import csv_lines
    from meshtune.db.session import reading

    with reading(store) as session:
        write_whole(out, list(csv_lines(session, sweep_id)))


def _counts(store: "Engine", sweep_id: int) -> dict[str, int]:
    from meshtune.db import sweeps
    from meshtune.db.session import reading

    with reading(store) as session:
        sweeps.get(session, sweep_id)
        return sweeps.status_counts(session, [sweep_id])[sweep_id]


def _worded(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))


def _is_number(chosen: str) -> bool:
    return chosen.isascii() and chosen.isdigit() and 0 < int(chosen[:11]) <= NUMBER_MAX
