"""Commands about one run: train it, plan it, print its mesh, list the presets."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer
from rich.console import Console
from rich.table import Table

from meshtune.engine import quantities as words
from meshtune.engine.commands.console import (
    EXIT_DIVERGED,
    EXIT_INTERRUPTED,
    Refused,
    emptied,
    opened,
    progress_bar,
    refuse,
)
from meshtune.engine.errors import NumericsError
from meshtune.engine.quantities import quantity

if TYPE_CHECKING:
    from meshtune.engine.config import RunConfig
    from meshtune.engine.records import RoundRecord

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
    from meshtune.engine.commands.experiment import chosen_config

    config = chosen_config(experiment, changes or [], topology)
    from meshtune.engine.planning.plan import problems  # after what is refused at once

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


def plan(
    experiment: Experiment,
    changes: Changes = None,
    topology: MeshPath = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole plan as JSON.")] = False,
) -> None:
    """Show mesh, radio and costs of a run before it trains.

    Exit codes: 0 it can run, 2 it cannot, for reasons on standard error.
    """
    from meshtune.engine.commands.experiment import chosen_config

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


def mesh(
    experiment: Experiment,
    changes: Changes = None,
    topology: MeshPath = None,
    graphml: Annotated[
        bool, typer.Option("--graphml/--json", help="GraphML, or JSON of our own.")
    ] = False,
) -> None:
    """Print the mesh of a run as a file that --topology reads."""
    from meshtune.engine.commands.experiment import chosen_config

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


def presets() -> None:
    """List the experiments that ship with the package."""
    from meshtune.engine.presets import load_preset, preset_names

    table = Table("Preset", "Question", "Takes", box=None, pad_edge=False)
    for name in preset_names():
        preset = load_preset(name)
        table.add_row(name, preset.question, preset.duration)
    Console().print(table)


def train(
    config: "RunConfig", sink: TextIO | None, done: list["RoundRecord"], *, quiet: bool = False
) -> None:
    """Run all rounds; every record goes to `sink` at once and is added to `done`."""
    from meshtune.engine.simulate import simulate
    from meshtune.engine.unmixed import UnmixedWatch
    from meshtune.engine.world import build_world, initial_state

    watch = UnmixedWatch(config)
    warning: str | None = None
    world = build_world(config)
    emptied(sink)
    with progress_bar(config.name, config.rounds, _so_far(done), quiet=quiet) as (bar, task):

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


def _kept(rounds: int, total: int, out: Path | None) -> str:
    finished = f"{rounds} of {total} rounds are finished"
    if rounds == 0:
        return f"{finished}, nothing is kept"
    if out is None:
        return f"{finished}, none is kept (no --out was given)"
    return f"{finished} and kept in {out}"


def _so_far(done: Sequence["RoundRecord"]) -> str:
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
