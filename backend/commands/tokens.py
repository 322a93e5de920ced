"""Commands of `meshtune` for tokens: who may call the API from beyond this machine."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from meshtune.backend.commands.console import opened_store, read_settings
from meshtune.db.scopes import DAYS_MAX, Scope

app = typer.Typer(no_args_is_help=True, help="Tokens for callers from beyond this machine.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Shown in logs and events.")]


@app.command()
def create(
    name: Name,
    scope: Annotated[
        Scope, typer.Option(help="read looks, run creates and controls, admin deletes too.")
    ] = Scope.READ,
    days: Annotated[
        int | None, typer.Option(min=1, max=DAYS_MAX, help="Until it ends; never if none.")
    ] = None,
) -> None:
    """Make a token and print it, this once."""
    from meshtune.db import tokens
    from meshtune.db.session import writing

    with opened_store(read_settings()) as store, writing(store) as session:
        secret = tokens.create(session, name, scope, days=days)
    typer.echo(secret)
    typer.echo("Keep it: only its hash is stored, so it cannot be shown again.", err=True)


@app.command("list")
def list_tokens() -> None:
    """Names, scopes and ends of all tokens."""
    from meshtune.db import tokens
    from meshtune.db.session import reading

    with opened_store(read_settings()) as store, reading(store) as session:
        found = tokens.listed(session)
    table = Table("Token", "Scope", "Made", "Ends", box=None, pad_edge=False)
    for each in found:
        ends = "never" if each.expires_at is None else f"{each.expires_at:%Y-%m-%d %H:%M} UTC"
        table.add_row(each.name, each.scope, f"{each.created_at:%Y-%m-%d}", ends)
    Console().print(table)


@app.command()
def revoke(name: Name) -> None:
    """End a token: the next request with it is refused."""
    from meshtune.db import tokens
    from meshtune.db.session import writing

    with opened_store(read_settings()) as store, writing(store) as session:
        tokens.revoke(session, name)
    typer.echo(f"The token {name} is no longer valid.")
