"""What a measurement needs: a store of its own, filled fast, and the API as people run it."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from sqlalchemy import Engine, insert, literal, select, text

from meshtune.backend.settings import Settings, open_store
from meshtune.db import leases, runs
from meshtune.db.models import Round, RoundCurve, Run
from meshtune.db.session import writing
from meshtune.engine.config import RunConfig
from meshtune.engine.records import RunStatus
from tests.support import postgres
from tests.support.builders import LEASE_S, sample_provenance, sample_record
from tests.support.ports import free_port

METHODS = ("so_lora", "lora_gossip", "full_gossip", "local")
RUNS_AT_ONCE = 50  # in one transaction
START_S = 60.0


@dataclass(frozen=True)
class Times:
    """How long something took, each time."""

    each_ms: Sequence[float]

    def quantile(self, share: float) -> float:
        """The time in ms that this share did not exceed."""
        ordered = sorted(self.each_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def __str__(self) -> str:
        median = statistics.median(self.each_ms)
        p95, worst = self.quantile(0.95), max(self.each_ms)
        return f"p50 {median:7.1f} ms   p95 {p95:7.1f} ms   max {worst:7.1f} ms"


@contextmanager
def fresh_settings(kind: str) -> Iterator[Settings]:
    """Settings of an empty store, a SQLite file or a private PostgreSQL with usual settings."""
    with tempfile.TemporaryDirectory(prefix="meshtune-load-") as folder:
        state = Path(folder) / "state"
        state.mkdir()
        if kind == "sqlite":
            yield Settings(state_dir=state, database_url=None)
            return
        with postgres.running(durable=True) as server:
            yield Settings(state_dir=state, database_url=server.new_database())


@contextmanager
def opened(settings: Settings) -> Iterator[Engine]:
    """The store of these settings."""
    engine = open_store(settings)
    try:
        yield engine
    finally:
        engine.dispose()


def fill(store: Engine, config: RunConfig, many: int) -> list[int]:
    """So many completed runs of `config`; all but the first are copies of it, made by SQL."""
    first = _played(store, config)
    run_columns = [c for c in Run.__table__.c if c.name not in {"id", "name", "method", "seed"}]
    lists = (Round.__table__, RoundCurve.__table__)
    made = [first]
    while len(made) < many:
        with writing(store) as session:
            for number in range(len(made), min(len(made) + RUNS_AT_ONCE, many)):
                own = [literal(f"load {number}"), literal(METHODS[number % 4]), literal(number)]
                copy = select(*own, *run_columns).where(Run.id == first)
                names = ["name", "method", "seed", *(c.name for c in run_columns)]
                session.execute(insert(Run).from_select(names, copy))
                new = session.scalar(select(Run.id).order_by(Run.id.desc()).limit(1)) or 0
                for table in lists:
                    columns = [c for c in table.c if c.name != "run_id"]
                    rows = select(literal(new), *columns).where(table.c.run_id == first)
                    names = ["run_id", *(c.name for c in columns)]
                    session.execute(insert(table).from_select(names, rows))
                made.append(new)
    if store.dialect.name == "postgresql":  # as its own housekeeping does a minute later
        with store.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
    return made


def _played(store: Engine, config: RunConfig) -> int:
    with writing(store) as session:
        run = runs.create(session, config)
        claim = leases.claim_next(session, "load", lease_s=LEASE_S)
        assert claim is not None
        leases.record_provenance(session, claim, sample_provenance())
        for index in range(config.rounds):
            record = sample_record(config, index)
            leases.append_round(session, claim, record, f"{index}.safetensors", lease_s=LEASE_S)
        leases.finish(session, claim, RunStatus.COMPLETED)
        return run.id


def size_mb(store: Engine) -> float:
    """Size of the database."""
    with store.connect() as connection:
        if store.dialect.name == "postgresql":
            size = connection.execute(text("SELECT pg_database_size(current_database())")).scalar()
            return float(size or 0) / 1e6
    files = Path(str(store.url.database))
    return sum(path.stat().st_size for path in files.parent.glob(files.name + "*")) / 1e6


def environment(settings: Settings) -> dict[str, str]:
    """What tells a process of Meshtune where its store is."""
    given = {"MESHTUNE_STATE_DIR": str(settings.state_dir)}
    if settings.database_url:
        given["MESHTUNE_DATABASE_URL"] = settings.database_url
    return os.environ | given


@contextmanager
def served(settings: Settings, *, nice: int = 0) -> Iterator[str]:
    """The API in a process of its own, as `meshtune up` starts it, or more modest; its address."""
    port = free_port()
    command = ["nice", f"-n{nice}"] if nice else []
    command += [
        sys.executable,
        "-m",
        "meshtune.backend.serve",
        "--host=127.0.0.1",
        f"--port={port}",
    ]
    with (settings.state_dir / "api.log").open("wb") as log:
        api = subprocess.Popen(command, env=environment(settings), stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        _await(address, api)
        yield address
    finally:
        api.terminate()
        try:
            api.wait(15.0)
        except subprocess.TimeoutExpired:
            api.kill()
            api.wait()


def _await(address: str, api: subprocess.Popen[bytes]) -> None:
    patience = time.monotonic() + START_S
    while True:
        try:
            if httpx.get(f"{address}/health", timeout=5.0).is_success:
                return
        except httpx.TransportError:
            pass
        assert api.poll() is None, "the API ended; see api.log"
        assert time.monotonic() < patience, "the API does not answer"
        time.sleep(0.1)
