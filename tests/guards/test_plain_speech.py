"""Errors speak to people: no verbs of HTTP, no routes, no words of Python or pydantic."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from meshtune.backend.schemas import runs as schemas
from meshtune.engine.config import RunConfig, plain_errors
from meshtune.engine.sweep import SweepSpec

ROOT = Path(__file__).parents[2]
FILES = [
    path
    for package in ("engine", "db", "backend", "dashboard")
    for path in sorted((ROOT / package).rglob("*.py"))
]
SPEECH = re.compile(
    r"\b(GET|POST|PUT|PATCH|DELETE|HTTP)\b|(?<![\w.])/(runs|sweeps|drafts|compare|playground)\b"
    r"|pydantic|traceback|\bNoneType\b|\b(Value|Type|Key)Error\b|\b(dict|tuple|kwargs?)\b"
    r"|\bendpoint\b|\bstatus code\b|\bthe (request )?body (is|did) (larger|not arrive)"
)
SAYING = {"error", "warning", "info", "caption", "problem", "misfit", "echo", "print"}


def sentences(path: Path) -> Iterator[tuple[int, str]]:
    """What a file says when it raises an error or shows a message."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        said: ast.AST | None = None
        if isinstance(node, ast.Raise):
            said = node.exc
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            said = node if name in SAYING or _begins_an_error(node) else None
        elif isinstance(node, ast.FunctionDef) and node.name == "__str__":
            said = node
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            said = node.value if path.name == "errors.py" else None
        for each in ast.walk(said) if said is not None else ():
            if isinstance(each, ast.Constant) and isinstance(each.value, str):
                yield each.lineno, each.value


def _begins_an_error(node: ast.Call) -> bool:
    return (
        isinstance(node.func, ast.Attribute)
        and node.func.attr == "__init__"
        and isinstance(node.func.value, ast.Call)
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_error_speaks_of_http_or_python(path: Path) -> None:
    found = [(line, text) for line, text in sentences(path) if SPEECH.search(text)]
    assert found == []


def test_the_scan_sees_what_was_said_before() -> None:
    assert SPEECH.search("there is no run 3; GET /runs lists those that exist")
    assert SPEECH.search("run 3 was deleted; POST /runs/3/restore brings it back")


# Every kind of thing that a person can get wrong in a form, a file or a body.
WRONG: list[tuple[type[BaseModel], dict[str, Any]]] = [
    (RunConfig, {"name": "x" * 81}),
    (RunConfig, {"name": ""}),
    (RunConfig, {"name": "a\tb"}),
    (RunConfig, {"name": 5}),
    (RunConfig, {"seed": -1}),
    (RunConfig, {"seed": None}),
    (RunConfig, {"seed": 10**30}),
    (RunConfig, {"rounds": "many"}),
    (RunConfig, {"rounds": 2.5}),
    (RunConfig, {"rounds": [1]}),
    (RunConfig, {"churn": 3}),
    (RunConfig, {"fleet": {"tasks": []}}),
    (RunConfig, {"fleet": {"tasks": 3}}),
    (RunConfig, {"fleet": {"tasks": ["cooking"]}}),
    (RunConfig, {"method": {"kind": "nix"}}),
    (RunConfig, {"method": {}}),
    (RunConfig, {"method": {"kind": "so_lora", "density": 5}}),
    (RunConfig, {"method": {"kind": "so_lora", "density": None}}),
    (RunConfig, {"method": {"kind": "so_lora", "density": "half"}}),
    (RunConfig, {"topology": {"kind": "drawn", "positions": [{"x_m": 1}], "links": [[0, 1, 2]]}}),
    (SweepSpec, {"name": "x" * 81}),
    (SweepSpec, {"seeds": 0}),
    (SweepSpec, {"samples": None}),
    (SweepSpec, {"fresh": "perhaps"}),
    (schemas.RunPatch, {"note": "x" * 2001}),
    (schemas.RunPatch, {"note": "\0"}),
    (schemas.RunPatch, {"priority": 1e9}),
    (schemas.TopologyFile, {}),
]


@pytest.mark.parametrize(("model", "values"), WRONG)
def test_what_is_wrong_is_told_in_words_of_the_product(
    model: type[BaseModel], values: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError) as refused:
        model.model_validate(values)
    for field, sentence in plain_errors(refused.value.errors()):
        assert field
        assert not re.search(
            r"input|\bstring\b|dictionary|instance|tuple|\bvalid\b|validation|pattern|parse"
            r"|\bNone\b|type=|extra",
            sentence,
        ), sentence
