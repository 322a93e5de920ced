"""What lies around the code: containers, pins, hooks and commands that exist."""

import re
import shutil
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from backend.cli import app
from backend.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def commands() -> set[str]:
    return {str(c.name or c.callback.__name__) for c in app.registered_commands if c.callback}


@pytest.mark.parametrize("name", ["api", "worker", "dashboard"])
def test_every_service_runs_a_command_that_exists(name: str) -> None:
    program, *rest = COMPOSE["services"][name]["command"]
    assert shutil.which(program, path=Path(sys.executable).parent), program
    if program == "meshtune":
        assert rest[0] in commands()
    elif program == "uvicorn":
        module, _, factory = rest[0].partition(":")
        assert find_spec(module)
        assert factory == "create_app"
    else:
        assert program == "python"
        assert rest[0] == "-m"
        assert find_spec(rest[1])


def test_services_share_one_volume_and_open_ports_to_this_machine_only() -> None:
    services = COMPOSE["services"]
    volumes = {tuple(service["volumes"]) for service in services.values()}
    assert volumes == {("state:/state",)}
    assert list(COMPOSE["volumes"]) == ["state"]
    assert re.search(r"^VOLUME /state$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    ports = {port for service in services.values() for port in service.get("ports", [])}
    assert ports == {"127.0.0.1:8700:8700", "127.0.0.1:8701:8701"}


def test_the_dashboard_container_finds_the_api_container() -> None:
    url = COMPOSE["services"]["dashboard"]["environment"]["MESHTUNE_API_URL"]
    assert url == f"http://api:{Settings().api_port}"
    assert "--port=8701" in COMPOSE["services"]["api"]["command"]


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[^a-z0-9-]", line.lower().replace("_", "-"))[0] for line in wanted}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    assert names <= pinned


@pytest.mark.parametrize("target", ["help", "up", "test", "check", "bench", "golden"])
def test_make_knows_the_target(target: str) -> None:
    assert re.search(rf"^{target}:.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_hooks_run_tools_that_are_installed() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    makefile = (ROOT / "Makefile").read_text()
    for hook in hooks:
        tool = Path(hook["entry"].split()[0])
        assert tool.parts[0] == ".venv"
        assert f"$(BIN)/{tool.name}" in makefile
