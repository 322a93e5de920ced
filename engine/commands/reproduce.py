"""Commands that take long: the paper's comparison, and the timings."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from meshtune.engine.commands.console import (
    EXIT_INTERRUPTED,
    Refused,
    emptied,
    opened,
    progress_bar,
)

if TYPE_CHECKING:
    from meshtune.engine.reproduce.campaign import Job
    from meshtune.engine.reproduce.results import RunResult


def bench(
    model: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Time a model by hand, the generic way and by PEFT."),
    ] = None,
    families: Annotated[
        bool, typer.Option("--families", help="Compare families of models with stock PEFT.")
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the rows as JSON.")
    ] = None,
) -> None:
    """Time the radio and the plan, and the fleet engine against stock PEFT, on this machine."""
    from meshtune.engine.bench import air, fleet

    _load_silently()
    if model is not None or families:
        print(_model_table(model) if model is not None else _family_table())
        return
    with opened(json_file) as sink:
        air_rows = air.bench_air()
        if sink is not sys.stdout:
            print(air.air_table(air_rows), end="\n\n")
        fleet_rows = fleet.bench()
        if sink is not sys.stdout:
            print(fleet.table(fleet_rows))
        if sink is not None:
            emptied(sink)
            found = {"air": air.as_json(air_rows), "fleet": fleet.as_json(fleet_rows)}
            json.dump(found, sink, indent=1)
            sink.write("\n")


def _model_table(folder: Path) -> str:
    from meshtune.engine.bench.ways import bench_model, way_table
    from meshtune.engine.errors import ConfigMismatch

    if not (folder / "config.json").is_file():
        raise Refused(f"{folder} is no model folder: it has no config.json")
    try:
        return way_table(bench_model(folder))
    except ConfigMismatch as error:
        raise Refused(str(error)) from error


def _family_table() -> str:
    from meshtune.engine.bench.families import every_family, table

    return table(every_family())


def reproduce(  # noqa: PLR0913 - one per option
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer arms, devices, rounds and seeds.")
    ] = False,
    arms: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only these arms; names as in the JSON.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Seeds per arm; 5, or 2 with --quick.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Change what all arms share."),
    ] = None,
    state: Annotated[
        Path, typer.Option(help="Folder that keeps finished runs; the next call goes on from them.")
    ] = Path(".reproduce"),
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the results as JSON.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the tables as markdown.")
    ] = None,
    sweep: Annotated[
        bool,
        typer.Option(
            "--sweep", help="Compare the learning rates of each arm on a seed of its own."
        ),
    ] = False,
) -> None:
    """Run the paper's comparison and say which of its claims hold here.

    Exit codes: 0 done, 2 refused, 130 stopped by Ctrl-C. Finished runs are kept in any case.
    """
    from meshtune.engine.commands.experiment import parsed_change, plain_refusals
    from meshtune.engine.reproduce import arms as suite, campaign, report

    names = None if arms is None else [name.strip() for name in arms.split(",")]
    chosen = suite.chosen_arms(names, quick=quick)
    values = dict(parsed_change(change) for change in changes or [])
    with plain_refusals():
        base = suite.base_config(values, quick=quick)
        count = seeds or (suite.QUICK_SEEDS if quick else suite.SEEDS)
        jobs = (
            campaign.sweep_jobs(chosen, base)
            if sweep
            else campaign.comparison_jobs(chosen, base, count)
        )
    with opened(json_file) as json_sink, opened(markdown) as markdown_sink:
        found = _finished(jobs, state)
        told = report.sweep_report(found, base) if sweep else report.report(found, base)
        if sys.stdout not in (json_sink, markdown_sink):
            for sheet in told.sheets:
                Console().print(report.as_table(sheet))
            print(told.origin)
        if markdown_sink is not None:
            emptied(markdown_sink)
            markdown_sink.write(report.as_markdown(told))
        if json_sink is not None:
            emptied(json_sink)
            json.dump(told.values, json_sink, indent=1)
            json_sink.write("\n")


def _finished(jobs: Sequence["Job"], state: Path) -> list["RunResult"]:
    """Results of all jobs, with a progress bar; Ctrl-C says what is kept and how to go on."""
    from meshtune.engine.reproduce.campaign import finished_jobs, play_run

    finished = 0.0
    begun: Job | None = None
    with progress_bar("reproduce", len(jobs), "", quiet=False) as (bar, task):

        def watch(job: "Job", done: float) -> None:
            nonlocal finished, begun
            shown = f"{job.arm.title}, seed {job.config.seed}"
            if bar.disable and job is not begun:  # a log file has lines where a terminal has a bar
                print(f"{done:.0f}/{len(jobs)} {shown}", file=sys.stderr, flush=True)
            finished, begun = done, job
            bar.update(task, completed=done, shown=shown)

        try:
            found = finished_jobs(jobs, state, play_run, watch)
        except OSError as error:
            raise Refused(f"cannot keep runs in {state}: {error.strerror}") from error
        except KeyboardInterrupt:
            print(
                f"Stopped by Ctrl-C: {int(finished)} of {len(jobs)} runs are kept in {state}; "
                "the same command goes on from there",
                file=sys.stderr,
            )
            raise typer.Exit(EXIT_INTERRUPTED) from None
        bar.update(task, completed=len(jobs), shown="done")
    return found


def _load_silently() -> None:
    """Loading the small model takes no time worth a progress bar of its own."""
    from transformers.utils import logging

    logging.disable_progress_bar()
