"""A folder or zip file that should be a bundle, opened with care.

A bundle is a stranger's file: its names are known or refused, its sizes bounded before it is read.
"""

import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from meshtune.backend.archive.bundle import (
    LARGEST_BYTES,
    MANIFEST,
    MEMBER,
    BundleError,
    BundleTooLarge,
)

# What macOS, Windows and KDE leave behind; it is passed over, never read.
OF_DESKTOPS = re.compile(
    r"__MACOSX/.*|(.*/)?(\._[^/]*|\.DS_Store|\.localized|\.directory|Icon\r"
    r"|(?i:desktop\.ini|(eh)?thumbs\.db))",
    re.DOTALL,
)
WRONG_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,  # a way of packing that zipfile does not know
    OSError,
    OverflowError,
    RuntimeError,  # a password
    ValueError,
)


@dataclass(frozen=True)
class Limits:
    """What a bundle may be at most.

    Attributes:
        unpacked_bytes: of all files together.
        files: two adapter files per device of the largest fleet, and some more.
        manifest_bytes: it is parsed at once.
        line_bytes: a round with all its links.
        ratio: how far a zip file of more than `unpacked_free_bytes` may shrink; rounds in which
            little happens shrink to a fiftieth.
        unpacked_free_bytes: see above.
    """

    unpacked_bytes: int = LARGEST_BYTES
    files: int = 600
    manifest_bytes: int = 32 << 20
    line_bytes: int = 64 << 20
    ratio: int = 200
    unpacked_free_bytes: int = 16 << 20


NO_MORE = Limits()


@dataclass(frozen=True)
class Source:
    """A folder or zip file, whichever it is: sizes by name, and how to read one."""

    sizes: dict[str, int]
    open: Callable[[str], IO[bytes]]


@contextmanager
def opened(path: Path, limits: Limits) -> Iterator[Source]:
    """The files of a folder or zip file, within the limits.

    Raises:
        BundleError: it is no bundle, or holds what no export writes.
    """
    if path.is_dir():
        yield _folder(path, limits)
        return
    if not path.is_file():
        raise BundleError(f"there is no {path}; name a folder or zip file of meshtune export")
    try:
        archive = zipfile.ZipFile(path)
    except WRONG_ZIP as error:
        raise BundleError(f"{path.name} is no zip file, or a damaged one: {error}") from error
    with archive:
        yield _zip(archive, path.stat().st_size, limits)


def _folder(path: Path, limits: Limits) -> Source:
    held: dict[str, int] = {}
    for found in path.rglob("*"):
        name = found.relative_to(path).as_posix()
        if found.is_symlink():
            raise BundleError(f"the bundle holds a link, {shown(name)}; export the run again")
        if found.is_dir():
            continue
        held[name] = found.stat().st_size
        _require_few(len(held), limits)
    names = _own_names(held)
    sizes = {name: held[there] for name, there in names.items()}
    _require_small(sum(sizes.values()), limits)
    return Source(sizes, lambda name: (path / names[name]).open("rb"))


def _zip(archive: zipfile.ZipFile, packed_bytes: int, limits: Limits) -> Source:
    held: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        _require_few(len(held) + 1, limits)
        name = entry.filename.replace("\\", "/")  # as some tools of Windows write it
        if name.endswith("/"):  # a folder
            continue
        if name in held:
            raise BundleError(f"the bundle holds {shown(name)} twice; export the run again")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise BundleError(f"the bundle holds a link, {shown(name)}; export the run again")
        held[name] = entry
    names = _own_names(held)
    sizes = {name: held[there].file_size for name, there in names.items()}
    total = sum(sizes.values())
    _require_small(total, limits)
    if total > limits.unpacked_free_bytes and total > limits.ratio * packed_bytes:
        raise BundleTooLarge(
            f"the bundle unpacks to {total // max(packed_bytes, 1)} times its size, more than "
            f"{limits.ratio}; send its folder instead"
        )
    return Source(sizes, lambda name: archive.open(held[names[name]]))


def _own_names(held: Iterable[str]) -> dict[str, str]:
    """Names as the export gave them, each with its name here, after a desktop packed them again.

    Desktops put a folder around what they pack, and files of their own beside it.
    """
    left = [name for name in held if not OF_DESKTOPS.fullmatch(name)]
    tops = {name.partition("/")[0] for name in left}
    around = f"{tops.pop()}/" if len(tops) == 1 and MANIFEST not in left else ""
    if around + MANIFEST not in left:
        around = ""
    return {_known(name.removeprefix(around)): name for name in left}


def _known(name: str) -> str:
    if not MEMBER.fullmatch(name):
        raise BundleError(f"the bundle holds {shown(name)}, which no run has; export it again")
    return name


def shown(name: str) -> str:
    """A name of a stranger, fit to be shown."""
    return ascii(name[:80])


def _require_few(files: int, limits: Limits) -> None:
    if files > limits.files:
        raise BundleTooLarge(f"the bundle holds more than {limits.files} files; export it again")


def _require_small(size: int, limits: Limits) -> None:
    if size > limits.unpacked_bytes:
        raise BundleTooLarge(
            f"the bundle unpacks to {size:,} bytes, more than {limits.unpacked_bytes:,}; "
            "use `meshtune import` on the machine of the lab"
        )


@contextmanager
def damage_of(name: str) -> Iterator[None]:
    """Trouble while a file is read, as damage of the bundle.

    Raises:
        BundleError: there was some.
    """
    try:
        yield
    except WRONG_ZIP as error:
        raise BundleError(f"{name} cannot be read: {error}") from error
