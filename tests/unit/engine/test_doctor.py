"""What the doctor says of a machine."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from meshtune.engine.commands import doctor
from meshtune.engine.commands.doctor import (
    Verdict,
    check_packages,
    check_processor,
    check_python,
    installed_versions,
    pinned_versions,
)


def test_this_python_is_new_enough() -> None:
    assert check_python().verdict is Verdict.GOOD


def test_every_package_that_is_asked_for_is_pinned() -> None:
    pinned = {name.lower().replace("_", "-") for name in pinned_versions()}
    assert set(installed_versions()) <= pinned


@pytest.mark.parametrize("found", ["2.13.0", "2.13.0+cpu"])
def test_the_pinned_version_is_good_whatever_its_build(found: str) -> None:
    assert check_packages({"torch": "2.13.0"}, {"torch": found}).verdict is Verdict.GOOD


def test_another_version_is_a_note_that_names_both() -> None:
    check = check_packages({"SQLAlchemy": "2.1.9"}, {"sqlalchemy": "2.1.8"})
    assert check.verdict is Verdict.NOTE
    assert "2.1.8" in check.found
    assert "2.1.9" in check.found


def test_a_missing_package_is_a_failure_with_advice() -> None:
    check = check_packages({}, {"torch": None})
    assert check.verdict is Verdict.BAD
    assert "torch" in check.found
    assert check.advice


def test_a_package_without_a_pin_is_not_called_tested() -> None:
    check = check_packages({"torch": "2.13.0"}, {"torch": "2.13.0", "numpy": "2.2.0"})
    assert check.verdict is Verdict.NOTE
    assert check.found == "tested versions not known: numpy"


@pytest.mark.parametrize("installed", [{}, {"torch": "2.13.0"}])
def test_nothing_is_called_tested_where_nothing_is_known(installed: dict[str, str | None]) -> None:
    check = check_packages({}, installed)
    assert check.verdict is Verdict.NOTE
    assert check.found == "tested versions not known: all packages"


def test_a_package_that_came_without_its_pins_knows_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "files", lambda _: tmp_path)
    assert pinned_versions() == {}


def test_a_graphics_card_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Big Card")
    assert "Big Card, not used" in [check.found for check in check_processor()]


def test_the_model_is_read_without_a_word_and_without_transformers() -> None:
    code = (
        "import sys; from meshtune.engine.commands.doctor import engine_checks\n"
        "engine_checks(); print('transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("False\n", "")
