"""The built wheel, alone in a fresh environment, beside packages with our old names."""

import os
import re
import shutil
import signal
import site
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.ports import free_port
from tests.support.workers import PATIENCE_S

ROOT = Path(__file__).parents[2]
LEFT = shutil.ignore_patterns(
    *(".*cache", ".venv", ".git", ".state", "build", "dist", "*.egg-info", "node_modules")
)
BUILD = (
    "import sys; from setuptools import build_meta\n"
    "out = sys.argv[1]; build_meta.build_sdist(out); build_meta.build_wheel(out)"
)


@pytest.fixture(scope="module")
def built(handbook: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ARG001
    """A folder with the sdist and the wheel of this source."""
    source, out = (tmp_path_factory.mktemp(name) for name in ("source", "built"))
    shutil.copytree(ROOT, source, symlinks=True, ignore=LEFT, dirs_exist_ok=True)
    command = [sys.executable, "-c", BUILD, str(out)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, text=True)
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def bin_dir(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands of a fresh environment are that has the wheel.

    What Meshtune needs is taken from here: a second torch would take minutes, and a network.
    """
    venv = tmp_path_factory.mktemp("fresh")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    pip = [sys.executable, "-m", "pip", f"--python={venv}/bin/python", "install"]
    subprocess.run([*pip, "--quiet", "--no-deps", "--no-index", wheel], check=True)
    (theirs,) = venv.glob("lib/python*/site-packages")
    # A path in a file like this one is searched, and the editable install there is not followed.
    (theirs / "needed.pth").write_text("\n".join(site.getsitepackages()), encoding="utf-8")
    return venv / "bin"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A working folder whose `db/` and `backend/` are not ours."""
    for name in ("engine", "db", "backend", "dashboard"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('a foreign package')\n")
    return tmp_path


def told(bin_dir: Path, folder: Path, *words: str) -> str:
    """What a command says on its standard output."""
    done = subprocess.run(
        [bin_dir / "meshtune", *words],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # Libraries beneath would draw progress bars of their own.
    assert not re.search(r"Loading|it/s|%\|", done.stdout + done.stderr)
    return done.stdout


def environment(folder: Path) -> dict[str, str]:
    """Without this repository on any path."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return kept | {"MESHTUNE_STATE_DIR": str(folder / "state"), "COLUMNS": "200"}


def test_the_wheel_holds_one_package_whole(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"meshtune"}
    for folder in ("engine", "db", "backend", "dashboard"):
        ours = {
            path.relative_to(ROOT).as_posix()
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts and path.name != "README.md"
        }
        assert {f"meshtune/{name}" for name in ours} <= names
    assert {"meshtune/py.typed", "meshtune/constraints.txt"} <= names
    pages = ("index.html", "m10.html", "search/search_index.json")
    assert {f"meshtune/handbook/{page}" for page in pages} <= names


def test_the_sdist_holds_what_a_packager_needs(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"CHANGELOG.md", "docs/model.md", "tests/conftest.py", "constraints.txt", "Makefile"}
    assert needed | {"src/meshtune/engine/simulate.py", "src/meshtune/py.typed"} <= names


def test_doctor_run_and_report_work_beside_foreign_packages(bin_dir: Path, elsewhere: Path) -> None:
    assert "as tested" in told(bin_dir, elsewhere, "doctor")
    less = ("--set", "rounds=1", "--set", "evaluation.samples_per_task=2")
    told(bin_dir, elsewhere, "run", "quick", *less, "--out", "run.jsonl")
    assert len((elsewhere / "run.jsonl").read_text(encoding="utf-8").splitlines()) == 1


def test_the_doctor_names_both_versions_where_they_differ(bin_dir: Path, elsewhere: Path) -> None:
    (theirs,) = bin_dir.parent.glob("lib/python*/site-packages")
    other = theirs / "rich-0.0.1.dist-info"  # found before the one that is needed
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: rich\nVersion: 0.0.1\n")
    try:
        said = told(bin_dir, elsewhere, "doctor")
    finally:
        shutil.rmtree(other)
    assert re.search(r"rich 0\.0\.1 \(tested: \d+\.\d+\.\d+\)", said)
    assert "all as tested" not in said


@pytest.fixture
def lab(bin_dir: Path, elsewhere: Path) -> Iterator[str]:
    """Address of the API of a whole Meshtune, started by `up`."""
    page, api = free_port(), free_port()
    ports = ("--port", str(page), "--api-port", str(api))
    log = elsewhere / "up.log"
    with log.open("wb") as said:
        up = subprocess.Popen(
            [bin_dir / "meshtune", "up", *ports],
            cwd=elsewhere,
            env=environment(elsewhere),
            stdout=said,
            stderr=said,
        )
    try:
        until = time.monotonic() + PATIENCE_S
        while f"http://127.0.0.1:{page}" not in log.read_text():
            assert up.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{api}"
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(PATIENCE_S)


def test_up_trains_and_a_report_is_made(lab: str, bin_dir: Path, elsewhere: Path) -> None:
    with httpx.Client(base_url=lab, trust_env=False, timeout=60.0) as api:
        preset = next(each for each in api.get("/presets").json() if each["name"] == "quick")
        config = preset["config"] | {"rounds": 1}
        run = api.post("/runs", json={"config": config}).raise_for_status().json()["id"]
        until = time.monotonic() + 5 * PATIENCE_S
        while api.get(f"/runs/{run}").json()["status"] != "completed":
            assert time.monotonic() < until
            time.sleep(0.5)
        report = api.get("/compare/report", params={"run": run}).raise_for_status().text
        handbook = api.get("/handbook/model.html").raise_for_status().text
    assert "First light" in report
    assert 'id="m10"' in handbook
    told(bin_dir, elsewhere, "export", str(run), "--format", "html", "--out", "report.html")
    assert "First light" in (elsewhere / "report.html").read_text(encoding="utf-8")
