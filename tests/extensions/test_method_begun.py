"""The checklist of CONTRIBUTING, carried out in a clone: `meshtune new method`, then edits."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from meshtune.engine.commands import new
from meshtune.engine.commands.new import NotBegun, begin_method

ROOT = Path(__file__).parents[2]
KEPT = ("engine", "db", "backend", "dashboard", "src", "tests", "docs")
COPIED = shutil.ignore_patterns("__pycache__", "node_modules", "screens", "handbook")
NAME = "every_third"

PLAN_AND_RUN = """
import json
from meshtune.engine.planning.plan import plan
from meshtune.engine.simulate import simulate
from meshtune.engine.world import build_world, initial_state
from tests.support.builders import tiny_config

config = tiny_config(
    rounds=7, method__kind="every_third", method__every=3, fleet__devices=3, topology__kind="ring",
)
foreseen, world = plan(config), build_world(config)
bits = [
    sum(device.sent_bits for device in record.devices)
    for _, record in simulate(world, initial_state(world))
]
print(json.dumps({"foreseen": foreseen.total.payload_bits, "bits": bits}))
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working copy in which the method was begun."""
    copy = tmp_path_factory.mktemp("begun") / "meshtune"
    copy.mkdir()
    for folder in KEPT:
        shutil.copytree(ROOT / folder, copy / folder, symlinks=True, ignore=COPIED)
    for file in ("pyproject.toml", "constraints.txt", "CONTRIBUTING.md"):
        shutil.copy(ROOT / file, copy / file)
    assert len(list(begin_method(NAME, copy))) == 8
    return copy


def run(clone: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A Python program in the clone, whose sources come first."""
    path = os.pathsep.join([str(clone / "src"), str(clone)])
    done = subprocess.run(
        [sys.executable, *words],
        cwd=clone,
        env={**os.environ, "PYTHONPATH": path, "MYPYPATH": str(clone / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_what_is_written_is_clean(clone: Path) -> None:
    written = [f"engine/methods/{NAME}", "engine/methods/registry.py", "tests/unit/engine"]
    run(clone, "-m", "ruff", "check", *written)
    run(clone, "-m", "ruff", "format", "--check", *written)


def test_its_types_are_right(clone: Path) -> None:
    cache = clone / ".mypy_cache"
    if (ROOT / ".mypy_cache").is_dir():  # of `make check`: everything else is known already
        shutil.copytree(ROOT / ".mypy_cache", cache)
    run(clone, "-m", "mypy", f"--cache-dir={cache}", "-p", f"meshtune.engine.methods.{NAME}")


def test_its_plan_is_its_run(clone: Path) -> None:
    said = json.loads(run(clone, "-c", PLAN_AND_RUN).stdout)
    assert [t for t, sent in enumerate(said["bits"]) if sent] == [2, 5]
    assert said["foreseen"] == sum(said["bits"])


def test_rows_and_headings_find_it(clone: Path) -> None:
    """Of its own golden run only the record is missing, which `make golden` writes."""
    run(
        clone,
        *("-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-k", NAME),
        *("tests/unit/engine/test_method_matrix.py", "tests/guards/test_docs.py"),
    )
    run(
        clone,
        *("-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "--rewrite", "-k", NAME),
        "tests/golden",
    )
    assert (clone / "tests" / "golden" / f"{NAME}.json").is_file()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Every-Third", "is no name"),
        ("", "is no name"),
        ("../up", "is no name"),
        ("so_lora", "there is a method 'so_lora' already"),
    ],
)
def test_a_name_that_does_not_fit_writes_nothing(clone: Path, name: str, sentence: str) -> None:
    before = sorted(clone.rglob("*.py"))
    with pytest.raises(NotBegun, match=sentence):
        list(begin_method(name, clone))
    assert sorted(clone.rglob("*.py")) == before


def test_a_list_without_its_last_line_writes_nothing(tmp_path: Path) -> None:
    for place in (new.REGISTRY, new.DOCS, new.ROWS):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(new.LAST_BUILT_IN)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(NotBegun, match=r"test_method_matrix\.py has no place for a row"):
        list(begin_method("fine", tmp_path))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_is_no_checkout_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotBegun, match="name a checkout with --in"):
        list(begin_method("fine", tmp_path))
