"""Bad times for a disk and a database, each for a while and then over."""

import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Engine, text

from meshtune.db.session import writing

DISK_MB = 400  # the checkpoints of some 60 runs fit; on 96 MB a fast machine ran out of itself
BLOCK = bytes(64 * 1024)


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A folder on a small disk of its own; whether that could be had (it takes root on Linux)."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)


def fill(folder: Path, seconds: float) -> None:
    """No byte is left on the disk of `folder` for a while."""
    filler = folder / "filler"
    until = time.monotonic() + seconds
    try:
        with filler.open("wb", buffering=0) as file:
            while time.monotonic() < until:  # what others free meanwhile is taken too
                with suppress(OSError):
                    file.write(BLOCK)
                    continue
                time.sleep(0.05)
    finally:
        filler.unlink(missing_ok=True)


def choke(processes: Callable[[], list[int]], seconds: float) -> None:
    """No process may make a file longer than a block for a while: the disk of those without root.

    Processes that start meanwhile are caught too.
    """
    until = time.monotonic() + seconds
    caught: set[int] = set()
    while time.monotonic() < until:
        for pid in processes():
            if pid not in caught and _limit(pid, len(BLOCK)):
                caught.add(pid)
        time.sleep(0.1)
    for pid in caught | set(processes()):  # a child inherits the limit of its parent
        _limit(pid, resource.RLIM_INFINITY)


def _limit(pid: int, size: int) -> bool:
    try:
        _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        soft = most if size == resource.RLIM_INFINITY else size
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, most))
    except (OSError, ValueError):
        return False
    return True


def lock(store: Engine, seconds: float) -> None:
    """Another program writes for a while."""
    with writing(store) as session:
        session.execute(text("UPDATE runs SET priority = priority"))
        time.sleep(seconds)


@contextmanager
def read_only(state: Path) -> Iterator[None]:
    """The database and its folders may only be read; open connections still write."""
    files = [*state.glob("meshtune.db*")]
    folders = [folder for folder in (state, state / "checkpoints") if folder.exists()]
    for path in (*files, *folders):
        path.chmod(0o555 if path in folders else 0o444)
    try:
        yield
    finally:
        for path in (*folders, *files):
            with suppress(FileNotFoundError):
                path.chmod(0o755 if path in folders else 0o644)


def spoil(path: Path, how: int) -> None:
    """Damage a file: cut it, flip a bit, or lose it."""
    with suppress(FileNotFoundError):
        content = bytearray(path.read_bytes())
        if how == 0 or not content:
            path.unlink()
        elif how == 1:
            path.write_bytes(content[: len(content) // 2])
        else:
            content[-1] ^= 1
            path.write_bytes(content)
