"""The process that trains one run: the only one that loads torch.

It is spawned empty, loads the engine, says `Ready` and waits for a claim on its pipe. It stores
its rounds itself; all else (lease, status, cancel) is the business of its supervisor.
"""

import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from meshtune.backend.services import logs
from meshtune.backend.settings import Settings
from meshtune.backend.training.artefacts import ArtefactSettings, Kept, open_artefacts
from meshtune.backend.training.engine import Finished, Start, Training
from meshtune.backend.training.orders import Ended, Order, Outcome, Progress, Ready, Stored
from meshtune.db import leases, rounds
from meshtune.db.errors import ClaimLost, StoreUnavailable
from meshtune.db.session import open_engine, reading, writing
from meshtune.engine.errors import (
    CheckpointError,
    EngineError,
    Interrupted,
    NumericsError,
)
from meshtune.engine.records import RoundRecord, RunStatus
from meshtune.engine.unmixed import UnmixedWatch

log = logging.getLogger(__name__)

PROGRESS_EVERY_S = 0.2
STORE_PATIENCE_S = 300.0  # a locked database or a full disk may recover; the lease decides
STORE_RETRY_S = 1.0
PR_SET_PDEATHSIG = 1
AUTOGROUP = Path("/proc/self/autogroup")
AUTOGROUP_TRIES = 20

T = TypeVar("T")


def main(
    pipe: Connection, settings: Settings, load: Callable[[], Start], supervisor_pid: int
) -> None:
    """Load the engine, wait for one claim, train it, say how it ended."""
    _die_with(supervisor_pid)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the group; the supervisor decides
    logs.set_up(settings.log)
    _give_way(settings.worker_nice)
    _share_processor(settings.worker_slots)
    start = load()
    store = open_engine(settings.store_url)
    try:
        pipe.send(Ready())
        claim = pipe.recv()
        pipe.send(Trainer(pipe, settings, store, claim).work(start))
    except (EOFError, BrokenPipeError):
        log.warning("the supervisor is gone; stopping")
    finally:
        store.dispose()


class Trainer:
    """One claim being worked on."""

    def __init__(
        self, pipe: Connection, settings: Settings, store: Engine, claim: leases.Claim
    ) -> None:
        self.pipe = pipe
        self.settings = settings
        self.store = store
        self.claim = claim
        self.keep_checkpoints = ArtefactSettings().keep_checkpoints
        self.artefacts = open_artefacts(settings)
        self.told_at = 0.0
        self.finish_round = False
        self.differed = False  # a round that was trained again came out otherwise
        self.unmixed = UnmixedWatch(claim.config)
        self.kept: list[str] = []  # oldest first; the last is the one that the run points to

    def work(self, start: Start) -> Ended:
        """Train until the run ends or has to stop. The outcome is a value, never a crash."""
        try:
            return self._work(start)
        except Interrupted:
            return Ended(Outcome.INTERRUPTED)
        except ClaimLost as error:
            return Ended(Outcome.CLAIM_LOST, str(error))
        except StoreUnavailable as error:
            return Ended(Outcome.STORE_LOST, str(error))
        except NumericsError as error:
            return Ended(RunStatus.DIVERGED, str(error))
        except EngineError as error:
            return Ended(RunStatus.FAILED, str(error))
        except (EOFError, BrokenPipeError):
            raise
        except Exception as error:
            log.exception("run %d failed", self.claim.run_id)
            return Ended(RunStatus.FAILED, f"{type(error).__name__}: {error}")

    def _work(self, start: Start) -> Ended:
        self._patiently(self._tidy)
        training = self._resumed(start)
        self._store(lambda s: leases.record_provenance(s, self.claim, training.provenance))
        for finished in training.rounds(self.check):
            index = finished.record.round_index
            asked = False
            if index < self.claim.rounds_done:
                self._relive(finished)
            else:
                asked = self._keep(finished)
                self.pipe.send(Stored(index))
                self._warn(finished.record)
            self._hear()
            last = index + 1 == self.claim.config.rounds
            if (asked or self.finish_round) and not last:
                return Ended(Outcome.INTERRUPTED)
        return Ended(RunStatus.COMPLETED)

    # Going on

    def _tidy(self) -> None:
        """Keep the newest checkpoints of the run that belong to stored rounds.

        Others are left over from workers that died between file and row. Files of a later claim
        stay: then this claim is lost, and will find out.
        """
        claim, found = self.claim, self.artefacts.of_run(self.claim.run_id)
        usable = [f for f in found if f.round_index < claim.rounds_done and not f.partial]
        # Of one round, the file that the run points to is the newest.
        usable.sort(key=lambda f: (f.round_index, f.name == claim.checkpoint, f.fence))
        newest = usable[-self.keep_checkpoints :]
        self.kept = [file.name for file in newest]
        for file in found:
            if file not in newest and file.fence < claim.fence:
                self.artefacts.drop(file.name)

    def _resumed(self, start: Start) -> Training:
        """The run as its newest readable checkpoint has it.

        Rounds after an older one, or all, are trained again to get back to where the run stands.
        """
        claim = self.claim
        if claim.checkpoint is None:
            return start(claim.config, None)
        trouble: str | None = None
        spare = [name for name in self.kept if name != claim.checkpoint]
        self.kept = [*spare, claim.checkpoint]
        for name in reversed(self.kept.copy()):
            try:
                training = self._patiently(partial(self._started, start, name))
            except CheckpointError as error:
                trouble = trouble or str(error)
                self.kept.remove(name)
                if name != claim.checkpoint:  # that one is written again
                    self.artefacts.drop(name)
                continue
            if trouble is not None:
                self._note(f"{trouble}; goes on from {name} and trains later rounds again")
            return training
        self._note(f"{trouble}; no other is left, so all rounds are trained again")
        return start(claim.config, None)

    def _started(self, start: Start, name: str) -> Training:
        with self.artefacts.fetched(name) as path:
            return start(self.claim.config, path)

    def _relive(self, finished: Finished) -> None:
        """Keep the checkpoint of a round that is stored already; the stored record stays."""
        claim, record = self.claim, finished.record
        index = record.round_index
        newest = index + 1 == claim.rounds_done
        self._save(claim.checkpoint if newest and claim.checkpoint else self._name(index), finished)
        self._forget()
        stored = self._patiently(partial(self._stored, index))
        if not self.differed and stored.model_copy(update={"wall_s": record.wall_s}) != record:
            self.differed = True
            self._note(
                f"round {index + 1}, trained again, differs from the stored one; "
                "the run goes on from the new state"
            )

    def _stored(self, round_index: int) -> RoundRecord:
        with reading(self.store) as session:
            [record] = rounds.listed(session, self.claim.run_id, after=round_index - 1, limit=1)
        return record

    def _note(self, detail: str, kind: str = "recovered") -> None:
        log.warning("run %d: %s", self.claim.run_id, detail)
        self._store(lambda s: leases.note(s, self.claim, kind, detail))

    def _warn(self, record: RoundRecord) -> None:
        """Say it among the events when messages are paid for and change nobody."""
        warning = self.unmixed.look(record)
        if warning is not None:
            self._note(warning, "warning")

    # Obeying

    def check(self, progress: float) -> None:
        """Called by the engine before each step: obey, and say how far it is.

        Raises:
            Interrupted: the supervisor said stop.
        """
        self._hear()
        now = time.monotonic()
        if now - self.told_at >= PROGRESS_EVERY_S:
            self.told_at = now
            self.pipe.send(Progress(progress))

    def _hear(self) -> None:
        while self.pipe.poll():
            order = self.pipe.recv()
            if order is Order.STOP:
                raise Interrupted(order.value)
            self.finish_round = True

    # Storing

    def _keep(self, finished: Finished) -> bool:
        """File first, then the pointer to it together with the round; whether to stop."""
        claim, record = self.claim, finished.record
        name = self._name(record.round_index)
        self._save(name, finished)
        lease_s = self.settings.lease_s
        asked = self._store(lambda s: leases.append_round(s, claim, record, name, lease_s=lease_s))
        self._forget()
        return asked

    def _forget(self) -> None:
        while len(self.kept) > self.keep_checkpoints:
            self.artefacts.drop(self.kept.pop(0))

    def _save(self, name: str, finished: Finished) -> None:
        self._patiently(lambda: self.artefacts.keep(name, finished.save))
        if name not in self.kept:
            self.kept.append(name)

    def _name(self, round_index: int) -> str:
        return Kept(self.claim.run_id, round_index, self.claim.fence).name

    def _store(self, write: Callable[[Session], T]) -> T:
        """One transaction, patiently."""

        def transaction() -> T:
            with writing(self.store) as session:
                return write(session)

        return self._patiently(transaction)

    def _patiently(self, act: Callable[[], T]) -> T:
        """The result; tried again while a database is locked, a disk full or a store away."""
        patience = time.monotonic() + STORE_PATIENCE_S
        while True:
            try:
                return act()
            except StoreUnavailable as error:
                if time.monotonic() > patience:
                    raise
                log.warning("run %d waits: %s", self.claim.run_id, error)
            time.sleep(STORE_RETRY_S)
            self._hear()


def _share_processor(slots: int) -> None:
    """Threads of torch that get along with others on this machine; before torch is loaded."""
    # Threads that spin while they wait stall one another as soon as anything else runs: building
    # a small world took 10 s so and 0.2 s without, beside three busy processes on two cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if slots > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // slots)))


def _give_way(nice: int) -> None:
    """Let everything else on this machine go first; free where nothing else wants to run.

    The supervisor keeps its priority: a lease must not run out because somebody looks at a page.
    """
    if nice == 0 or sys.platform == "win32":
        return
    os.nice(nice)
    # Where Linux groups processes by session, as on desktops, niceness counts within a session
    # only: this process takes one of its own and makes that as nice.
    if not AUTOGROUP.exists():
        return
    with suppress(OSError):
        os.setsid()
        for _ in range(AUTOGROUP_TRIES):
            with suppress(BlockingIOError):  # without privileges ten a second, of all together
                AUTOGROUP.write_text(str(nice), encoding="ascii")
                break
            time.sleep(0.1)


def _die_with(supervisor_pid: int) -> None:
    """No orphan keeps training when its supervisor is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor_pid:  # it died before the line above
        sys.exit(1)
