"""The storm: what is done to workers, services, disk and database while runs are trained."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
from sqlalchemy import Engine

from meshtune.backend.services.up import parts_of
from meshtune.backend.settings import Settings, open_store
from meshtune.db import runs, steering
from meshtune.db.errors import IllegalTransition, StoreUnavailable
from meshtune.db.models import Run
from meshtune.db.session import reading, writing
from meshtune.engine.records import RunStatus
from tests.support.ports import free_port
from tests.support.workers import ShippedWorker, start
from tests.torture import weather
from tests.torture.plans import plan, twins
from tests.torture.watch import Watch, config_of, difference, undone

WORKERS = 2
OPEN_RUNS = 4
LEASE_S = 5.0
TWIN_S = 45.0  # kept for the end: to finish what is open and train the twins
HUNG_S = 240.0  # without any new round, in fair weather
BUSY_S = 15.0  # a kill need not wait longer for rounds
ROUNDS_BETWEEN = 3  # kills, so that each finds something to interrupt


@dataclass(frozen=True)
class Wish:
    """How hard, how long, with which dice."""

    kills: int
    seconds: float
    rounds: int
    seed: int
    lock_s: float


class Service:
    """API or dashboard, started again after each kill."""

    def __init__(self, settings: Settings, command: tuple[str, ...], health: str, log: Path):
        self.settings, self.command, self.health, self.log = settings, command, health, log
        self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        return start(self.settings, list(self.command[1:]), self.log)

    def answers(self) -> bool:
        """Whether it is well."""
        try:
            return httpx.get(self.health, timeout=5.0).is_success
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        """Kill it, and start it again as a supervisor of services would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = self._started()

    def stop(self) -> None:
        """For good."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Storm:
    """Everything that runs, and what was done to it."""

    def __init__(self, wish: Wish, folder: Path) -> None:
        self.wish, self.folder = wish, folder
        self.dice = random.Random(wish.seed)
        self.began = time.monotonic()
        self.done: Counter[str] = Counter()
        self.queued = 0
        self.spells: list[threading.Thread] = []
        self.troubles: list[str] = []

    def run(self) -> int:
        """The whole of it; the exit code."""
        logs = self.folder / "logs"
        logs.mkdir()
        state = self.folder / "state"
        with weather.small_disk(state) as self.own_disk:
            # Nice workers would wait for whatever else a busy machine does, twins included.
            self.settings = Settings(
                state_dir=state, lease_s=LEASE_S, poll_s=0.1, grace_s=2.0, worker_nice=0
            )
            self.store: Engine = open_store(self.settings)
            self.watch = Watch(self.store)
            disk = f"{weather.DISK_MB} MB of its own" if self.own_disk else "limited file sizes"
            self.say(f"seed {self.wish.seed}, disk: {disk}")
            self.workers = [ShippedWorker(self.settings, logs) for _ in range(WORKERS)]
            self.services = self._services(logs)
            self.logs = logs
            try:
                self._blow()
                self._calm()
                return self._judge()
            finally:
                for process in (*self.workers, *self.services):
                    with suppress(ProcessLookupError):
                        os.killpg(process.process.pid, signal.SIGCONT)
                        os.killpg(process.process.pid, signal.SIGKILL)
                    process.process.wait()
                self.store.dispose()

    def say(self, words: str) -> None:
        """A line of progress."""
        _print(f"[{time.monotonic() - self.began:6.1f} s] {words}")

    @property
    def kills(self) -> int:
        """Kills of workers: of a supervisor with all it has, or of one child."""
        return self.done["child killed"] + self.done["worker killed"]

    # The three parts

    def _blow(self) -> None:
        faults = self._faults()
        every = max(1, self.wish.kills // (2 * len(faults)))  # each fault about twice
        waiting = self.dice.sample(faults, len(faults)) * 2
        shown = 0
        while self.kills < self.wish.kills or waiting[len(faults) :]:
            if time.monotonic() - self.began > self.wish.seconds - TWIN_S:
                break
            self._feed()
            before = self.watch.rounds
            self._kill_worker()
            if waiting and self.kills // every > shown and not self._spell():
                shown = self.kills // every
                name, fault = waiting.pop()
                self.done[name] += 1
                self.spells = [threading.Thread(target=self._cast, args=(fault,), daemon=True)]
                self.spells[0].start()
            self._await_rounds(before)
            time.sleep(self.dice.uniform(0.0, 1.0))  # at any instant of a round
            if self.kills % 10 == 0:
                self.say(f"{self.kills} kills, {self.watch.rounds} rounds, {dict(self.done)}")

    def _calm(self) -> None:
        for spell in self.spells:
            spell.join()
        self.say(f"calm after {dict(self.done)}")
        progress, since = -1, time.monotonic()
        while left := undone(self.store):
            self._revive()
            for run in left:
                if run.status is RunStatus.PAUSED:
                    with writing(self.store) as session:
                        steering.request_resume(session, run.id)
            self.watch.look()
            if self.watch.rounds > progress:
                progress, since = self.watch.rounds, time.monotonic()
            if time.monotonic() - since > HUNG_S:
                self.troubles.append(f"{len(left)} runs make no progress")
                return
            time.sleep(0.2)
            self._retry()

    def _judge(self) -> int:
        self.watch.look()
        for service in self.services:
            until = time.monotonic() + HUNG_S
            while not service.answers():
                if time.monotonic() > until:
                    self.troubles.append(f"{service.health} does not answer")
                    break
                time.sleep(0.5)
        for process in (*self.workers, *self.services):
            os.killpg(process.process.pid, signal.SIGKILL)  # the twins need the processor
        twin, differing = twins(), 0
        with reading(self.store) as session:
            everything = runs.listed(session, limit=500)
        for run in everything:
            if (found := difference(self.store, run, twin(config_of(self.store, run)))) is not None:
                differing += 1
                self.troubles.append(f"run {run.id} ({run.method}) differs: {found}")
                self._tell(run)
        told = self._told(everything)
        self.say(
            f"{len(everything)} runs compared; claimed {told[RunStatus.RUNNING]} times, "
            f"{told['recovered']} times from an older checkpoint"
        )
        for trouble in self.troubles:
            self.say(trouble)
        if self.kills < self.wish.kills:
            self.troubles.append("too few kills")
            self.say(f"only {self.kills} of {self.wish.kills} kills in the time given")
        lost, doubled = self.watch.lost, self.watch.doubled
        _print(
            f"kills={self.kills} rounds={self.watch.rounds} "
            f"lost={lost} doubled={doubled} differing={differing}"
        )
        return 1 if lost or doubled or differing or self.troubles else 0

    def _tell(self, run: Run) -> None:
        with reading(self.store) as session:
            for event in runs.events(session, run.id):
                self.say(f"  run {run.id}: {event.kind} by {event.actor}: {event.detail}")

    def _told(self, everything: list[Run]) -> Counter[str]:
        with reading(self.store) as session:
            return Counter(e.kind for run in everything for e in runs.events(session, run.id))

    # Keeping it going

    def _services(self, logs: Path) -> list[Service]:
        port, api_port = free_port(), free_port()
        return [
            Service(self.settings, part.command, part.health_url, logs / f"{part.name}.log")
            for part in parts_of(port, api_port)
            if part.health_url is not None
        ]

    def _feed(self) -> None:
        self._revive()
        try:
            self.watch.look()
            self._retry()
            while len(undone(self.store)) < OPEN_RUNS:
                with writing(self.store) as session:
                    runs.create(session, plan(self.queued, self.wish.rounds))
                self.queued += 1
        except StoreUnavailable:
            pass  # the weather

    def _retry(self) -> None:
        """A run that lost five workers before its first round has failed by right."""
        with reading(self.store) as session:
            failed = runs.listed(session, limit=500, status=[RunStatus.FAILED])
        for run in failed:
            if run.reason is not None and run.reason.startswith("gave up"):
                self.done["retried"] += 1
                with writing(self.store) as session:
                    steering.retry(session, run.id)

    def _revive(self) -> None:
        for place, worker in enumerate(self.workers):
            if worker.process.poll() is not None:
                self.workers[place] = ShippedWorker(self.settings, self.logs)

    def _await_rounds(self, before: int) -> None:
        """Until runs have gone on, or it takes too long."""
        until = time.monotonic() + BUSY_S
        while self.watch.rounds < before + ROUNDS_BETWEEN and time.monotonic() < until:
            time.sleep(0.2)
            self._feed()

    def _cast(self, fault: Callable[[], None]) -> None:
        try:
            fault()
        except Exception as error:  # a fault of the storm itself must not pass for fair weather
            self.troubles.append(f"{type(error).__name__}: {error}")

    def _spell(self) -> bool:
        return any(spell.is_alive() for spell in self.spells)

    def _pids(self) -> list[int]:
        own = [worker.process.pid for worker in self.workers]
        return own + [child for worker in self.workers for child in worker.children()]

    # What is done to it

    def _kill_worker(self) -> None:
        """One child, busy or spare, or a supervisor with all its children."""
        place = self.dice.randrange(WORKERS)
        worker = self.workers[place]
        if not (children := worker.children()):
            return  # it has hardly begun
        if self.dice.random() < 0.85:
            # The oldest is the one that trains.
            child = min(children) if self.dice.random() < 0.8 else self.dice.choice(children)
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
                self.done["child killed"] += 1
        elif worker.process.poll() is None:
            worker.process.kill()
            worker.process.wait()
            self.done["worker killed"] += 1
            self.workers[place] = ShippedWorker(self.settings, self.logs)

    def _faults(self) -> list[tuple[str, Callable[[], None]]]:
        api, dashboard = self.services
        return [
            ("api killed", api.kill),
            ("dashboard killed", dashboard.kill),
            ("worker slept", self._sleep),
            ("database locked", lambda: weather.lock(self.store, self.wish.lock_s)),
            ("disk full", self._full),
            ("read-only", self._read_only),
            ("checkpoint spoiled", self._spoil),
            ("run paused", self._pause),
        ]

    def _sleep(self) -> None:
        """A worker sleeps through its lease and wakes as if nothing had been."""
        worker = self.dice.choice(self.workers)
        asleep = [worker.process.pid, *worker.children()]
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in asleep:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            if number == signal.SIGSTOP:
                time.sleep(LEASE_S + 2.0)

    def _full(self) -> None:
        if self.own_disk:
            weather.fill(self.settings.state_dir, 5.0)
        else:
            weather.choke(self._pids, 5.0)

    def _read_only(self) -> None:
        with weather.read_only(self.settings.state_dir):
            time.sleep(5.0)

    def _spoil(self) -> None:
        """The newest checkpoint of a run is damaged and its worker killed."""
        until = time.monotonic() + BUSY_S
        while (run := self._running()) is None and time.monotonic() < until:
            time.sleep(0.1)
        if run is None or run.checkpoint is None or run.owner is None:
            return
        self.done["spoiled"] += 1
        weather.spoil(self.settings.checkpoint_dir / run.checkpoint, self.dice.randrange(3))
        for worker in self.workers:
            if f"/{worker.process.pid}/" in run.owner:
                for child in worker.children():
                    with suppress(ProcessLookupError):
                        os.kill(child, signal.SIGKILL)

    def _pause(self) -> None:
        run = self._running()
        if run is None:
            return
        with suppress(IllegalTransition, StoreUnavailable):
            with writing(self.store) as session:
                steering.request_pause(session, run.id)
            time.sleep(3.0)
            with writing(self.store) as session:
                steering.request_resume(session, run.id)

    def _running(self) -> Run | None:
        with reading(self.store) as session:
            found = runs.listed(session, limit=10, status=[RunStatus.RUNNING])
        far = [run for run in found if run.rounds_done >= 2]
        return self.dice.choice(far) if far else None


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
