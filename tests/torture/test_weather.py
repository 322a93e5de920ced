"""The storm's own tools do what they say, and stop."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from meshtune.backend.settings import Settings
from meshtune.db.errors import StoreUnavailable
from meshtune.db.session import open_engine, writing
from tests.torture import weather

WRITES = """
import sys, time
while True:
    try:
        open(sys.argv[1], "wb").write(bytes(10**6))
        print("written", flush=True)
    except OSError:
        print("full", flush=True)
    time.sleep(0.02)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of other processes")
def test_a_choked_process_finds_its_disk_full_for_a_while(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITES, str(tmp_path / "file")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        weather.choke(lambda: [writer.pid], 0.5)
        time.sleep(0.2)
        writer.kill()
        said = writer.stdout.read().split()
    assert "full" in said
    assert said[-1] == "written"


@pytest.mark.parametrize("how", [0, 1, 2])
def test_a_spoiled_file_is_not_what_it_was(tmp_path: Path, how: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    weather.spoil(path, how)
    assert not path.exists() or path.read_bytes() != b"content"
    weather.spoil(path, how)


def test_a_locked_database_is_free_again(store: Engine, settings: Settings) -> None:
    impatient = open_engine(settings.store_url, busy_timeout_ms=10)
    refused = False
    try:
        with ThreadPoolExecutor(1) as pool:
            locked = pool.submit(weather.lock, store, 1.0)
            while not (refused or locked.done()):
                try:
                    touch(impatient)
                except StoreUnavailable as error:
                    refused = "locked" in str(error)
            locked.result()
        touch(impatient)
    finally:
        impatient.dispose()
    assert refused


def touch(store: Engine) -> None:
    with writing(store) as session:
        session.execute(text("UPDATE runs SET priority = priority"))


def test_what_was_read_only_can_be_written_again(store: Engine, settings: Settings) -> None:
    file = settings.state_dir / "meshtune.db"
    before = file.stat().st_mode
    with weather.read_only(settings.state_dir):
        assert file.stat().st_mode & 0o222 == 0
        assert settings.state_dir.stat().st_mode & 0o222 == 0
    assert file.stat().st_mode == before
    touch(store)
