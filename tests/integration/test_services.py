"""The commands of docker-compose.yml, run by hand: nothing inherited but the installed program."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from meshtune.backend.schemas.runs import RunCreate, RunDetail
from meshtune.engine.records import RunStatus
from tests.support.builders import tiny_config
from tests.support.ports import free_port

PATIENCE_S = 100.0  # some twenty seconds on an idle machine
ROOT = Path(__file__).parents[2]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


class Stack:
    """The three services as compose would run them, on free ports and in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {"8700": free_port(), "8701": free_port()}
        self.api_url = f"http://127.0.0.1:{self.ports['8701']}"

    def here(self, text: str) -> str:
        """What the file says, with the names that only exist between containers replaced."""
        for port, free in self.ports.items():
            text = text.replace(port, str(free))
        return text.replace("http://api:", "http://127.0.0.1:")

    def environment(self, name: str) -> dict[str, str]:
        """What the image and the file set, and no word of this shell."""
        given = {k: self.here(v) for k, v in SERVICES[name]["environment"].items()}
        return {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(self.folder / "home"),
            "PYTHONUNBUFFERED": "1",
            **given,
            "MESHTUNE_DATABASE_URL": "",  # as compose writes it where nothing is set
            "MESHTUNE_STATE_DIR": str(self.folder / "state"),
            # On the loopback address of a test, where tokens are not the rule.
            "MESHTUNE_REQUIRE_TOKEN": "true",
            "MESHTUNE_WORKER_NICE": "0",  # other tests go on beside it
        }

    @contextmanager
    def running(self, name: str) -> Iterator[subprocess.Popen[bytes]]:
        """A service, from its start until it has stopped when asked."""
        program, *rest = (self.here(word) for word in SERVICES[name]["command"])
        # Not on all addresses, as in a container: this machine may have neighbours.
        words = [word.replace("--host=0.0.0.0", "--host=127.0.0.1") for word in rest]
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [str(Path(sys.executable).with_name(program)), *words],
                env=self.environment(name),
                cwd=self.folder / "home",
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            # A server that stopped in good order ends by the signal that asked it to.
            assert process.wait(60.0) in (0, -signal.SIGTERM), self.said(name)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def is_well(self, name: str) -> bool:
        """What the health check of the container finds."""
        _, *command = SERVICES[name]["healthcheck"]["test"]
        words = [self.here(word) for word in command]
        asked = [str(Path(sys.executable).with_name(words[0])), *words[1:]]
        check = subprocess.run(asked, env=self.environment(name), capture_output=True, check=False)
        return check.returncode == 0

    def wait_for(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Until the service is well."""
        until = time.monotonic() + PATIENCE_S
        while not self.is_well(name):
            assert process.poll() is None, self.said(name)
            assert time.monotonic() < until, self.said(name)
            time.sleep(0.2)

    def token(self) -> str:
        """A new token, by the command that docs/deployment.md names."""
        made = subprocess.run(
            ["meshtune", "token", "create", "me", "--scope", "admin"],
            env=self.environment("api"),
            check=True,
            capture_output=True,
            text=True,
        )
        return made.stdout.strip()

    def said(self, name: str) -> str:
        """Its log."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    (tmp_path / "home").mkdir()
    return Stack(tmp_path)


def test_the_services_of_the_compose_file_start_train_and_stop(stack: Stack) -> None:
    with ExitStack() as started:
        api = started.enter_context(stack.running("api"))
        worker = started.enter_context(stack.running("worker"))
        dashboard = started.enter_context(stack.running("dashboard"))
        stack.wait_for("api", api)
        token = stack.token()
        with httpx.Client(base_url=stack.api_url, trust_env=False, timeout=20.0) as client:
            body = RunCreate(config=tiny_config(rounds=1)).model_dump(mode="json")
            assert client.post("/runs", json=body).status_code == 401
            client.headers["Authorization"] = f"Bearer {token}"
            run = RunDetail.model_validate(client.post("/runs", json=body).json())
            stack.wait_for("worker", worker)
            stack.wait_for("dashboard", dashboard)
            done = ended(client, run.id)
        assert (done.status, done.rounds_done) == (RunStatus.COMPLETED, 1), stack.said("worker")
    for name in ("api", "worker", "dashboard"):
        assert "Traceback" not in stack.said(name)
        assert token not in stack.said(name)


def ended(client: httpx.Client, run_id: int) -> RunDetail:
    """The run once it has ended, told by its own events: the stream closes then."""
    url = f"/runs/{run_id}/events/stream"
    with client.stream("GET", url, timeout=PATIENCE_S) as answer:
        lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
    assert json.loads(lines[-1].removeprefix("data: "))["run_id"] == run_id
    return RunDetail.model_validate(client.get(f"/runs/{run_id}").json())
