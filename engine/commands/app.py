"""The engine from the command line, without server or database.

What takes time to import (torch, the mesh and its plan) is imported inside the commands that need
it, so that help and refusals come at once.
"""

import typer

from meshtune.engine.commands import data, model, new
from meshtune.engine.commands.console import answer
from meshtune.engine.commands.reproduce import bench, reproduce
from meshtune.engine.commands.run import mesh, plan, presets, run

app = typer.Typer(
    name="meshtune",
    help="A lab for decentralized federated multi-task fine-tuning over radio.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command in (run, plan, mesh, presets, bench, reproduce):
    app.command()(command)
app.add_typer(new.app, name="new")
app.add_typer(data.app, name="data")
app.add_typer(model.app, name="model")


def main() -> None:
    """`python -m meshtune.engine.commands.app`: the commands of the engine alone."""
    answer(app)


if __name__ == "__main__":
    main()
