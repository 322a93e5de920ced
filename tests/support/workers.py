"""Real worker processes, for tests that kill them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine

from meshtune.backend.settings import Settings
from meshtune.db import rounds, runs
from meshtune.db.models import Run
from meshtune.db.session import reading
from meshtune.engine.config import RunConfig
from meshtune.engine.records import RoundRecord, RunStatus
from tests.support.builders import tiny_config

PATIENCE_S = 120.0  # a loaded machine loads an engine slowly
REPOSITORY = Path(__file__).parents[2]
FAKE = "from tests.support.fake_engine import load"
BROKEN = "from tests.support.fake_engine import load_and_break as load"
REAL = "from meshtune.backend.training.engine import load_engine as load"


class WorkerProcess:
    """A supervisor in a process of its own, with its children."""

    def __init__(self, settings: Settings, engine: str = FAKE) -> None:
        code = (
            f"import sys; from meshtune.backend.training.supervisor import main; {engine}\n"
            "if __name__ == '__main__': sys.exit(main(load=load))"
        )
        self.log = settings.state_dir / f"worker-{time.monotonic_ns()}.log"
        self.process = start(settings, ["-c", code], self.log)

    def children(self) -> list[int]:
        """Numbers of the processes that train or wait to."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
                command = stat.with_name("cmdline").read_bytes()
            except OSError:
                continue  # it just ended
            if int(fields[1]) == self.process.pid and b"spawn_main" in command:
                found.append(int(stat.parent.name))
        return found

    def said(self) -> str:
        """Its log."""
        return self.log.read_text(encoding="utf-8")

    def loaded(self) -> list[int]:
        """Numbers of the processes that have loaded the engine, in that order."""
        return [int(pid) for pid in re.findall(r"process (\d+) has loaded", self.said())]

    def trainers(self) -> list[int]:
        """Numbers of the processes that were given a run, in that order."""
        return [int(pid) for pid in re.findall(r"claimed, .* by process (\d+)", self.said())]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


class ShippedWorker(WorkerProcess):
    """`meshtune worker`, as people start it."""

    def __init__(self, settings: Settings, logs: Path) -> None:
        self.log = logs / f"worker-{time.monotonic_ns()}.log"
        self.process = start(settings, ["-m", "meshtune.backend.commands.main", "worker"], self.log)


def start(settings: Settings, arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    """A Python of our own with these settings; what it says goes to `log`."""
    shown = json.loads(settings.model_dump_json(exclude_none=True))
    given = {f"MESHTUNE_{name.upper()}": str(value) for name, value in shown.items()}
    with log.open("wb") as said:
        return subprocess.Popen(
            [sys.executable, *arguments],
            env=os.environ | given,
            cwd=REPOSITORY,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )


@contextmanager
def worker(settings: Settings, engine: str = FAKE) -> Iterator[WorkerProcess]:
    """A worker for the time of a block; nothing of it is left behind."""
    started = WorkerProcess(settings, engine)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()
            started.process.wait()


def wait_until(true: Callable[[], bool], what: str) -> None:
    """Look often; fail with `what` was waited for."""
    patience = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < patience, f"waited in vain for {what}"
        time.sleep(0.02)


def look(store: Engine, run_id: int) -> Run:
    """The run as it stands."""
    with reading(store) as session:
        return runs.get(session, run_id)


def await_end(store: Engine, run_id: int) -> Run:
    """The run, once it has ended."""
    wait_until(lambda: look(store, run_id).finished_at is not None, f"the end of run {run_id}")
    return look(store, run_id)


def await_rounds(store: Engine, run_id: int, rounds: int) -> None:
    """Return once so many rounds are stored."""
    wait_until(lambda: look(store, run_id).rounds_done >= rounds, f"round {rounds}")


def starts(store: Engine, run_id: int) -> int:
    """How often the run was claimed."""
    with reading(store) as session:
        return sum(e.kind == RunStatus.RUNNING for e in runs.events(session, run_id))


def records(store: Engine, run_id: int) -> list[RoundRecord]:
    """All rounds, without the time they took."""
    with reading(store) as session:
        found = rounds.listed(session, run_id)
    return [record.model_copy(update={"wall_s": 0.0}) for record in found]


def long_config(**changes: object) -> RunConfig:
    """A run that lasts long enough to be disturbed."""
    return tiny_config(rounds=12, training__local_steps=10, seed=5, **changes)
