"""`meshtune`: the commands of the engine, and those that need the database or the services."""

import sys
from io import TextIOWrapper

from meshtune.backend.commands import backup, runs, services, sweeps, tokens
from meshtune.db.errors import StoreError
from meshtune.engine.commands.app import app
from meshtune.engine.commands.console import answer

for part in (services, runs, backup, sweeps):
    app.add_typer(part.app)
app.add_typer(tokens.app, name="token")


def main() -> None:
    """The `meshtune` command."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # names of files that are not text
    answer(app, also=(StoreError,))


if __name__ == "__main__":
    main()
