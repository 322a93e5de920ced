"""Live events: one look at the database per process, shared by all streams that it serves.

A stream is a cursor into the database, never a queue in memory: it waits until something moved,
then reads what lies behind its cursor. So a slow client costs nothing, and a client that comes
back, to this process or to another, goes on exactly where it was. Streams that stand at the same
place share one read.
"""

import asyncio
import logging
import signal
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from types import FrameType
from typing import Any, TypeVar

import anyio
from fastapi.sse import ServerSentEvent
from pydantic import BaseModel
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from meshtune.backend.live_cursors import ListCursor, RunCursor
from meshtune.backend.replies import runs as replies
from meshtune.backend.schemas.live import LiveEnd, LiveGone, LiveProgress, LiveStart
from meshtune.backend.schemas.runs import RunEventOut
from meshtune.db import changes, rounds, runs
from meshtune.db.changes import Head, Horizon
from meshtune.db.errors import StoreUnavailable
from meshtune.db.models import Run
from meshtune.db.session import reading
from meshtune.engine.records import ENDED, RunStatus

log = logging.getLogger(__name__)

POLL_S = 0.3
STREAMS_MAX = 200  # per process
READERS = 4  # threads of their own, so that streams never take those of the routes
ROUNDS_PER_READ = 200
KEPT_READS = 64


T = TypeVar("T")


# The shared look


@dataclass(frozen=True)
class Settled:
    """The last event before which none can appear any more, and a later one that still waits."""

    event_id: int = 0
    waiting: Horizon | None = None

    def then(self, seen: Horizon) -> "Settled":
        """After another look."""
        if seen.oldest_open >= seen.next_unused:
            return Settled(seen.event_id)
        if self.waiting is None:
            return replace(self, waiting=seen)
        if seen.oldest_open >= self.waiting.next_unused:
            return Settled(self.waiting.event_id, seen)
        return self


@dataclass(frozen=True)
class Seen:
    """One look at the database."""

    version: int | None
    settled: Settled
    running: Mapping[int, Head]
    watched: Mapping[int, Head | None]  # None: purged


class Hub:
    """All streams of one process. Lives in its event loop; only reads happen in threads."""

    def __init__(self, store: Engine) -> None:
        self.store = store
        self.streams = 0
        self.watched: Counter[int] = Counter()
        self.seen: Seen | None = None
        self.closed = False
        self.turn = 0  # counts changes
        self._moved = asyncio.Event()
        self._quit = asyncio.Event()
        self._reads: dict[Hashable, asyncio.Future[Any]] = {}
        self._readers = anyio.CapacityLimiter(READERS)
        self._poller: asyncio.Task[None] | None = None
        self._end_streams_on_exit()

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Count a stream; the database is looked at while there is one."""
        self.streams += 1
        if self._poller is None:
            self._quit = asyncio.Event()
            self._poller = asyncio.create_task(self._poll(self._quit))
        try:
            yield
        finally:
            self.streams -= 1
            if not self.streams:
                poller, self._poller = self._poller, None
                self._quit.set()
                with anyio.CancelScope(shield=True):  # its connection must be back in the pool
                    await poller

    @contextmanager
    def watching(self, run_id: int) -> Iterator[None]:
        """Have this run looked at."""
        self.watched[run_id] += 1
        try:
            yield
        finally:
            self.watched[run_id] -= 1
            self.watched += Counter()  # forgets those at zero

    @property
    def moved(self) -> asyncio.Event:
        """Set at the next change. Take it before reading, so that no change falls between."""
        return self._moved

    async def head(self, run_id: int) -> Head | None:
        """How far the run is; None if there is none."""
        if self.seen is not None and run_id in self.seen.watched:
            return self.seen.watched[run_id]
        read = partial(changes.heads, run_ids=[run_id])
        return (await self.once(("head", run_id), read)).get(run_id)

    async def exists(self, run_id: int) -> bool:
        """Whether there is such a run at this moment."""
        head = (await self._read(partial(changes.heads, run_ids=[run_id]))).get(run_id)
        return head is not None and not head.deleted

    async def once(self, key: Hashable, read: Callable[[Session], T]) -> T:
        """What `read` finds; streams that ask for the same between two changes share it."""
        if len(self._reads) >= KEPT_READS:
            self._reads.clear()
        if key not in self._reads:
            self._reads[key] = asyncio.ensure_future(self._read(read))
        try:
            # A client that leaves must not take the answer from the others.
            found: T = await asyncio.shield(self._reads[key])
        except StoreUnavailable:
            self._reads.pop(key, None)
            raise
        return found

    def close(self) -> None:
        """End all streams: their clients come back to another process."""
        self.closed = True
        self._move()

    def _move(self) -> None:
        self.turn += 1
        self._reads = {}
        before, self._moved = self._moved, asyncio.Event()
        before.set()

    async def _read(self, read: Callable[[Session], T]) -> T:
        def in_session() -> T:
            with reading(self.store) as session:
                return read(session)

        return await anyio.to_thread.run_sync(in_session, limiter=self._readers)

    async def _poll(self, quit_: asyncio.Event) -> None:
        connection: Connection | None = None
        try:
            while not quit_.is_set():
                try:
                    if connection is None:
                        connection = await anyio.to_thread.run_sync(self._connected)
                    await self._look(connection)
                except (StoreUnavailable, SQLAlchemyError) as error:
                    log.warning("live events wait for the database: %s", error)
                    if connection is not None:
                        connection.close()
                    connection = None
                with suppress(TimeoutError):
                    await asyncio.wait_for(quit_.wait(), POLL_S)
        finally:
            self.seen, self._reads = None, {}  # from here on they would age unseen
            if connection is not None:
                connection.close()

    def _connected(self) -> Connection:
        return self.store.connect().execution_options(readonly=True)

    async def _look(self, connection: Connection) -> None:
        before, watched = self.seen, set(self.watched)
        seen = await anyio.to_thread.run_sync(
            self._looked, connection, before, watched, limiter=self._readers
        )
        if seen != before:
            self.seen = seen
            self._move()

    def _looked(self, connection: Connection, before: Seen | None, watched: set[int]) -> Seen:
        version = changes.data_version(connection)
        if before is not None and version is not None and version == before.version:
            return before
        with reading(self.store) as session:
            # The horizon first: what is read after it holds all that it promises.
            settled = (before.settled if before else Settled()).then(changes.horizon(session))
            found = changes.heads(session, watched) if watched else {}
            running = changes.running(session)
        return Seen(version, settled, running, {run_id: found.get(run_id) for run_id in watched})

    def _end_streams_on_exit(self) -> None:
        """Uvicorn waits for open streams; so they must hear of the signal when it does."""
        if threading.current_thread() is not threading.main_thread():
            return  # a test serves from another thread, and signals do not concern it
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            before = signal.getsignal(number)
            if callable(before):
                signal.signal(number, partial(self._on_exit, loop, before))

    def _on_exit(
        self,
        loop: asyncio.AbstractEventLoop,
        before: Callable[[int, FrameType | None], Any],
        number: int,
        frame: FrameType | None,
    ) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self.close)
        before(number, frame)


# Streams


async def run_events(hub: Hub, run_id: int, cursor: RunCursor) -> AsyncIterator[ServerSentEvent]:
    """All that happens to one run from `cursor` until it has ended or is deleted."""
    shown: LiveProgress | None = None
    with hub.watching(run_id):
        while not hub.closed:
            moved = hub.moved
            try:
                head = await hub.head(run_id)
                while head is not None and not head.deleted and cursor.behind(head):
                    # With the head in the key no page is older than the head.
                    key = ("run", run_id, cursor, head)
                    page = await hub.once(key, partial(_run_page, run_id=run_id, cursor=cursor))
                    if not page:
                        break  # purged meanwhile
                    for line, reached in page:
                        yield line
                        cursor = reached
            except StoreUnavailable:
                await asyncio.sleep(POLL_S)  # nothing may move when it is back, so do not wait
                continue
            if head is None or head.deleted:
                yield _line("end", LiveEnd(run_id=run_id, status=None))
                return
            if head.status in ENDED:
                yield _line("end", LiveEnd(run_id=run_id, status=head.status))
                return
            progress = _progress(run_id, head)
            if head.status is RunStatus.RUNNING and progress != shown:
                yield _line("progress", progress)
                shown = progress
            await moved.wait()


def _run_page(
    session: Session, run_id: int, cursor: RunCursor
) -> list[tuple[ServerSentEvent, RunCursor]]:
    """What lies behind the cursor, each with the cursor after it."""
    lines = []
    found = rounds.listed(
        session,
        run_id,
        after=cursor.rounds - 1,
        limit=ROUNDS_PER_READ,
        detail=rounds.Detail.SUMMARY,
    )
    for record in found:
        cursor = replace(cursor, rounds=record.round_index + 1)
        lines.append((_line("round", record, cursor), cursor))
    if len(found) == ROUNDS_PER_READ:
        return lines  # there may be more of them
    # After the rounds: most often the last of them is why the run moved.
    for event in runs.events(session, run_id, after=cursor.event_id):
        body = RunEventOut.model_validate(event, from_attributes=True)
        cursor = replace(cursor, event_id=event.id)
        lines.append((_line("move", body, cursor), cursor))
    return lines


async def list_events(hub: Hub, cursor: ListCursor | None) -> AsyncIterator[ServerSentEvent]:
    """Every run as it is after each change, from `cursor` or from now on, without end."""
    shown: Mapping[int, Head] = {}
    while not hub.closed:
        moved, turn, seen = hub.moved, hub.turn, hub.seen
        if seen is None or (cursor is None and seen.settled.waiting and not seen.settled.event_id):
            await moved.wait()
            continue
        if cursor is None:
            counts = {run_id: head.rounds_done for run_id, head in seen.running.items()}
            cursor = ListCursor(seen.settled.event_id, counts)
            yield _line("start", LiveStart(cursor=str(cursor)), cursor)
        try:
            while _list_behind(cursor, seen):
                key = ("list", turn, str(cursor))
                page = await hub.once(key, partial(_list_page, seen=seen, cursor=cursor))
                if not page:
                    break
                for line, reached in page:
                    yield line
                    cursor = reached
        except StoreUnavailable:
            await asyncio.sleep(POLL_S)
            continue
        for run_id, head in seen.running.items():
            if shown.get(run_id) != head:
                yield _line("progress", _progress(run_id, head))
        shown = seen.running
        await moved.wait()


def _list_behind(cursor: ListCursor, seen: Seen) -> bool:
    return cursor.event_id < seen.settled.event_id or bool(_grown(cursor, seen))


def _grown(cursor: ListCursor, seen: Seen) -> list[int]:
    """Running runs with rounds that the follower does not know; others have an event as well."""
    return sorted(
        run_id
        for run_id, done in cursor.rounds.items()
        if run_id in seen.running and seen.running[run_id].rounds_done > done
    )


def _list_page(
    session: Session, seen: Seen, cursor: ListCursor
) -> list[tuple[ServerSentEvent, ListCursor]]:
    """Changed runs as they are now, each with the cursor after it.

    Ordered by the last event of each: a follower that leaves in the middle has all runs up to its
    cursor, and each of the others has an event behind it.
    """
    found = changes.changed_runs(session, after=cursor.event_id, until=seen.settled.event_id)
    named = {run_id for _, run_id in found}
    grown = [(0, run_id) for run_id in _grown(cursor, seen) if run_id not in named]
    lines = []
    for event_id, run_id in [*grown, *found]:
        run = session.get(Run, run_id)
        if run is None or run.deleted_at is not None:
            cursor = cursor.after(event_id, run_id, None)
            lines.append((_line("gone", LiveGone(run_id=run_id), cursor), cursor))
            continue
        # One that grew and has ended since leaves the cursor with its event, later.
        stays = run.status is RunStatus.RUNNING or event_id == 0
        cursor = cursor.after(event_id, run_id, run.rounds_done if stays else None)
        lines.append((_line("run", replies.summary(run), cursor), cursor))
    return lines


def _progress(run_id: int, head: Head) -> LiveProgress:
    return LiveProgress(
        run_id=run_id,
        status=head.status,
        rounds_done=head.rounds_done,
        rounds_total=head.rounds_total,
        progress=head.progress,
    )


def _line(
    kind: str, body: BaseModel, cursor: RunCursor | ListCursor | None = None
) -> ServerSentEvent:
    place = None if cursor is None else str(cursor)
    return ServerSentEvent(raw_data=body.model_dump_json(), event=kind, id=place)
