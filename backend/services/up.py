"""`meshtune up`: API, worker and dashboard as child processes that start and stop together."""

import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import httpx

from meshtune.backend.services.announced import module_of

HOST = "127.0.0.1"
START_S = 120.0  # the first start on a slow disk compiles every package
LOOK_S = 0.2  # between looks at the children
TICK_S = 0.05  # between looks for a signal
KILL_S = 5.0  # between the second request to stop and the end
PR_SET_PDEATHSIG = 1  # from linux/prctl.h
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class PartDied(Exception):
    """A part of Meshtune stopped by itself; the message says which, how and what it said last."""


class AlreadyUp(Exception):
    """Another `meshtune up` works on the same state folder; the message says where it answers."""


@dataclass(frozen=True)
class Part:
    """A process to run, and where it answers once it is ready."""

    name: str
    command: tuple[str, ...]
    health_url: str | None = None


@dataclass(frozen=True)
class Child:
    """A started part."""

    part: Part
    process: subprocess.Popen[bytes]
    log: Path


def parts_of(port: int, api_port: int) -> list[Part]:
    """API, worker and dashboard, as commands of this Python.

    Raises:
        NotAnnounced: no dashboard is installed.
    """
    api_url = f"http://{HOST}:{api_port}"
    api = ("meshtune.backend.serve", f"--host={HOST}", f"--port={api_port}")
    dashboard = (module_of("dashboard"), f"--port={port}", f"--host={HOST}", f"--api-url={api_url}")
    return [
        Part("api", _python(*api), f"{api_url}/health/live"),
        Part("worker", _python("meshtune.backend.commands.main", "worker")),
        Part("dashboard", _python(*dashboard), f"http://{HOST}:{port}/_stcore/health"),
    ]


def taken(port: int) -> bool:
    """Whether another program listens on `port`."""
    with socket.socket() as probe:
        # As the servers do: the ghost of an own earlier connection is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


@contextmanager
def sole(folder: Path, address: str) -> Iterator[None]:
    """Be the only `meshtune up` of a state folder: two would share its logs and its runs.

    The lock is the system's, so it is gone with its process however that ends.

    Raises:
        AlreadyUp: another one holds the folder.
    """
    with (folder / "up.lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise AlreadyUp(
                f"Meshtune is up on the folder {folder} already: {file.read().strip()}; "
                "open that, or set MESHTUNE_STATE_DIR to another folder"
            ) from error
        file.truncate(0)
        file.write(address)
        file.flush()
        yield


class Asked:
    """Whether somebody asked to stop.

    A plain flag. The lock of a `threading.Event` is held for moments while it waits and is set,
    and a signal that comes in such a moment would wait for it for ever.
    """

    def __init__(self) -> None:
        self.heard = False

    def note(self, _number: int, _frame: FrameType | None) -> None:
        """Handle a signal."""
        self.heard = True

    def clear(self) -> None:
        """Forget it; the next one counts anew."""
        self.heard = False

    def wait(self, seconds: float) -> bool:
        """Whether somebody asked, within that time."""
        until = time.monotonic() + seconds
        while not self.heard and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, TICK_S))
        return self.heard


def keep_up(
    parts: Sequence[Part], logs: Path, on_ready: Callable[[], None], *, grace_s: float
) -> None:
    """Run the parts until a signal asks to stop; then, or when one dies, stop them all.

    Args:
        parts: what to run; each in a process group of its own.
        logs: folder for what the parts print.
        on_ready: called once, when every part answers.
        grace_s: how long a part may take to stop; another signal ends the patience.

    Raises:
        PartDied: a part stopped by itself, or never answered.
    """
    with asked_to_stop() as asked:
        children: list[Child] = []
        try:
            children += (_start(part, logs) for part in parts)  # keeps those before one that fails
            if _ready(children, asked):
                on_ready()
            while not asked.wait(LOOK_S):
                _require_alive(children)
        finally:
            asked.clear()
            _stop(children, asked, grace_s)


@contextmanager
def asked_to_stop() -> Iterator[Asked]:
    asked = Asked()
    before = {number: signal.signal(number, asked.note) for number in SIGNALS}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(part: Part, logs: Path) -> Child:
    log = logs / f"{part.name}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            part.command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the terminal is for us to pass on, in order
            preexec_fn=_die_with_parent,
        )
    return Child(part, process, log)


def _ready(children: Sequence[Child], asked: Asked) -> bool:
    """Whether every part answered before somebody asked to stop."""
    until = time.monotonic() + START_S
    waiting = [child for child in children if child.part.health_url]
    with httpx.Client(trust_env=False, timeout=2.0) as client:  # never ask a proxy for this machine
        while waiting:
            _require_alive(children)
            waiting = [child for child in waiting if not _answers(client, child)]
            if waiting and time.monotonic() > until:
                child = waiting[0]
                raise PartDied(f"{_name(child)} gave no answer in {START_S:g} s; see {child.log}")
            if asked.wait(LOOK_S):
                return False
    return True


def _answers(client: httpx.Client, child: Child) -> bool:
    try:
        return client.get(str(child.part.health_url)).is_success
    except httpx.HTTPError:
        return False


def _require_alive(children: Sequence[Child]) -> None:
    for child in children:
        code = child.process.poll()
        if code is not None:
            how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
            lines = child.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            said = f": {lines[-1]}" if lines else ""
            raise PartDied(f"{_name(child)} stopped ({how}){said}; see {child.log}")


def _stop(children: Sequence[Child], asked: Asked, grace_s: float) -> None:
    """Ask every part to stop, then again, then end what is left of their process groups."""
    for patience_s in (grace_s, KILL_S):
        # The leader alone: at the first signal a worker finishes the round that its own child
        # trains, at the second it gives the run back at once.
        for child in children:
            child.process.terminate()
        until = time.monotonic() + patience_s
        while time.monotonic() < until and not asked.wait(LOOK_S / 4):
            if all(child.process.poll() is not None for child in children):
                break
    for child in children:
        with suppress(ProcessLookupError, PermissionError):  # nothing is left of the group
            os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()


def _name(child: Child) -> str:
    return "the API" if child.part.name == "api" else f"the {child.part.name}"


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    # Should this process be killed outright, its children must not live on and hold the ports.
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
