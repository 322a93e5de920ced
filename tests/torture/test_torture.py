"""One minute of what `make torture` does for a quarter of an hour."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks at processes in /proc")
@pytest.mark.timeout(900)
def test_random_kills_of_real_runs_lose_double_and_change_nothing() -> None:
    wish = ["--minutes", "8", "--kills", "4", "--rounds", "8", "--lock-s", "6"]
    command = [sys.executable, "-m", "tests.torture", *wish]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert re.fullmatch(r"kills=\d+ rounds=\d+ lost=0 doubled=0 differing=0", last)
