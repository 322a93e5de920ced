"""The handbook, built once for all tests of a session, also where several processes test."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

from meshtune.backend.handbook import FOLDER

ROOT = Path(__file__).parents[2]


def built(shared: Path) -> Path:
    """Its folder, after a strict build; all processes of a session see the folder `shared`."""
    told = shared / "handbook.txt"
    with (shared / "handbook.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not told.exists():
            done = subprocess.run(
                [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"],
                cwd=ROOT,
                env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            told.write_text(done.stdout if done.returncode else "", encoding="utf-8")
    said = told.read_text(encoding="utf-8")
    assert not said, said
    return FOLDER
