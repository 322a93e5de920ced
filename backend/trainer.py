"""The process that trains one run: the only one that loads torch.

It is spawned empty, loads the engine, says `Ready` and waits for a claim on its pipe. It stores
its rounds itself; all else (lease, status, cancel) is the business of its supervisor.
"""

import ctypes
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from backend.settings import Settings
from db import runs
from db.errors import ClaimLost, StoreUnavailable
from db.session import open_engine, writing
from engine.config import RunConfig
from engine.errors import AssetMissing, EngineError, Interrupted, NumericsError
from engine.records import Provenance, RoundRecord, RunStatus

log = logging.getLogger(__name__)

PROGRESS_EVERY_S = 0.2
KEPT_CHECKPOINTS = 2  # the one that the run points to, and one in reserve
STORE_PATIENCE_S = 300.0  # a locked database or a full disk may recover; the lease decides
STORE_RETRY_S = 1.0
PR_SET_PDEATHSIG = 1
FILE_NAME = re.compile(r"^\d+-(\d+)-f(\d+)\.safetensors")

Check = Callable[[float], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Finished:
    """A finished round and how to keep the state after it."""

    record: RoundRecord
    save: Callable[[Path], None]


@dataclass(frozen=True)
class Training:
    """A run ready to go on from where it stands."""

    provenance: Provenance
    rounds: Callable[[Check], Iterator[Finished]]


Start = Callable[[RunConfig, Path | None], Training]


def load_engine() -> Start:
    """The engine, imported: seconds of work that a spare process does before anybody clicks."""
    # Here and not at the top: the supervisor imports this module and must stay light.
    from engine.backbone.embedded import load_embedded  # noqa: PLC0415
    from engine.checkpoint import load_state, save_state  # noqa: PLC0415
    from engine.simulate import simulate  # noqa: PLC0415
    from engine.world import build_world, initial_state, provenance  # noqa: PLC0415

    with suppress(AssetMissing):  # the run will say so; here it only warms the caches
        load_embedded()

    def start(config: RunConfig, checkpoint: Path | None) -> Training:
        world = build_world(config)
        state = load_state(world, checkpoint) if checkpoint else initial_state(world)

        def rounds(check: Check) -> Iterator[Finished]:
            for after, record in simulate(world, state, check=check):
                yield Finished(record, partial(save_state, world, after))

        return Training(provenance(world), rounds)

    return start


# On the pipe


class Order(Enum):
    """What a supervisor tells a busy child."""

    FINISH_ROUND = "finish the round, then stop"
    STOP = "stop before the next step"


class Outcome(Enum):
    """How a child ends its work, where that is no status of the run."""

    INTERRUPTED = "stopped as told"
    CLAIM_LOST = "somebody else owns the run"
    STORE_LOST = "the database cannot be written"


@dataclass(frozen=True)
class Ready:
    """The engine is loaded."""


@dataclass(frozen=True)
class Progress:
    """Share of the current round that is done."""

    share: float


@dataclass(frozen=True)
class Stored:
    """A round is in the store."""

    round_index: int


@dataclass(frozen=True)
class Ended:
    """The last word of a child."""

    outcome: RunStatus | Outcome
    reason: str | None = None


Message = Ready | Progress | Stored | Ended


def main(
    pipe: Connection, settings: Settings, load: Callable[[], Start], supervisor_pid: int
) -> None:
    """Load the engine, wait for one claim, train it, say how it ended."""
    _die_with(supervisor_pid)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the group; the supervisor decides
    log_to_stderr()
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


def log_to_stderr() -> None:
    """Logs of a worker, one line per event."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)


class Trainer:
    """One claim being worked on."""

    def __init__(
        self, pipe: Connection, settings: Settings, store: Engine, claim: runs.Claim
    ) -> None:
        self.pipe = pipe
        self.settings = settings
        self.store = store
        self.claim = claim
        self.told_at = 0.0
        self.finish_round = False
        self.kept: list[str] = []

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
        folder = self.settings.checkpoint_dir
        folder.mkdir(parents=True, exist_ok=True)
        self._tidy(folder)
        resumed = self.claim.checkpoint
        training = start(self.claim.config, folder / resumed if resumed else None)
        self._store(lambda s: runs.record_provenance(s, self.claim, training.provenance))
        for finished in training.rounds(self.check):
            asked = self._keep(folder, finished)
            self.pipe.send(Stored(finished.record.round_index))
            self._hear()
            last = finished.record.round_index + 1 == self.claim.config.rounds
            if (asked or self.finish_round) and not last:
                return Ended(Outcome.INTERRUPTED)
        return Ended(RunStatus.COMPLETED)

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

    def _keep(self, folder: Path, finished: Finished) -> bool:
        """File first, then the pointer to it together with the round; whether to cancel."""
        claim, record = self.claim, finished.record
        # The fence in the name: a worker presumed dead cannot overwrite the file of its heir.
        name = f"{claim.run_id}-{record.round_index}-f{claim.fence}.safetensors"
        finished.save(folder / name)
        _sync_folder(folder)
        lease_s = self.settings.lease_s
        cancel = self._store(lambda s: runs.append_round(s, claim, record, name, lease_s=lease_s))
        self.kept.append(name)
        while len(self.kept) > KEPT_CHECKPOINTS:
            (folder / self.kept.pop(0)).unlink(missing_ok=True)
        return cancel

    def _store(self, write: Callable[[Session], T]) -> T:
        """One transaction, tried again while the database is locked or its disk is full."""
        patience = time.monotonic() + STORE_PATIENCE_S
        while True:
            try:
                with writing(self.store) as session:
                    return write(session)
            except StoreUnavailable as error:
                if time.monotonic() > patience:
                    raise
                log.warning("run %d waits: %s", self.claim.run_id, error)
            time.sleep(STORE_RETRY_S)
            self._hear()

    def _tidy(self, folder: Path) -> None:
        """Keep the file that the run points to and the one before it, of what is there.

        Others are left over from workers that died between file and row. Files of a later claim
        stay: then this claim is lost, and will find out.
        """
        found = [
            (int(round_index), int(fence), path)
            for path in folder.glob(f"{self.claim.run_id}-*.safetensors*")
            for round_index, fence in FILE_NAME.findall(path.name)
        ]
        for round_index, fence, path in sorted(found):
            spare = round_index == self.claim.rounds_done - 2 and path.suffix == ".safetensors"
            if path.name == self.claim.checkpoint or spare:
                self.kept.append(path.name)
            elif fence < self.claim.fence:
                path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power loss."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _share_processor(slots: int) -> None:
    """Threads of torch that get along with others on this machine; before torch is loaded."""
    # Threads that spin while they wait stall one another as soon as anything else runs: building
    # a small world took 10 s so and 0.2 s without, beside three busy processes on two cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if slots > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // slots)))


def _die_with(supervisor_pid: int) -> None:
    """No orphan keeps training when its supervisor is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor_pid:  # it died before the line above
        sys.exit(1)
