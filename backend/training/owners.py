"""Names of workers, as runs have them for owners, and what they tell of a process here."""

import os
import socket
from pathlib import Path

STOPPED = frozenset("Tt")  # states of a process: by a signal, by a debugger


def worker_name() -> str:
    """Name of this process: machine, process namespace, number and start time."""
    return f"{_machine()}/{os.getpid()}/{_looked_up(os.getpid())[0]}"


def is_dead(owner: str) -> bool:
    """Whether `owner` was a worker on this machine whose process is gone."""
    pid, started = _here(owner)
    return bool(started) and _looked_up(pid)[0] != started


def is_awake(owner: str) -> bool:
    """Whether `owner` is a worker on this machine whose process runs and was not stopped."""
    pid, started = _here(owner)
    found, state = _looked_up(pid) if started else ("", "")
    return bool(started) and found == started and state not in STOPPED


def _here(owner: str) -> tuple[int, str]:
    """Process and start time of a worker of this machine; (0, "") for others."""
    machine, _, process = owner.partition("/")
    pid, _, started = process.partition("/")
    if machine != _machine() or not pid.isdigit():
        return 0, ""
    return int(pid), started  # no start time: a system without /proc, its lease will tell


def _machine() -> str:
    # Containers may share a host name; process numbers mean the same in one namespace only.
    try:
        namespace = os.readlink("/proc/self/ns/pid").strip("pid:[]")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
    except OSError:
        return socket.gethostname()
    return f"{socket.gethostname()}-{boot}-{namespace}"


def _looked_up(pid: int) -> tuple[str, str]:
    """Start time of a process in clock ticks, and its state; both empty without it or /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return "", ""
    state, *rest = stat.rpartition(")")[2].split()
    return ("", state) if state == "Z" else (rest[18], state)
