"""Where checkpoints are kept: a folder of this machine, or a store that several machines reach."""

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from meshtune.backend.settings import Settings
from meshtune.db.errors import StoreUnavailable

log = logging.getLogger(__name__)

FILE_NAME = re.compile(r"^(\d+)-(\d+)-f(\d+)\.safetensors(\.tmp)?$")


class ArtefactSettings(BaseSettings):
    """Where checkpoints are kept and how many of a run."""

    model_config = SettingsConfigDict(env_prefix="MESHTUNE_", frozen=True, extra="ignore")

    artefacts: str | None = Field(
        None, repr=False, description="Folder or URL of checkpoints; in the state folder if not set"
    )
    keep_checkpoints: int = Field(2, ge=1, le=1000, description="Newest checkpoints kept per run")


class ArtefactsUnavailable(StoreUnavailable):
    """Checkpoints cannot be written or reached now; nothing stored is lost."""


@dataclass(frozen=True, order=True)
class Kept:
    """A checkpoint by its name: the state of `run_id` after `round_index`, saved under `fence`."""

    run_id: int
    round_index: int
    fence: int
    partial: bool = False  # its writer died before it was whole

    @property
    def name(self) -> str:
        """Name of the file."""
        # The fence in it: a worker presumed dead cannot overwrite the file of its heir.
        whole = f"{self.run_id}-{self.round_index}-f{self.fence}.safetensors"
        return whole + ".tmp" * self.partial


@dataclass(frozen=True)
class Artefacts:
    """The checkpoints of all runs, by file name."""

    files: AbstractFileSystem
    root: str
    folder: Path | None  # the same place, where it is a folder of this machine

    def keep(self, name: str, save: Callable[[Path], None]) -> None:
        """Have `save` write a file, and return once it is there whole, also after a power loss.

        Raises:
            ArtefactsUnavailable: it cannot be written now.
        """
        if self.folder is None:
            with TemporaryDirectory(prefix="meshtune-") as elsewhere:
                path = Path(elsewhere) / name
                with _reaching("written"):
                    save(path)
                    # One upload, which object stores make visible as a whole.
                    self.files.put_file(str(path), self._at(name))
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save(self.folder / name)
            _sync_folder(self.folder)
        except OSError as error:
            with suppress(OSError):
                (self.folder / f"{name}.tmp").unlink(missing_ok=True)  # it would fill the disk more
            raise ArtefactsUnavailable(
                f"the folder of checkpoints {self.folder} cannot be written ({error.strerror}); "
                "free space there or make it writable, nothing stored is lost"
            ) from error

    @contextmanager
    def fetched(self, name: str) -> Iterator[Path]:
        """The file, on this machine, for the time of a block; a missing one has no file there.

        Raises:
            ArtefactsUnavailable: it cannot be reached now.
        """
        if self.folder is not None:
            yield self.folder / name
            return
        with TemporaryDirectory(prefix="meshtune-") as elsewhere:
            path = Path(elsewhere) / name
            with _reaching("read"), suppress(FileNotFoundError):
                self.files.get_file(self._at(name), str(path))
            yield path

    def of_run(self, run_id: int) -> list[Kept]:
        """Checkpoints of a run, oldest round first.

        Raises:
            ArtefactsUnavailable: they cannot be listed now.
        """
        names: list[str] = []
        with _reaching("listed"), suppress(FileNotFoundError):
            self.files.invalidate_cache()  # other machines write to it, too
            names = self.files.ls(self.root, detail=False)
        parsed = (FILE_NAME.match(name.rpartition("/")[2]) for name in names)
        found = (
            Kept(int(part[1]), int(part[2]), int(part[3]), partial=bool(part[4]))
            for part in parsed
            if part
        )
        return sorted(kept for kept in found if kept.run_id == run_id)

    def drop(self, name: str) -> None:
        """Remove a file; what cannot be removed now stays until the next look."""
        try:
            with _reaching("removed"), suppress(FileNotFoundError):
                self.files.rm_file(self._at(name))
        except ArtefactsUnavailable as error:
            log.warning("%s", error)

    def _at(self, name: str) -> str:
        return f"{self.root}/{name}"


def open_artefacts(settings: Settings, where: ArtefactSettings | None = None) -> Artefacts:
    """The checkpoints of these settings.

    Raises:
        ArtefactsUnavailable: MESHTUNE_ARTEFACTS is no address that can be used here.
    """
    address = (where or ArtefactSettings()).artefacts
    if not address:
        return _in_folder(settings.checkpoint_dir)
    scheme, ends, _ = address.partition("://")
    if not ends and scheme not in {"file", "local"}:
        return _in_folder(Path(address).expanduser())
    try:
        files, root = url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise ArtefactsUnavailable(
            f"MESHTUNE_ARTEFACTS begins with {scheme}://, which cannot be opened here: {error}; "
            "name a folder, or install what it takes (for s3://: pip install 'meshtune[s3]')"
        ) from error
    folder = Path(root) if isinstance(files, LocalFileSystem) else None
    return Artefacts(files, root.rstrip("/"), folder)


def _in_folder(folder: Path) -> Artefacts:
    """A folder under whatever name: nothing in it is read as part of an address."""
    whole = folder.absolute()
    return Artefacts(LocalFileSystem(), str(whole), whole)


@contextmanager
def _reaching(done: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # each kind of store has errors of its own
        raise ArtefactsUnavailable(
            f"the checkpoints cannot be {done} ({type(error).__name__}: {error}); "
            "check MESHTUNE_ARTEFACTS and that its store answers"
        ) from error


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power loss."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
