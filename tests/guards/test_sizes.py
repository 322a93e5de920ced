"""The tool that `make check` asks for sizes and circles sees them."""

import ast
from pathlib import Path

import pytest

from tests.guards import sizes


def house(root: Path, **sources: str) -> Path:
    """A house with these modules in `engine/`; the other packages are empty."""
    for name in sizes.PACKAGES:
        (root / name).mkdir()
        (root / name / "__init__.py").write_text("")
    for name, text in {"plain": "def f():\n    pass\n", **sources}.items():
        (root / "engine" / f"{name}.py").write_text(text)
    return root


def test_a_plain_house_has_no_fault(tmp_path: Path) -> None:
    assert sizes.report(house(tmp_path)).faults == []


def test_a_long_module_is_a_fault_unless_it_is_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = house(tmp_path, table="ROWS = 1\n" * 401, almost="ROWS = 1\n" * 400)
    assert sizes.report(root).faults == ["engine/table.py has 401 lines, more than 400"]
    monkeypatch.setattr(sizes, "DATA", frozenset({"engine/table.py"}))
    assert sizes.report(root).faults == []


def test_lines_of_a_function_count_from_def_without_its_docstring() -> None:
    source = '@cache\ndef f(\n    a,\n):\n    """One\n\n    two.\n    """\n    return a\n'
    assert list(sizes.function_sizes(ast.parse(source))) == [4]


def test_long_functions_are_a_fault(tmp_path: Path) -> None:
    text = "def f():\n" + "    x = 1\n" * 25
    faults = sizes.report(house(tmp_path, long=text, longer=text.replace("def f", "def g"))).faults
    assert len(faults) == 2
    assert all(word in " ".join(faults) for word in ("median", "90th percentile", "26 lines"))


@pytest.mark.parametrize(
    ("first", "second", "faults"),
    [
        ("from meshtune.engine.b import x", "import meshtune.engine.a", 1),
        ("from meshtune.engine import b", "from meshtune.engine import a", 1),
        ("def f():\n    import meshtune.engine.b", "import meshtune.engine.a", 0),
        ("if TYPE_CHECKING:\n    import meshtune.engine.b", "import meshtune.engine.a", 0),
        ("import meshtune.engine.b", "import meshtune.engine.plain", 0),
    ],
)
def test_a_circle_is_what_is_imported_at_once(
    tmp_path: Path, first: str, second: str, faults: int
) -> None:
    found = sizes.report(house(tmp_path, a=first, b=second))
    assert len(found.faults) == faults
    if faults:
        assert "meshtune.engine.a > meshtune.engine.b" in found.faults[0]
    later = "TYPE_CHECKING" in first or "def f" in first
    assert f"circles: {faults}, {faults + later} if later imports count" in found.lines
