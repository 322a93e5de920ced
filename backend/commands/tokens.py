"""Commands of `meshtune` for tokens: who may call the API from beyond this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine

from meshtune.backend.settings import Settings, open_store
from meshtune.db import tokens
from meshtune.db.session import reading, writing
from meshtune.db.tokens import Scope
from meshtune.engine.commands.app import app
from meshtune.engine.commands.console import Refused
from meshtune.engine.config import plain_errors

token = typer.Typer(no_args_is_help=True, help="Tokens for callers from beyond this machine.")
app.add_typer(token, name="token")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Shown in logs and events.")]


@token.command()
def create(
    name: Name,
    scope: Annotated[
        Scope, typer.Option(help="read looks, run creates and controls, admin deletes too.")
    ] = Scope.READ,
    days: Annotated[
        int | None, typer.Option(min=1, max=tokens.DAYS_MAX, help="Until it ends; never if none.")
    ] = None,
) -> None:
    """Make a token and print it, this once."""
    with _store() as store, writing(store) as session:
        secret = tokens.create(session, name, scope, days=days)
    typer.echo(secret)
    typer.echo("Keep it: only its hash is stored, so it cannot be shown again.", err=True)


@token.command("list")
def list_tokens() -> None:
    """Names, scopes and ends of all tokens."""
    with _store() as store, reading(store) as session:
        found = tokens.listed(session)
    table = Table("Token", "Scope", "Made", "Ends", box=None, pad_edge=False)
    for each in found:
        ends = "never" if each.expires_at is None else f"{each.expires_at:%Y-%m-%d %H:%M} UTC"
        table.add_row(each.name, each.scope, f"{each.created_at:%Y-%m-%d}", ends)
    Console().print(table)


@token.command()
def revoke(name: Name) -> None:
    """End a token: the next request with it is refused."""
    with _store() as store, writing(store) as session:
        tokens.revoke(session, name)
    typer.echo(f"The token {name} is no longer valid.")


@contextmanager
def _store() -> Iterator[Engine]:
    try:
        settings = Settings()
    except ValidationError as error:
        lines = (f"MESHTUNE_{f.upper()}: {text}" for f, text in plain_errors(error.errors()))
        raise Refused("\n".join(lines)) from error
    store = open_store(settings)
    try:
        yield store
    finally:
        store.dispose()
