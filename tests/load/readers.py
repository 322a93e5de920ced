"""Many readers and live streams while a run trains: what they wait for, what it costs the run.

Phases with and without readers alternate in one run, each of so many rounds; so whatever else the
machine does meets both alike, and their ratio is what counts.
"""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Engine

from meshtune.backend.settings import Settings
from meshtune.db import runs
from meshtune.db.session import reading, writing
from meshtune.engine.config import RunConfig
from tests.load.stores import Times, environment, fresh_settings, opened, served
from tests.load.wire import Connection
from tests.support.builders import tiny_config
from tests.support.loops import in_own_loop

LOOK_S = 0.02
START_S = 120.0


@dataclass(frozen=True)
class Load:
    """Who reads, and how often."""

    readers: int = 50  # each asks for new rounds, as an open page does
    streams: int = 50
    every_s: float = 1.0
    whole_share: float = 0.05  # of the questions: all rounds from the start, as a page just opened


@dataclass(frozen=True)
class Measurement:
    """How it is measured: pairs of phases, each of so many rounds."""

    pairs: int = 4
    rounds: int = 15
    threads: int = 0  # of torch; 0 for its own choice
    nice: int = 0  # of the API: how much it stands back


@dataclass
class Heard:
    """What readers and streams got."""

    answer_ms: list[float] = field(default_factory=list)
    events: int = 0
    streams: set[int] = field(default_factory=set)
    failures: int = 0


@dataclass(frozen=True)
class Readers:
    """The outcome."""

    load: Load
    alone_s: list[float]  # seconds per round of each phase without readers
    read_s: list[float]  # and of the phase with readers that follows
    heard: Heard

    @property
    def slowdown(self) -> float:
        """By which share a round takes longer while others read; the median over pairs."""
        pairs = zip(self.alone_s, self.read_s, strict=True)
        return statistics.median(read / alone for alone, read in pairs) - 1.0

    @property
    def times(self) -> Times:
        """How long answers took."""
        return Times(self.heard.answer_ms)


def training_config() -> RunConfig:
    """A run of many rounds, each about half a second on one core."""
    return tiny_config(
        name="load",
        rounds=10_000,
        fleet__devices=8,
        fleet__train_samples=64,
        training__local_steps=8,
        training__batch_size=4,
        evaluation__samples_per_task=4,
    )


def measure(kind: str, load: Load, how: Measurement) -> Readers:
    """Train, and let others read in every second phase."""
    with fresh_settings(kind) as settings, opened(settings) as store:
        with writing(store) as session:
            run_id = runs.create(session, training_config()).id
        with served(settings, nice=how.nice) as address, _worker(settings, how.threads):
            _await_rounds(store, run_id, 3)
            return in_own_loop(_phases(store, run_id, address, load, how))


async def _phases(
    store: Engine, run_id: int, address: str, load: Load, how: Measurement
) -> Readers:
    alone_s, read_s, heard = [], [], Heard()
    for _ in range(how.pairs):
        alone_s.append(await _pace(store, run_id, how.rounds))
        async with reading_along(address, run_id, load, heard):
            read_s.append(await _pace(store, run_id, how.rounds))
    return Readers(load, alone_s, read_s, heard)


async def _pace(store: Engine, run_id: int, rounds: int) -> float:
    """Seconds per round over the next rounds, from the end of one to the end of another."""
    first = await _next_end(store, run_id, _done(store, run_id) + 1)
    last = await _next_end(store, run_id, _done(store, run_id) + rounds)
    return (last - first) / rounds


async def _next_end(store: Engine, run_id: int, rounds: int) -> float:
    while _done(store, run_id) < rounds:
        await asyncio.sleep(LOOK_S)
    return time.perf_counter()


def _done(store: Engine, run_id: int) -> int:
    with reading(store) as session:
        return runs.get(session, run_id).rounds_done


@asynccontextmanager
async def reading_along(address: str, run_id: int, load: Load, heard: Heard) -> AsyncIterator[None]:
    """Readers and streams of a run for the time of a block."""
    readers = (_reader(address, run_id, load, heard, number) for number in range(load.readers))
    streams = (_stream(address, run_id, heard) for _ in range(load.streams))
    tasks = [asyncio.create_task(each) for each in (*readers, *streams)]
    before = len(heard.answer_ms)
    await asyncio.sleep(2 * load.every_s)
    del heard.answer_ms[before:]  # all came in one instant, as they never do
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _reader(address: str, run_id: int, load: Load, heard: Heard, number: int) -> None:
    await asyncio.sleep(load.every_s * number / load.readers)
    period = round(1 / load.whole_share) if load.whole_share else 0
    seen, asked = -1, number
    with closing(Connection(address)) as connection:
        while True:
            asked += 1
            after = -1 if period and asked % period == 0 else seen
            started = time.perf_counter()
            status, page = await connection.get(
                f"/runs/{run_id}/rounds?after={after}&detail=scores"
            )
            waited_s = time.perf_counter() - started
            heard.answer_ms.append(1000 * waited_s)
            if status != 200:
                heard.failures += 1
            elif page["rounds"]:
                seen = page["rounds"][-1]["round_index"]
            await asyncio.sleep(max(0.0, load.every_s - waited_s))


async def _stream(address: str, run_id: int, heard: Heard) -> None:
    with closing(Connection(address)) as connection:
        async for line in connection.lines(f"/runs/{run_id}/events/stream"):
            heard.streams.add(id(connection))
            heard.events += line.startswith(b"data:")


@contextmanager
def _worker(settings: Settings, threads: int) -> Iterator[None]:
    given = environment(settings) | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    command = [sys.executable, "-m", "meshtune.backend.commands.main", "worker"]
    with (settings.state_dir / "worker.log").open("wb") as log:
        process = subprocess.Popen(command, env=given, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()  # its children end with it
        process.wait()


def _await_rounds(store: Engine, run_id: int, rounds: int) -> None:
    patience = time.monotonic() + START_S
    while _done(store, run_id) < rounds:
        assert time.monotonic() < patience, "the run does not get going"
        time.sleep(LOOK_S)
