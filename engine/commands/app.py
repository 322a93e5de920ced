"""The engine from the command line, without server or database.

What takes time to import (torch, the mesh and its plan) is imported inside the commands that need
it, so that help and refusals come at once.
"""

import json
import os
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from meshtune.engine import quantities as words
from meshtune.engine.commands import new
from meshtune.engine.config import RunConfig, no_such_field, plain_errors, with_values
from meshtune.engine.errors import EngineError, NumericsError, PresetNotFound
from meshtune.engine.naming import changed_name, flat
from meshtune.engine.presets import load_preset, preset_names, read_config_tree
from meshtune.engine.quantities import quantity
from meshtune.engine.records import RoundRecord
from meshtune.engine.texts import read_text

if TYPE_CHECKING:
    from meshtune.engine.reproduce.campaign import Job
    from meshtune.engine.reproduce.results import RunResult

EXIT_REFUSED = 2
EXIT_DIVERGED = 3
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="meshtune",
    help="A lab for decentralized federated multi-task fine-tuning over radio.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


app.add_typer(new.app, name="new")


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


def main() -> None:
    """`python -m meshtune.engine.commands.app`: the commands of the engine alone."""
    answer(app)


Experiment = Annotated[
    str, typer.Argument(metavar="PRESET|FILE", help="A preset, or a TOML file with a config.")
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Replace a field; may be repeated."),
]
MeshPath = Annotated[
    Path | None,
    typer.Option(
        "--topology",
        metavar="FILE",
        help="Mesh and tasks of a file: JSON, GraphML, GML or Pajek, as graph tools write them.",
    ),
]


@app.command()
def run(
    experiment: Experiment,
    changes: Changes = None,
    topology: MeshPath = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write one record per round, as JSON lines; - is the standard output."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Train a fleet and show what every round learned and cost.

    Exit codes: 0 done, 2 refused, 3 diverged, 130 stopped by Ctrl-C. Finished rounds are kept in
    any case.
    """
    config = chosen_config(experiment, changes or [], topology)
    from meshtune.engine.planning.plan import problems

    done: list[RoundRecord] = []
    try:
        with opened(out) as sink:
            refuse(problems(config))
            train(config, sink, done, quiet=quiet)
    except KeyboardInterrupt:
        print(f"Stopped by Ctrl-C: {_kept(len(done), config.rounds, out)}", file=sys.stderr)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except NumericsError as error:
        print(f"{error}: {_kept(len(done), config.rounds, out)}", file=sys.stderr)
        raise typer.Exit(EXIT_DIVERGED) from error


@app.command()
def plan(
    experiment: Experiment,
    changes: Changes = None,
    topology: MeshPath = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole plan as JSON.")] = False,
) -> None:
    """Show mesh, radio and costs of a run before it trains.

    Exit codes: 0 it can run, 2 it cannot, for reasons on standard error.
    """
    config = chosen_config(experiment, changes or [], topology)
    from meshtune.engine.commands.plan_table import plan_tables
    from meshtune.engine.planning import plan as plans

    found = plans.plan(config)
    if as_json:
        print(found.model_dump_json(indent=1))
    else:
        for table in plan_tables(found, config):
            Console().print(table)
    refuse(plans.problems(config, found))


@app.command()
def mesh(
    experiment: Experiment,
    changes: Changes = None,
    topology: MeshPath = None,
    graphml: Annotated[
        bool, typer.Option("--graphml/--json", help="GraphML, or JSON of our own.")
    ] = False,
) -> None:
    """Print the mesh of a run as a file that --topology reads."""
    config = chosen_config(experiment, changes or [], topology)
    from meshtune.engine.topology import build_mesh
    from meshtune.engine.topology.files import to_graphml, to_json

    built = build_mesh(config)
    tasks = [config.fleet.task_of(device) for device in range(config.fleet.devices)]
    written = to_graphml if graphml else to_json
    try:
        print(written(built.positions, built.linked, tasks))
    except ValueError as error:
        raise Refused(str(error)) from error


@app.command()
def presets() -> None:
    """List the experiments that ship with the package."""
    table = Table("Preset", "Question", "Takes", box=None, pad_edge=False)
    for name in preset_names():
        preset = load_preset(name)
        table.add_row(name, preset.question, preset.duration)
    Console().print(table)


@app.command()
def bench(
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the rows as JSON.")
    ] = None,
) -> None:
    """Time the radio and the plan, and the fleet engine against stock PEFT, on this machine."""
    from meshtune.engine.bench import air, fleet

    _load_silently()
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


@app.command()
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
    with _progress("reproduce", len(jobs), "", quiet=False) as (bar, task):

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


def chosen_config(
    experiment: str, changes: Sequence[str], topology: Path | None = None
) -> RunConfig:
    """The config of a preset or a file, with the mesh of another file and the `--set` changes.

    Raises:
        PresetNotFound: neither a preset nor a file has this name.
        ConfigFileError: the file cannot be read.
        Refused: a field or value is wrong, or the file holds no mesh.
    """
    values = dict(parsed_change(change) for change in changes)
    drawn = {} if topology is None else mesh_values(topology)
    with plain_refusals():
        if experiment in preset_names():
            config = load_preset(experiment).config
        elif _names_a_file(experiment):
            config = RunConfig.model_validate(read_config_tree(Path(experiment)))
        else:
            raise PresetNotFound(experiment, preset_names())
        changed = with_values(config, drawn) if drawn else config
        changed = with_values(changed, values) if values else changed
    if "name" in values:
        return changed
    before, after = (flat(each.model_dump(mode="json")) for each in (config, changed))
    return changed.model_copy(update={"name": changed_name(config.name, before, after)})


def mesh_values(path: Path) -> dict[str, Any]:
    """The config fields that take the mesh of a file: topology, devices, and tasks if it has any.

    Raises:
        Refused: the file cannot be read or holds no mesh.
    """
    from meshtune.engine.topology.files import drawn_from_text

    try:
        found = drawn_from_text(read_text(path))
    except UnicodeDecodeError as error:
        raise Refused(f"cannot read {path}: it is not UTF-8 text; save it as UTF-8") from error
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise Refused(f"{path}: {error}") from error
    except RecursionError:
        raise Refused(f"{path} is nested too deeply to be a mesh") from None
    for note in found.notes:
        print(f"{path}: {note}", file=sys.stderr)
    values: dict[str, Any] = {
        "topology": found.drawn.model_dump(mode="json"),
        "fleet.devices": len(found.drawn.positions),
    }
    return values if found.tasks is None else {**values, "fleet.tasks": list(found.tasks)}


def refuse(found: Sequence[tuple[str, str]]) -> None:
    """End the command if a config has problems.

    Raises:
        Refused: one line per problem.
    """
    if found:
        raise Refused("\n".join(f"{field}: {sentence}" for field, sentence in found))


@contextmanager
def plain_refusals() -> Iterator[None]:
    """Turn what is wrong with a config into sentences.

    Raises:
        Refused: a field or value is wrong.
    """
    try:
        yield
    except ValidationError as error:
        found = plain_errors(error.errors(), RunConfig)
        lines = (f"{field}: {sentence}" for field, sentence in found)
        raise Refused("\n".join(lines)) from error
    except KeyError as error:
        field = str(error.args[0])
        raise Refused(f"{field}: {no_such_field(RunConfig, field.split('.'))}") from error


def parsed_change(change: str) -> tuple[str, Any]:
    """Field and value of `a.b=c`; the value is TOML, or plain text if it is not TOML."""
    field, equals, text = change.partition("=")
    field = field.strip()
    if not (field and equals):
        raise Refused(f"--set {change}: write it as FIELD=VALUE, e.g. --set rounds=5")
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return field, text
    except RecursionError:
        raise Refused(f"--set {field}: the value is nested too deeply") from None
    value = parsed["value"]
    # A line break would smuggle in further keys; a date is no value of any field.
    plain = len(parsed) == 1 and isinstance(value, str | int | float | list | dict)
    return field, value if plain else text


def train(
    config: RunConfig, sink: TextIO | None, done: list[RoundRecord], *, quiet: bool = False
) -> None:
    """Run all rounds; every record goes to `sink` at once and is added to `done`."""
    from meshtune.engine.planning.unmixed import UnmixedWatch
    from meshtune.engine.simulate import simulate
    from meshtune.engine.world import build_world, initial_state

    watch = UnmixedWatch(config)
    warning: str | None = None
    world = build_world(config)
    emptied(sink)
    with _progress(config.name, config.rounds, _so_far(done), quiet=quiet) as (bar, task):

        def check(progress_of_round: float) -> None:
            bar.update(task, completed=len(done) + progress_of_round)

        for _, record in simulate(world, initial_state(world), check=check):
            done.append(record)
            warning = warning or watch.look(record)
            if sink is not None:
                sink.write(record.model_dump_json() + "\n")
                sink.flush()
            bar.update(task, completed=len(done), shown=_so_far(done))
    if warning is not None:
        print(f"Warning: {warning}", file=sys.stderr)
    if not quiet:
        energy = quantity(sum(record.energy_j for record in done), words.TRANSMIT.unit)
        told = f"{len(done)} rounds · {_so_far(done)} · {words.TRANSMIT.small} {energy}"
        print(told, file=sys.stderr)


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


def _names_a_file(experiment: str) -> bool:
    path = Path(experiment)
    return path.suffix == ".toml" or len(path.parts) > 1 or path.exists()


def _kept(rounds: int, total: int, out: Path | None) -> str:
    finished = f"{rounds} of {total} rounds are finished"
    if rounds == 0:
        return f"{finished}, nothing is kept"
    if out is None:
        return f"{finished}, none is kept (no --out was given)"
    return f"{finished} and kept in {out}"


def _so_far(done: Sequence[RoundRecord]) -> str:
    """Last accuracies and total cost in one line."""
    own = [record.accuracy_own for record in done if record.accuracy_own is not None]
    every = [record.accuracy_all for record in done if record.accuracy_all is not None]
    bits = quantity(sum((record.sent_bits for record in done), 0.0), "bit")
    airtime = quantity(sum((record.airtime_s for record in done), 0.0), "s")
    return " · ".join(
        (
            f"{words.OWN_TASK.small} {_percent(own)}",
            f"{words.ALL_TASKS.small} {_percent(every)}",
            f"{words.BITS_SENT.small} {bits}",
            f"{words.AIRTIME.small} {airtime}",
        )
    )


def _percent(shares: Sequence[float]) -> str:
    return f"{100.0 * shares[-1]:.1f} %" if shares else "-"


def _load_silently() -> None:
    """Loading the small model takes no time worth a progress bar of its own."""
    from transformers.utils import logging

    logging.disable_progress_bar()


@contextmanager
def _progress(
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


if __name__ == "__main__":
    main()
