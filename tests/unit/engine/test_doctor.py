"""What the doctor says of a machine."""

import pytest

from meshtune.engine.commands.doctor import (
    Verdict,
    check_packages,
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
