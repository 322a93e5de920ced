"""What lies around the code: containers, pins, hooks and commands that exist."""

import ast
import re
import shutil
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from meshtune.backend.commands.main import app
from meshtune.backend.routes.health import router as health
from meshtune.backend.services.announced import GROUP
from meshtune.backend.settings import Settings
from tests.conftest import ON_BOTH, SLOW
from tests.support.pages import HEALTH_PATH

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
IGNORED = (ROOT / ".dockerignore").read_text().split()
API_PATHS = {getattr(route, "path", "") for route in health.routes}
# Of the compose specification, those that this project uses.
KEYS = {
    *("build", "image", "command", "environment", "volumes", "ports", "profiles"),
    *("depends_on", "healthcheck", "restart", "init", "stop_grace_period", "cpu_shares"),
    *("cap_drop", "security_opt"),
}
OURS = ["api", "worker", "dashboard"]


def commands() -> set[str]:
    return set(get_command(app).list_commands(None))


@pytest.mark.parametrize("name", OURS)
def test_every_service_runs_a_command_that_exists(name: str) -> None:
    program, *rest = SERVICES[name]["command"]
    assert shutil.which(program, path=Path(sys.executable).parent), program
    if program == "meshtune":
        assert rest[0] in commands()
    else:
        assert program == "python"
        assert rest[0] == "-m"
        assert find_spec(rest[1])


def test_every_announced_program_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    programs = project["entry-points"][GROUP]
    assert programs.keys() == {"dashboard", "report"}
    for module in programs.values():
        assert find_spec(module)
        assert program_file(module).is_file()


def program_file(module: str) -> Path:
    """What `python -m` would run."""
    path = ROOT.joinpath(*module.split(".")[1:])
    return path / "__main__.py" if path.is_dir() else path.with_suffix(".py")


@pytest.mark.parametrize("name", OURS)
def test_every_service_says_whether_it_is_well(name: str) -> None:
    kind, program, flag, code = SERVICES[name]["healthcheck"]["test"]
    assert (kind, program, flag) == ("CMD", "python", "-c")
    compile(code, name, "exec")
    (host, port, path) = re.findall(r"http://([\w.]+):(\d+)(/[\w/]+)", code)[0]
    assert host == "127.0.0.1" or host in SERVICES
    assert port in str(SERVICES["api" if host == "api" else name]["command"])
    assert path == HEALTH_PATH if name == "dashboard" else path in API_PATHS


def test_services_share_one_volume_and_open_ports_to_this_machine_only() -> None:
    assert {tuple(SERVICES[name]["volumes"]) for name in OURS} == {("state:/state",)}
    assert {SERVICES[name]["environment"]["MESHTUNE_STATE_DIR"] for name in OURS} == {"/state"}
    assert re.search(r"^VOLUME /state$", DOCKERFILE, re.MULTILINE)
    ports = {port for service in SERVICES.values() for port in service.get("ports", [])}
    assert ports == {"127.0.0.1:8700:8700", "127.0.0.1:8701:8701"}


def test_there_may_be_any_number_of_workers() -> None:
    """Compose cannot start a second container with the name or the port of the first."""
    assert SERVICES["worker"].keys().isdisjoint({"container_name", "ports", "hostname"})


def test_the_dashboard_container_finds_the_api_container() -> None:
    url = SERVICES["dashboard"]["environment"]["MESHTUNE_API_URL"]
    assert url == f"http://api:{Settings().api_port}"
    assert "--port=8701" in SERVICES["api"]["command"]


def test_a_database_server_is_there_only_on_demand() -> None:
    optional = [name for name, service in SERVICES.items() if "profiles" in service]
    assert optional == ["postgres"]
    assert SERVICES["api"]["depends_on"]["postgres"]["required"] is False
    given = {SERVICES[name]["environment"]["MESHTUNE_DATABASE_URL"] for name in OURS}
    assert given == {"${MESHTUNE_DATABASE_URL:-}"}
    # What compose writes where nothing is set must mean the same as nothing.
    assert Settings(database_url="").store_url == Settings().store_url


@pytest.mark.parametrize("name", SERVICES)
def test_whatever_a_service_refers_to_is_there(name: str) -> None:
    service = SERVICES[name]
    assert service.keys() <= KEYS
    for volume in service["volumes"]:
        assert volume.partition(":")[0] in COMPOSE["volumes"]
    for needed, how in service.get("depends_on", {}).items():
        assert "healthcheck" in SERVICES[needed]
        assert how["condition"] == "service_healthy"


def test_the_image_is_built_apart_and_runs_without_rights() -> None:
    stages = re.findall(r"^FROM (.*)$", DOCKERFILE, re.MULTILINE)
    assert len(stages) == 3
    last = DOCKERFILE.rpartition("FROM ")[2]
    assert "COPY --from=build" in last
    assert re.search(r"^USER meshtune$", last, re.MULTILINE)
    assert "pip install" not in last


def test_the_image_gets_what_it_copies() -> None:
    """`.dockerignore` lets in what it names and nothing else."""
    let_in = {line[1:] for line in IGNORED if line.startswith("!")}
    copied = {
        word
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
        for word in line.split()
    }
    assert copied <= let_in
    assert all((ROOT / name).exists() for name in copied)


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["dev"], *extras["docs"]]
    names = {re.split(r"[^a-z0-9-]", line.lower().replace("_", "-"))[0] for line in wanted}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    assert names <= pinned


@pytest.mark.parametrize("target", ["help", "up", "test", "check", "docs", "bench", "golden"])
def test_make_knows_the_target(target: str) -> None:
    assert re.search(rf"^{target}:.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_hooks_run_tools_that_are_installed() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    makefile = (ROOT / "Makefile").read_text()
    for hook in hooks:
        tool = Path(hook["entry"].split()[0])
        assert tool.parts[0] == ".venv"
        assert f"$(BIN)/{tool.name}" in makefile


OLD = {"engine", "db", "backend", "dashboard"}


def test_nothing_is_imported_by_a_name_that_is_everybodys() -> None:
    """Beside the repository's root such a name would be found, and nowhere else."""
    for folder in (*OLD, "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.level == 0:
                    names = [node.module or ""]
                assert OLD.isdisjoint(name.partition(".")[0] for name in names), path


@pytest.mark.parametrize("name", sorted(OLD))
def test_the_package_is_the_folders_at_the_top(name: str) -> None:
    assert (ROOT / "src" / "meshtune" / name).resolve() == ROOT / name


def test_lists_of_tests_name_what_is_there() -> None:
    assert not [place for place in ON_BOTH | SLOW if not (ROOT / place).exists()]
