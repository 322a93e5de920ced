"""Commands of `meshtune` for backups."""

from pathlib import Path
from typing import Annotated

import typer

from meshtune.backend.commands.console import read_settings

app = typer.Typer()


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE.zip", help="File to write.")],
) -> None:
    """Copy database and checkpoints into one file, while everything goes on."""
    from meshtune.backend.archive import backup as backups

    manifest = backups.back_up(read_settings(), file)
    size_mb = file.stat().st_size / 1e6
    checkpoints = len(manifest.files) - 1
    typer.echo(f"{file}: {manifest.runs} runs, {checkpoints} checkpoints, {size_mb:.1f} MB")
    for name in manifest.missing:
        typer.echo(f"checkpoint {name} was gone; its run will go on from an earlier round")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE.zip", help="What `backup` wrote.")],
    force: Annotated[
        bool, typer.Option("--force", help="Put aside what is in the state folder.")
    ] = False,
) -> None:
    """Put a backup in place; stop Meshtune before."""
    from meshtune.backend.archive import backup as backups

    settings = read_settings()
    manifest, aside = backups.restore(settings, file, force=force)
    typer.echo(
        f"{settings.state_dir} is as of {manifest.created_at:%Y-%m-%d %H:%M} UTC: ", nl=False
    )
    typer.echo(f"{manifest.runs} runs, {len(manifest.files) - 1} checkpoints.")
    if aside is not None:
        typer.echo(f"What was there is in {aside}; remove it once you are content.")
