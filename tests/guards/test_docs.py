"""What the code knows, the documents name."""

import ast
import re
from pathlib import Path

import pytest

from meshtune.engine.methods import registry
from meshtune.engine.records import RoundRecord

ROOT = Path(__file__).parents[2]
DOCS = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
CODE = [
    path
    for package in ("engine", "db", "backend", "dashboard")
    for path in (ROOT / package).rglob("*.py")
]
# Invariants and defects of the reference algorithm that must have a test.
NUMBERS = {f"T{i}" for i in range(1, 16)} | {f"E{i}" for i in (1, 3, 8, 9, 10, 15)}
TESTED = dict(re.findall(r"^\| ([TE]\d+) \|.*\| `([\w./]+)` \|$", DOCS["model.md"], re.MULTILINE))
METHODS = tuple(registry.METHODS)


@pytest.mark.parametrize("field", RoundRecord.model_fields)
def test_every_field_of_a_record_is_explained(field: str) -> None:
    assert re.search(rf"^\| `{field}` \|", DOCS["metrics.md"], re.MULTILINE)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_its_heading(method: str) -> None:
    assert re.search(rf"^## {method}$", DOCS["methods.md"], re.MULTILINE)


def test_equations_that_the_code_cites_exist() -> None:
    text = "\n".join(DOCS[name] for name in ("model.md", "radio.md", "mesh.md"))
    known = set(re.findall(r"^\*\*(M\d+[a-z]?) ", text, re.MULTILINE))
    cited = {
        number
        for path in CODE
        for number in re.findall(r"\bM\d+[a-z]?\b", path.read_text(encoding="utf-8"))
    }
    assert cited <= known


def test_every_path_in_the_checklists_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:engine|db|backend|dashboard|tests)/[\w./]+)`", text)
    assert len(named) > 10
    for path in named:
        assert "my_" in path or (ROOT / path).exists(), path


def test_every_invariant_and_defect_has_a_line_in_the_table() -> None:
    assert TESTED.keys() >= NUMBERS


@pytest.mark.parametrize(("number", "file"), TESTED.items(), ids=TESTED)
def test_the_file_in_the_table_has_a_test_that_names_the_number(number: str, file: str) -> None:
    """In its name, test_t7_..., or in its docstring."""
    words = [
        f"{node.name} {ast.get_docstring(node) or ''}"
        for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert re.search(rf"(?<![a-z0-9]){number.lower()}(?![0-9])", " ".join(words).lower())
