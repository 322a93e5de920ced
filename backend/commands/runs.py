"""Commands of `meshtune` for one run: take it away, bring it in, train it again."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meshtune.backend.commands.console import (
    opened_store,
    read_settings,
    write_file,
    write_whole,
)
from meshtune.engine.commands.console import EXIT_INTERRUPTED, Refused

if TYPE_CHECKING:
    from meshtune.backend.schemas.runs import RunDetail
    from meshtune.backend.training.verify import Verdict
    from meshtune.engine.records import RoundRecord

app = typer.Typer()

EXIT_DIFFERENT = 1


class FileFormat(StrEnum):
    """What a run can be exported as."""

    BUNDLE = "bundle"
    CSV = "csv"
    HTML = "html"
    JSONL = "jsonl"
    PARQUET = "parquet"
    PEFT = "peft"


RunNumbers = Annotated[
    list[int], typer.Argument(metavar="RUN...", min=1, help="Number of the run; several for html.")
]
RunNumber = Annotated[int, typer.Argument(metavar="RUN", min=1, help="Number of the run.")]


@app.command()
def export(
    run: RunNumbers,
    file_format: Annotated[
        FileFormat,
        typer.Option(
            "--format", help="A bundle that import takes, a table, or adapters that peft loads."
        ),
    ] = FileFormat.BUNDLE,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write, the screen if none; for a bundle and peft FOLDER or FILE.zip."
        ),
    ] = None,
    device: Annotated[
        int | None, typer.Option(min=0, help="peft: the adapter of this device; of all if none.")
    ] = None,
    expert: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            help="peft: the adapter of the device that answers TASK best, of those that hold it.",
        ),
    ] = None,
    merged: Annotated[
        bool,
        typer.Option(
            "--merged",
            help="peft: the mean of the updates B A of all devices, with equal weights. Nothing "
            "is cut off, so its rank is the sum of theirs.",
        ),
    ] = False,
) -> None:
    """Take a run away.

    All of it as a bundle, its rounds as a table, runs compared as a page, or its adapters as
    folders that peft loads without Meshtune.
    """
    from meshtune.backend.archive import bundle
    from meshtune.backend.archive.adapters import Choice, export_adapters
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
    with _plain_trouble(out):
        choice = Choice(device, expert, merged)
    if file_format is not FileFormat.PEFT and choice != Choice():
        raise Refused("--device, --expert and --merged choose adapters; add --format peft")
    settings = read_settings()
    with opened_store(settings) as store, _plain_trouble(out):
        if out is not None and file_format is FileFormat.HTML:
            page = compare_cli.report(store, run)
            write_file(out, lambda part: part.write_bytes(page))
            return
        only = compare_cli.single(run, file_format)
        if out is not None and file_format is FileFormat.PEFT:
            export_adapters(store, settings, only, choice, out)
            return
        if out is not None and file_format is FileFormat.BUNDLE:
            write = bundle.export_zip if out.suffix.lower() == ".zip" else bundle.export_folder
            write(store, settings, only, out)
            return
        with reading(store) as session:
            detail = replies.detail(session, runs.get(session, only))
        records = stored_rounds(store, detail)
        if out is not None and file_format is FileFormat.PARQUET:
            _write_table(out, detail, records)
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
    with opened_store(settings) as store, _plain_trouble(settings.state_dir):
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
    from meshtune.backend.training.engine import load_engine
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
    _tell(found, wanted)
    if found.difference is not None:
        raise typer.Exit(EXIT_DIFFERENT)


def _tell(found: "Verdict", wanted: int) -> None:
    if found.difference is None:
        print(f"all {found.rounds_equal} rounds equal")
    else:
        print(found.difference)
        print(f"{found.rounds_equal} of {wanted} rounds equal")
    for change in found.surroundings:
        print(f"  {change}")


def _counted(total: int, equal: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{equal}/{total}", end="\n" if equal == total else "", file=sys.stderr, flush=True)


@contextmanager
def _plain_trouble(place: Path | None) -> Iterator[None]:
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


def _write_table(out: Path, run: "RunDetail", records: Iterable["RoundRecord"]) -> None:
    """Write the rounds as Parquet, complete or not at all.

    Raises:
        Refused: the file cannot be written, or what writes Parquet is not installed.
    """
    from meshtune.backend.archive.tables import write_parquet

    def write(part: Path) -> None:
        with part.open("wb") as file:
            write_parquet(file, run, records)

    try:
        write_file(out, write)
    except ModuleNotFoundError as error:
        raise Refused("Parquet needs pyarrow: pip install pyarrow; or take --format csv") from error
