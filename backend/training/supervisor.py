"""The worker: a light supervisor that claims runs, and one child process per run that trains.

The supervisor holds the lease (heartbeat), watches for pause and cancel, and can end a child that
does not obey. It never loads torch. One spare child waits with the engine loaded, so that a run
starts at once. First SIGTERM or Ctrl-C: children finish their round and the runs go back to the
queue; second: at once.
"""

import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import wait
from types import FrameType

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from meshtune.backend.services import logs
from meshtune.backend.settings import Settings, open_store
from meshtune.backend.training import trainer
from meshtune.backend.training.artefacts import open_artefacts
from meshtune.backend.training.children import Child
from meshtune.backend.training.engine import Start, load_engine
from meshtune.backend.training.orders import (
    Ended,
    Message,
    Order,
    Outcome,
    Progress,
    Ready,
    Stored,
)
from meshtune.backend.training.owners import is_awake, is_dead, worker_name
from meshtune.db import leases, steering
from meshtune.db.errors import ClaimLost, StoreUnavailable
from meshtune.db.models import Wanted
from meshtune.db.session import reading, writing
from meshtune.engine.records import RunStatus

log = logging.getLogger(__name__)

PROGRESS_BEAT_S = 1.0  # how often progress inside a round is stored
SPAWN_RETRY_MAX_S = 30.0
EXIT_PATIENCE_S = 2.0
LOAD_MAX_S = 600.0  # a process that has not loaded the engine by then never will
PURGE_EVERY_S = 600.0  # runs that were deleted a day ago may wait that much longer


def main(settings: Settings | None = None, load: Callable[[], Start] = load_engine) -> int:
    """Work on queued runs until told to stop; the exit code."""
    chosen = settings or Settings()
    logs.set_up(chosen.log)
    try:
        open_artefacts(chosen)  # an address that cannot be used is told here, in one sentence
        store = open_store(chosen)
    except StoreUnavailable as error:
        sys.stderr.write(f"{error}\n")
        return 1
    supervisor = Supervisor(chosen, store, load)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, supervisor.on_signal)
    try:
        supervisor.run()
    finally:
        store.dispose()
    return 0


class Supervisor:
    """One worker: its slots, its children, its leases."""

    def __init__(
        self, settings: Settings, store: Engine, load: Callable[[], Start] = load_engine
    ) -> None:
        self.settings = settings
        self.store = store
        self.load = load
        self.name = worker_name()
        self.children: list[Child] = []
        self.unsettled: list[Callable[[Session], object]] = []
        self.signals = 0
        self.alive_at = float("-inf")
        self.purge_at = time.monotonic()
        self.spawn_at = 0.0
        self.spawn_failures = 0

    def on_signal(self, number: int, _frame: FrameType | None = None) -> None:
        """First: finish the rounds and leave. Second: leave."""
        self.signals += 1

    def run(self) -> None:
        """Work until told to stop and done."""
        log.info("worker %s waits for runs", self.name)
        try:
            while self.signals < 2 and not (self.signals and not self._busy()):
                self._stay_alive()
                self.purge()
                self._stock()
                self._listen()
                self._tend()
                self._settle()
                if self.signals:
                    self._wind_down()
                else:
                    self._claim()
        finally:
            self._leave()

    # Children

    def _busy(self) -> list[Child]:
        return [child for child in self.children if child.claim is not None]

    def _idle(self) -> list[Child]:
        return [child for child in self.children if child.claim is None]

    def _stock(self) -> None:
        """Keep a process ready for each free slot, and one spare for the next run."""
        busy, idle = self._busy(), self._idle()
        for child in idle:
            if not child.ready and time.monotonic() - child.heard_at > LOAD_MAX_S:
                child.process.kill()  # its death is heard of next
        # The spare is not put off until the first round is stored: if that process died before, the
        # next would have to load the engine first, and where a round takes no longer than loading
        # nothing would ever be finished.
        wanted = max(self.settings.worker_slots - len(busy), 1)
        if self.signals or len(idle) >= wanted or time.monotonic() < self.spawn_at:
            return
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=trainer.main, args=(theirs, self.settings, self.load, os.getpid()), daemon=True
        )
        try:
            process.start()
        except OSError as error:  # no memory or no process left
            self._no_spawn(error.strerror or str(error))
            return
        finally:
            theirs.close()  # so that its death is an end of file
        self.children.append(Child(process, ours))

    def _listen(self) -> None:
        heard = wait([child.pipe for child in self.children], timeout=self.settings.poll_s)
        for child in [child for child in self.children if child.pipe in heard]:
            try:
                while child in self.children and child.pipe.poll():
                    self._hear(child, child.pipe.recv())
            except (EOFError, OSError):
                self._died(child)

    def _hear(self, child: Child, message: Message) -> None:
        child.heard_at = time.monotonic()
        match message:
            case Ready():
                child.ready = True
                self.spawn_failures = 0
                log.info("process %s has loaded the engine", child.process.pid)
            case Progress(share):
                child.progress = share
                if not child.stepped:
                    child.stepped = True
                    waited_s = time.monotonic() - child.claimed_at
                    log.info("run %d: first step after %.2f s", _claim_of(child).run_id, waited_s)
            case Stored(round_index):
                child.progress = child.shown = 0.0
                child.beaten_at = child.heard_at  # storing a round renews the lease
                log.info("run %d: round %d stored", _claim_of(child).run_id, round_index)
            case Ended():
                self._ended(child, message)

    def _ended(self, child: Child, message: Ended) -> None:
        claim, outcome, reason = _claim_of(child), message.outcome, message.reason
        child.process.kill()  # all is stored; unloading torch would take seconds
        self._remove(child)
        log.info("run %d: %s%s", claim.run_id, outcome.value, f": {reason}" if reason else "")
        if isinstance(outcome, RunStatus):
            write = partial(leases.finish, claim=claim, status=outcome, reason=reason)
        elif outcome is Outcome.INTERRUPTED:
            write = partial(leases.release, claim=claim, reason="its worker was stopped")
        elif outcome is Outcome.STORE_LOST:
            write = partial(leases.report_loss, claim=claim, reason=reason or outcome.value)
        else:
            return
        self.unsettled.append(write)

    def _died(self, child: Child) -> None:
        """A child is gone without a last word."""
        claim = child.claim
        self._remove(child)
        code = child.process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        if claim is None and child.ready:
            log.warning("a spare process ended by %s", how)
            return
        if claim is None:
            self._no_spawn(how)
            return
        reason = child.killed_for or f"its training process ended by {how}"
        log.warning("run %d: %s", claim.run_id, reason)
        self.unsettled.append(partial(leases.report_loss, claim=claim, reason=reason))

    def _no_spawn(self, how: str) -> None:
        self.spawn_failures += 1
        pause_s = min(2.0**self.spawn_failures, SPAWN_RETRY_MAX_S)
        self.spawn_at = time.monotonic() + pause_s
        log.error("a process could not load the engine (%s); next try in %g s", how, pause_s)

    def _remove(self, child: Child) -> None:
        self.children.remove(child)
        child.process.join(EXIT_PATIENCE_S)
        if child.process.exitcode is None:
            child.process.kill()
            child.process.join()
        child.pipe.close()

    # Leases

    def _claim(self) -> None:
        ready = [child for child in self._idle() if child.ready]
        if not ready or len(self._busy()) >= self.settings.worker_slots:
            return
        with self._store_may_rest():
            with reading(self.store) as session:
                if not leases.work_waits(session, is_awake=is_awake):
                    return
            with writing(self.store) as session:
                claim = leases.claim_next(
                    session, self.name, lease_s=self.settings.lease_s, is_awake=is_awake
                )
            if claim is None:
                return
            ready[0].take(claim)
            pid = ready[0].process.pid
            log.info("run %d: claimed, attempt %d, by process %s", claim.run_id, claim.attempt, pid)

    def _tend(self) -> None:
        """Renew leases, pass on what people want, and end children that do not obey."""
        busy = self._busy()
        if not busy:
            return
        with self._store_may_rest():
            with reading(self.store) as session:
                wanted = leases.wanted(session, [_claim_of(child) for child in busy])
            for child in busy:
                want = wanted.get(_claim_of(child).run_id)
                if want is None:
                    self._kill(child, "its lease was lost")
                elif want is not Wanted.RUN:
                    child.tell(Order.STOP)
                self._beat(child)
        for child in busy:
            self._watch(child)

    def _beat(self, child: Child) -> None:
        now = time.monotonic()
        moved = child.progress != child.shown and now - child.beaten_at >= PROGRESS_BEAT_S
        if not moved and now - child.beaten_at < self.settings.lease_s / 5:
            return
        try:
            with writing(self.store) as session:
                leases.beat(
                    session,
                    _claim_of(child),
                    progress=child.progress,
                    lease_s=self.settings.lease_s,
                )
        except ClaimLost:
            self._kill(child, "its lease was lost")
        child.beaten_at, child.shown = now, child.progress

    def _watch(self, child: Child) -> None:
        now = time.monotonic()
        overdue_s = now - child.told_at if child.told is Order.STOP else 0.0
        if child.told is Order.STOP and not child.stepped:
            self._kill(child, "it was stopped before its first step")
        elif overdue_s > 2 * self.settings.grace_s:
            self._kill(child, "it did not stop when told")
        elif overdue_s > self.settings.grace_s:
            child.process.terminate()
        elif now - child.heard_at > self.settings.stall_s:
            self._kill(child, f"it made no step for {self.settings.stall_s:g} s")

    def _kill(self, child: Child, reason: str) -> None:
        child.killed_for = child.killed_for or reason
        child.process.kill()

    def _settle(self) -> None:
        """Write how runs ended; what cannot be written now is tried again."""
        waiting, self.unsettled = self.unsettled, []
        for position, write in enumerate(waiting):
            try:
                with writing(self.store) as session:
                    write(session)
            except ClaimLost as error:
                log.info("%s", error)
            except StoreUnavailable as error:
                log.warning("%s", error)
                self.unsettled = waiting[position:]
                return

    def _stay_alive(self) -> None:
        """Say that this worker lives, and take over from workers of this machine that do not."""
        now = time.monotonic()
        if now - self.alive_at < self.settings.lease_s / 5:
            return
        self.alive_at = now
        with self._store_may_rest(), writing(self.store) as session:
            leases.worker_beat(
                session,
                self.name,
                slots=self.settings.worker_slots,
                lease_s=self.settings.lease_s,
            )
            leases.requeue_stale(session, actor=self.name, is_dead=is_dead, is_awake=is_awake)

    def purge(self) -> None:
        """Remove for good what was deleted long ago, files first: rows lead to forgotten files."""
        if time.monotonic() < self.purge_at:
            return
        self.purge_at = time.monotonic() + PURGE_EVERY_S
        with self._store_may_rest(), writing(self.store) as session:
            artefacts = open_artefacts(self.settings)
            for run_id in steering.purge_deleted(session):
                for kept in artefacts.of_run(run_id):
                    artefacts.drop(kept.name)
                log.info("run %d: purged", run_id)

    @contextmanager
    def _store_may_rest(self) -> Iterator[None]:
        """A database that hiccups is no lost lease: the next turn tries again."""
        try:
            yield
        except StoreUnavailable as error:
            log.warning("%s", error)

    # The end

    def _wind_down(self) -> None:
        for child in self._idle():
            child.process.kill()
            self._remove(child)
        for child in self._busy():
            child.tell(Order.FINISH_ROUND)  # a round may take as long as it takes

    def _leave(self) -> None:
        for child in list(self.children):
            child.process.kill()
            self._remove(child)
            if (claim := child.claim) is not None:
                reason = "its worker was stopped at once"
                self.unsettled.append(partial(leases.release, claim=claim, reason=reason))
        self.unsettled.append(partial(leases.worker_gone, name=self.name))
        self._settle()
        log.info("worker %s has left", self.name)


def _claim_of(child: Child) -> leases.Claim:
    assert child.claim is not None  # noqa: S101 - callers pass busy children only
    return child.claim
