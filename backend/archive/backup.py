"""Backups: the database and the checkpoints that its runs need, in one file."""

import hashlib
import json
import os
import re
import shutil
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import URL, make_url

from meshtune.backend.settings import Settings, find_misplaced
from meshtune.backend.training.artefacts import Artefacts, open_artefacts
from meshtune.db.errors import StoreError, StoreUnavailable
from meshtune.db.files import BESIDE, copy_database, url_of
from meshtune.db.session import file_of, open_engine, sqlite_module, upgrade

FORMAT = 1
MANIFEST = "manifest.json"
DATABASE = "meshtune.db"
CHECKPOINTS = "checkpoints/"
FILE_NAME = re.compile(r"checkpoints/\d+-\d+-f\d+\.safetensors|meshtune\.db")
MANIFEST_MAX_BYTES = 64_000_000
CHUNK_BYTES = 1 << 20
TRIES = 5  # a running run may drop a checkpoint between the copy of its row and that of its file


class BackupRefused(StoreError):
    """A backup cannot be made or used; the message says why and what to do."""


class BackedUp(BaseModel):
    """One file in a backup."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """What a backup holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    meshtune: str
    created_at: datetime
    runs: int
    files: dict[str, BackedUp]
    missing: tuple[str, ...] = Field(description="Checkpoints that were gone: their runs go back")


def back_up(settings: Settings, out: Path) -> Manifest:
    """Write a backup while everything goes on; the file appears complete or not at all.

    Raises:
        BackupRefused: it cannot be made.
    """
    database = _database_file(settings)
    find_misplaced(settings)
    if not database.is_file():
        raise BackupRefused(
            f"there is no database {database}; set MESHTUNE_STATE_DIR to the folder in use"
        )
    artefacts = open_artefacts(settings)
    try:
        with TemporaryDirectory(prefix="meshtune-backup-", dir=out.parent) as place:
            folder = Path(place)
            missing = _collected(database, artefacts, folder)
            manifest = Manifest(
                format=FORMAT,
                meshtune=version("meshtune"),
                created_at=datetime.now(UTC),
                runs=_count_runs(folder / DATABASE),
                files={
                    path.relative_to(folder).as_posix(): _described(path)
                    for path in sorted(folder.rglob("*"))
                    if path.is_file()
                },
                missing=tuple(missing),
            )
            _pack(folder, manifest, out)
    except OSError as error:
        raise BackupRefused(
            f"the backup cannot be written to {out} ({error.strerror}); name another file"
        ) from error
    return manifest


def restore(
    settings: Settings, backup: Path, *, force: bool = False
) -> tuple[Manifest, Path | None]:
    """Put a backup in place of what is there; and the folder where that was put aside.

    Everything is unpacked, checked and brought up to date before anything is touched.

    Raises:
        BackupRefused: the file is no whole backup, or something is in the way.
    """
    database = _database_file(settings)
    state = settings.state_dir
    occupied = [path for path in (state, database) if path.is_file() or _filled(path)]
    if occupied and not force:
        raise BackupRefused(
            f"{occupied[0]} is not empty; name an empty folder in MESHTUNE_STATE_DIR, "
            "or add --force, which puts what is there aside"
        )
    if database.is_file():
        _require_nobody_at_work(database)
    try:
        state.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".restore-", dir=state) as place:
            folder = Path(place)
            manifest = _unpacked(backup, folder)
            _require_usable(folder / DATABASE)
            _checkpoints(folder / DATABASE)  # refuses names that lead elsewhere
            aside = _put_aside(settings, database) if occupied else None
            artefacts = open_artefacts(settings)
            for path in sorted((folder / CHECKPOINTS).glob("*")):
                artefacts.keep(path.name, lambda to, path=path: _copy(path, to))  # type: ignore[misc]
            database.parent.mkdir(parents=True, exist_ok=True)
            _copy(folder / DATABASE, database)  # last: with it the runs are there
    except OSError as error:
        raise BackupRefused(
            f"{state} cannot be written ({error.strerror}); "
            "set MESHTUNE_STATE_DIR to a folder that you may write to"
        ) from error
    return manifest, aside


# Making


def _database_file(settings: Settings) -> Path:
    url = make_url(settings.store_url)
    if url.get_backend_name() == "sqlite":
        return file_of(url) or Path()
    address = URL.create(
        url.get_backend_name(), url.username, None, url.host, url.port, url.database, url.query
    )
    plain = address.render_as_string()  # without the password: it would end in a shell history
    raise BackupRefused(
        "the database is a server, which has tools of its own: back up with\n"
        f"  pg_dump --format=custom --file=meshtune.dump '{plain}'\n"
        "and restore into an empty database with\n"
        f"  pg_restore --no-owner --dbname='{plain}' meshtune.dump\n"
        "and copy the folder or bucket that MESHTUNE_ARTEFACTS names, while no worker runs"
    )


def _collected(database: Path, artefacts: Artefacts, folder: Path) -> list[str]:
    """Copy the database and what it points to; the checkpoints that are not there any more."""
    (folder / CHECKPOINTS).mkdir()
    missing: list[str] = []
    for _ in range(TRIES):
        copy_database(database, folder / DATABASE)
        wanted = _checkpoints(folder / DATABASE)
        for path in (folder / CHECKPOINTS).iterdir():
            if path.name not in wanted:
                path.unlink()  # of an earlier try
        missing = [
            name for name in wanted if not _fetched(artefacts, name, folder / CHECKPOINTS / name)
        ]
        if not missing:
            break
    return missing


def _checkpoints(database: Path) -> list[str]:
    """Names of the checkpoints that runs point to.

    Raises:
        BackupRefused: one is no such name; a worker would read, write and drop that file.
    """
    query = "SELECT checkpoint FROM runs WHERE checkpoint IS NOT NULL ORDER BY id"
    names = [str(name) for (name,) in _asked(database, query)]
    for name in names:
        if not FILE_NAME.fullmatch(f"{CHECKPOINTS}{name}"):
            raise BackupRefused(
                f"a run points to {name[:80]!r}, which is no name of a checkpoint; "
                "Meshtune did not write that into the database"
            )
    return names


def _count_runs(database: Path) -> int:
    ((count,),) = _asked(database, "SELECT count(*) FROM runs")
    return int(count)


def _asked(database: Path, query: str) -> list[tuple[Any, ...]]:
    module = sqlite_module()
    try:
        with closing(module.connect(database.absolute())) as connection:
            return list(connection.execute(query))
    except module.Error as error:
        raise BackupRefused(f"{database.name} is no database of Meshtune: {error}") from error


def _fetched(artefacts: Artefacts, name: str, to: Path) -> bool:
    if to.is_file():
        return True
    with artefacts.fetched(name) as path, suppress(FileNotFoundError):
        try:
            to.hardlink_to(path)  # at once, before its worker replaces it
        except OSError:
            shutil.copyfile(path, to)
    return to.is_file()


def _described(path: Path) -> BackedUp:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return BackedUp(size_bytes=path.stat().st_size, sha256=digest.hexdigest())


def _pack(folder: Path, manifest: Manifest, out: Path) -> None:
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as pack:
                pack.writestr(MANIFEST, manifest.model_dump_json(indent=1))
                for name in manifest.files:
                    pack.write(folder / name, name)
            file.flush()
            os.fsync(file.fileno())
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)


# Restoring


def _filled(path: Path) -> bool:
    return path.is_dir() and any(path.iterdir())


def _require_nobody_at_work(database: Path) -> None:
    query = f"SELECT count(*) FROM workers WHERE seen_until >= {time.time()}"
    try:
        ((at_work,),) = _asked(database, query)
    except BackupRefused:
        return  # a damaged database is what backups are for
    if at_work:
        raise BackupRefused(
            "a worker is using this database; stop Meshtune, wait half a minute and try again"
        )


def _unpacked(backup: Path, folder: Path) -> Manifest:
    """The files of a backup, each as its manifest says: nothing else leaves the archive."""
    with _as_backup(backup), zipfile.ZipFile(backup) as pack:
        manifest = _manifest_of(pack)
        (folder / CHECKPOINTS).mkdir()
        for name, told in manifest.files.items():
            with pack.open(name) as source, (folder / name).open("wb") as to:
                _copy_checked(source, to, told, name)
    return manifest


@contextmanager
def _as_backup(backup: Path) -> Iterator[None]:
    """Whatever a file may do that is no backup, or a damaged one: one sentence."""
    try:
        yield
    except FileNotFoundError as error:
        raise BackupRefused(f"there is no file {backup}") from error
    except KeyError as error:
        raise BackupRefused(f"{backup.name} is no whole backup: {error.args[0]}") from error
    except (zipfile.BadZipFile, EOFError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BackupRefused(f"{backup.name} is no whole backup of Meshtune: {reason}") from error
    except zlib.error as error:
        raise BackupRefused(f"{backup.name} is damaged: {error}") from error


def _manifest_of(pack: zipfile.ZipFile) -> Manifest:
    if pack.getinfo(MANIFEST).file_size > MANIFEST_MAX_BYTES:
        raise ValueError("its manifest is too large")
    with pack.open(MANIFEST) as file:
        raw = json.loads(file.read(MANIFEST_MAX_BYTES))
    if isinstance(raw, dict) and raw.get("format", FORMAT) != FORMAT:
        raise BackupRefused(
            f"the backup has format {raw['format']} and this Meshtune reads {FORMAT}; "
            "restore it with the version that made it"
        )
    try:
        manifest = Manifest.model_validate(raw)
    except ValidationError as error:
        raise ValueError("its manifest cannot be read") from error
    strange = [name for name in manifest.files if not FILE_NAME.fullmatch(name)]
    if strange or DATABASE not in manifest.files:
        raise ValueError(f"it names {strange[0]}" if strange else "it has no database")
    return manifest


def _copy_checked(source: IO[bytes], to: IO[bytes], told: BackedUp, name: str) -> None:
    digest, left = hashlib.sha256(), told.size_bytes
    while chunk := source.read(CHUNK_BYTES):
        left -= len(chunk)
        if left < 0:
            break  # a bomb, or damage
        digest.update(chunk)
        to.write(chunk)
    if left or digest.hexdigest() != told.sha256:
        raise ValueError(f"{name} is not what its manifest says")


def _require_usable(database: Path) -> None:
    if _asked(database, "PRAGMA quick_check") != [("ok",)]:
        raise BackupRefused("the database in the backup is damaged; use an earlier backup")
    engine = open_engine(url_of(database))
    try:
        upgrade(engine)
    except StoreUnavailable as error:
        raise BackupRefused(
            "the backup was made by a newer Meshtune than this one; install that version"
        ) from error
    finally:
        engine.dispose()
    _asked(database, "PRAGMA journal_mode=DELETE")  # one file again, to be copied whole


def _put_aside(settings: Settings, database: Path) -> Path:
    """Move what is there into a folder beside it: a restore can be taken back."""
    aside = settings.state_dir / f"before-restore-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    aside.mkdir()
    files = [database.with_name(database.name + end) for end in BESIDE]
    for path in (*files, settings.checkpoint_dir):
        if path.exists():
            shutil.move(path, aside / path.name)
    return aside


def _copy(source: Path, to: Path) -> None:
    part = to.with_name(f"{to.name}.tmp")
    shutil.copyfile(source, part)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(to)
