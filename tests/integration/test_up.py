"""`meshtune up`: parts start together, answer, and stop together, whoever ends them."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import pytest

from meshtune.backend.services.up import (
    AlreadyUp,
    Part,
    PartDied,
    asked_to_stop,
    keep_up,
    sole,
    taken,
)
from tests.support.ports import free_port

SERVER = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port={}, bind='127.0.0.1')"
SLEEPER = "import time; time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('here', flush=True); time.sleep(600)"
)


def python(name: str, code: str, health_url: str | None = None) -> Part:
    return Part(name, (sys.executable, "-c", code), health_url)


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_parts_are_ready_once_they_answer_and_stop_when_asked(tmp_path: Path) -> None:
    port = free_port()
    server = python("api", SERVER.format(port), f"http://127.0.0.1:{port}/")
    seen: list[bool] = []

    def ready() -> None:
        seen.append(taken(port))
        press_ctrl_c()

    keep_up([server, python("worker", SLEEPER)], tmp_path, ready, grace_s=5.0)
    assert seen == [True]
    assert not taken(port)


def test_a_part_that_dies_stops_the_others_and_tells_why(tmp_path: Path) -> None:
    port = free_port()
    server = python("api", SERVER.format(port), f"http://127.0.0.1:{port}/")
    broken = python("worker", "import sys, time; time.sleep(1); sys.exit('no model on disk')")
    with pytest.raises(PartDied, match=r"worker stopped \(exit code 1\): no model on disk"):
        keep_up([server, broken], tmp_path, lambda: None, grace_s=5.0)
    assert not taken(port)


def test_a_part_that_is_killed_is_told_by_the_signal(tmp_path: Path) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(PartDied, match="SIGKILL"):
        keep_up([python("worker", code)], tmp_path, lambda: None, grace_s=5.0)


def test_a_part_that_will_not_stop_is_ended(tmp_path: Path) -> None:
    def ready() -> None:
        threading.Timer(1.0, press_ctrl_c).start()

    keep_up([python("worker", STUBBORN)], tmp_path, ready, grace_s=0.2)


def test_ctrl_c_before_all_parts_answer_stops_them(tmp_path: Path) -> None:
    never = f"http://127.0.0.1:{free_port()}/"
    threading.Timer(1.0, press_ctrl_c).start()
    keep_up([python("api", SLEEPER, never)], tmp_path, lambda: pytest.fail("ready"), grace_s=5.0)


@pytest.mark.timeout(60)
def test_a_signal_at_any_line_is_heard_and_hangs_nothing() -> None:
    def strike(_frame: FrameType, _event: str, _argument: object) -> Any:
        signal.raise_signal(signal.SIGINT)
        return strike

    with asked_to_stop() as asked:
        sys.settrace(strike)
        try:
            asked.wait(0.01)
            asked.clear()
            asked.wait(0.01)
        finally:
            sys.settrace(None)
        assert asked.wait(0.0)


def test_of_two_on_one_folder_the_second_is_told_where_the_first_is(tmp_path: Path) -> None:
    with (
        sole(tmp_path, "http://127.0.0.1:8700"),
        pytest.raises(AlreadyUp, match=r"already: http://127\.0\.0\.1:8700; open that"),
        sole(tmp_path, "http://127.0.0.1:8702"),
    ):
        pytest.fail("two at once")
    with sole(tmp_path, "http://127.0.0.1:8702"):
        assert (tmp_path / "up.lock").read_text() == "http://127.0.0.1:8702"


def test_signals_are_as_before_afterwards(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    keep_up([python("worker", SLEEPER)], tmp_path, press_ctrl_c, grace_s=5.0)
    assert signal.getsignal(signal.SIGINT) is before


def test_the_whole_of_meshtune_starts_answers_and_stops(tmp_path: Path) -> None:
    port, api_port = free_port(), free_port()
    command = [sys.executable, "-m", "meshtune.backend.commands.main", "up", f"--port={port}"]
    process = subprocess.Popen(
        [*command, f"--api-port={api_port}"],
        # As a service manager starts it: without a home.
        env={name: value for name, value in os.environ.items() if name != "HOME"}
        | {"MESHTUNE_STATE_DIR": str(tmp_path / "state")},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert "Starting" in process.stdout.readline()
        assert f"http://127.0.0.1:{port}" in process.stdout.readline()
        health = httpx.get(f"http://127.0.0.1:{api_port}/health", trust_env=False).json()
        assert health["status"] == "ok"
        assert httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).is_success
        for state, told in (("other", f"port {port} is in use"), ("state", "is up on the folder")):
            second = subprocess.run(
                [*command, f"--api-port={api_port}"],
                env=os.environ | {"MESHTUNE_STATE_DIR": str(tmp_path / state)},
                capture_output=True,
                text=True,
                check=False,
            )
            assert second.returncode == 2
            assert told in second.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Stopped" in rest
    assert not taken(port)
    assert not taken(api_port)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties children to their parent")
def test_when_meshtune_is_killed_outright_no_part_lives_on(tmp_path: Path) -> None:
    port = free_port()
    code = (
        "import sys; from pathlib import Path\n"
        "from meshtune.backend.services.up import Part, keep_up\n"
        f"part = Part('api', (sys.executable, '-c', {SERVER.format(port)!r}), "
        f"'http://127.0.0.1:{port}/')\n"
        f"keep_up([part], Path({str(tmp_path)!r}), lambda: print('ready', flush=True), grace_s=5)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.communicate()
    for _ in range(100):
        if not taken(port):
            return
        threading.Event().wait(0.1)
    pytest.fail("a part lives on")
