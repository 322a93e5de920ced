"""The folder of files of rows that configs name without a whole path."""

import os
import re
import tempfile
from pathlib import Path

from meshtune.engine.data.reading import BYTES_MAX
from meshtune.engine.data.rows import DataError
from meshtune.engine.inputs import state_folder

# No folders, nothing hidden, nothing that a shell or an address reads as more than a letter.
NAME = re.compile(r"[^\W_][\w .()-]{0,99}", re.ASCII)


class NameTaken(DataError):
    """Another file has the name already."""


def data_folder() -> Path:
    """Where they lie: data/ of the state folder."""
    return state_folder() / "data"


def kept_files() -> list[Path]:
    """All of them, by name."""
    folder = data_folder()
    return sorted(path for path in folder.glob("*") if NAME.fullmatch(path.name) and path.is_file())


def keep(name: str, content: bytes) -> Path:
    """Put a file there, whole or not at all; the same content twice does no harm.

    Raises:
        NameTaken: another file has it.
        DataError: the name cannot be used, or there is no room.
    """
    if not NAME.fullmatch(name):
        raise DataError(
            f"{name[:80]!r} is no name for a file here: use at most 100 letters, digits, blanks "
            "and . _ - ( ), and begin with one of the first two"
        )
    if not content.strip():
        raise DataError(f"{name} is empty")
    if len(content) > BYTES_MAX:
        raise DataError(f"{name} has {len(content)} bytes; at most {BYTES_MAX} are read")
    path = data_folder() / name
    if path.is_file() and path.read_bytes() == content:
        return path
    try:
        _write_new(path, content)
    except FileExistsError as error:
        raise NameTaken(
            f"another {name} is there already, and runs may need it; give this one another name"
        ) from error
    except OSError as error:
        raise DataError(f"{path.absolute()} cannot be written: {error.strerror}") from error
    return path


def _write_new(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as draft:
        draft.write(content)
    try:
        os.link(draft.name, path)  # unlike a move, it never takes the place of a file
    finally:
        os.unlink(draft.name)
