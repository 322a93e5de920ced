"""How a supervisor knows its kind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from meshtune.backend.training.owners import is_awake, is_dead, worker_name
from tests.support.workers import wait_until

pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="looks at processes in /proc")


def test_this_process_is_alive() -> None:
    assert not is_dead(worker_name())
    assert is_awake(worker_name())


def test_an_ended_process_of_this_machine_is_dead() -> None:
    code = "from meshtune.backend.training.owners import worker_name; print(worker_name())"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert is_dead(said)
    assert not is_awake(said)


def test_a_stopped_process_is_neither_dead_nor_awake() -> None:
    code = (
        "from meshtune.backend.training.owners import worker_name\n"
        "print(worker_name(), flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        said = other.stdout.readline().strip()
        assert is_awake(said)
        os.kill(other.pid, signal.SIGSTOP)
        wait_until(lambda: not is_awake(said), "the stop")
        assert not is_dead(said)
        os.kill(other.pid, signal.SIGCONT)
        wait_until(lambda: is_awake(said), "its waking")
        other.kill()


def test_a_process_that_took_over_the_number_is_not_the_old_worker() -> None:
    assert is_dead(worker_name() + "0")
    assert not is_awake(worker_name() + "0")


@pytest.mark.parametrize("owner", ["elsewhere/1/1", "w", "", "host/not-a-number/1"])
def test_of_others_nothing_is_known(owner: str) -> None:
    assert not is_dead(owner)
    assert not is_awake(owner)
