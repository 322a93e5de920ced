"""How a supervisor knows its kind."""

import subprocess
import sys
from pathlib import Path

import pytest

from backend.worker import is_dead, worker_name

pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="looks at processes in /proc")


def test_this_process_is_alive() -> None:
    assert not is_dead(worker_name())


def test_an_ended_process_of_this_machine_is_dead() -> None:
    code = "from backend.worker import worker_name; print(worker_name())"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert is_dead(said)


def test_a_process_that_took_over_the_number_is_not_the_old_worker() -> None:
    assert is_dead(worker_name() + "0")


@pytest.mark.parametrize("owner", ["elsewhere/1/1", "w", "", "host/not-a-number/1"])
def test_of_others_nothing_is_known(owner: str) -> None:
    assert not is_dead(owner)
