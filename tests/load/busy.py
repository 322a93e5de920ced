"""Whether cheap answers stay quick while others want expensive ones, and how fast runs are queued.

Those who want reports call from a process of their own: who measures must not wait for them.
"""

import asyncio
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from urllib.parse import urlencode

from meshtune.backend.schemas.runs import RunCreate
from meshtune.engine.config import RunConfig
from meshtune.engine.presets import load_preset
from tests.load.stores import Times, fill, fresh_settings, opened, served
from tests.load.wire import Connection
from tests.support.builders import tiny_config
from tests.support.loops import in_own_loop

COMPARED = 20  # runs of a report
POSTING = 8  # callers
LOOK_S = 0.05  # between two looks at the list
# By how those who found no place come again.
MANNERS = {"coming again as told": True, "asking again at once": False}
Reports = tuple[int, int, int]  # made, refused, failed


@dataclass
class Beside:
    """GET /runs while others want reports, and what became of those."""

    times: Times = field(default_factory=lambda: Times([]))
    lost: int = 0
    made: int = 0
    refused: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Posted:
    """Runs queued by several callers at once."""

    times: Times
    per_s: float
    failed: int


@dataclass(frozen=True)
class Busy:
    """The outcome."""

    report: Times
    calm: Times
    beside: dict[str, Beside]
    posted: dict[str, Posted]


def measure(
    kind: str,
    *,
    callers: int = 200,
    seconds: float = 20.0,
    rounds: int = 300,
    reports: int = 5,
    posts: int = 10,
) -> Busy:
    """Build a store and ask its API, as each of the measurements wants."""
    with fresh_settings(kind) as settings, opened(settings) as store:
        ids = fill(store, tiny_config(rounds=rounds, fleet__devices=3), COMPARED)
        path = f"/compare/report?{urlencode([('run', each) for each in ids])}"
        with served(settings) as address:
            alone = in_own_loop(_alone(address, path, reports))
            calm, _ = in_own_loop(_looking(address, seconds / 4))
            beside = {}
            for manner, patient in MANNERS.items():
                with _wanting(address, path, callers, patient=patient) as found:
                    found.times, found.lost = in_own_loop(_looking(address, seconds))
                beside[manner] = found
            posted = {
                "every config another": in_own_loop(_posting(address, posts, distinct=True)),
                "all configs equal": in_own_loop(_posting(address, posts, distinct=False)),
            }
    return Busy(alone, calm, beside, posted)


async def _alone(address: str, path: str, many: int) -> Times:
    times = []
    with closing(Connection(address)) as connection:
        await connection.ask("/runs")  # whatever is loaded by the first request of all
        for _ in range(many):
            started = time.perf_counter()
            status, _, _ = await connection.ask(path)
            times.append(1000 * (time.perf_counter() - started))
            assert status == 200, status
    return Times(times)


async def _looking(address: str, seconds: float) -> tuple[Times, int]:
    """GET /runs again and again; how long each took, and how often it failed."""
    times, lost = [], 0
    end = time.perf_counter() + seconds
    with closing(Connection(address)) as connection:
        while not times or time.perf_counter() < end:
            started = time.perf_counter()
            status, _, _ = await connection.ask("/runs")
            times.append(1000 * (time.perf_counter() - started))
            lost += status != 200
            await asyncio.sleep(LOOK_S)
    return Times(times), lost


@contextmanager
def _wanting(address: str, path: str, callers: int, *, patient: bool) -> Iterator[Beside]:
    """Callers that want reports for the time of a block; what they got is known after it."""
    found = Beside()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_want, args=(theirs, address, path, callers, patient), daemon=True
    )
    process.start()
    try:
        ours.recv()  # all have asked once
        yield found
        ours.send("enough")
        found.made, found.refused, found.failed = ours.recv()
    finally:
        process.join(5.0)
        process.kill()
        process.join()
        ours.close()


def _want(pipe: Pipe, address: str, path: str, callers: int, patient: bool) -> None:
    pipe.send(asyncio.run(_all_want(pipe, address, path, callers, patient=patient)))


async def _all_want(pipe: Pipe, address: str, path: str, callers: int, *, patient: bool) -> Reports:
    counts = {"made": 0, "refused": 0, "failed": 0}
    asked = 0

    async def want() -> None:
        nonlocal asked
        with closing(Connection(address)) as connection:
            while True:
                asked += 1
                status, wait_s, _ = await connection.ask(path)
                outcome = {200: "made", 503: "refused"}.get(status, "failed")
                counts[outcome] += 1
                if patient:
                    await asyncio.sleep(wait_s)

    tasks = [asyncio.create_task(want()) for _ in range(callers)]
    while asked < callers:
        await asyncio.sleep(LOOK_S)
    pipe.send("asked")
    while not pipe.poll():
        await asyncio.sleep(LOOK_S)
    for task in tasks:
        task.cancel()
    broken = await asyncio.gather(*tasks, return_exceptions=True)
    counts["failed"] += sum(not isinstance(each, asyncio.CancelledError) for each in broken)
    return counts["made"], counts["refused"], counts["failed"]


def _bodies(many: int, *, distinct: bool) -> Sequence[bytes]:
    config = load_preset("quick").config
    # Of the equal ones nobody has asked before either.
    seeds = range(1, many + 1) if distinct else [many + 1] * many
    return [_body(config.model_copy(update={"seed": seed})) for seed in seeds]


def _body(config: RunConfig) -> bytes:
    return RunCreate(config=config).model_dump_json().encode()


async def _posting(address: str, each: int, *, distinct: bool) -> Posted:
    bodies = iter(_bodies(POSTING * each, distinct=distinct))
    times, failed = [], 0

    async def post() -> None:
        nonlocal failed
        with closing(Connection(address)) as connection:
            for body in bodies:
                started = time.perf_counter()
                status, _, _ = await connection.ask("/runs", body)
                times.append(1000 * (time.perf_counter() - started))
                failed += status != 201

    started = time.perf_counter()
    await asyncio.gather(*(post() for _ in range(POSTING)))
    return Posted(Times(times), len(times) / (time.perf_counter() - started), failed)
