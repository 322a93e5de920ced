"""Rows as JSON, one a line."""

import json
from collections.abc import Iterator
from typing import Any, NoReturn

from meshtune.engine.data.rows import Cell, DataError, Fault, Row, cells_of, require_text

EXAMPLE = '{"question": "...", "answer": "..."}'


def json_rows(text: str) -> Iterator[Row | Fault]:
    """The rows of a text; blank lines are none.

    Raises:
        DataError: the text is one list, or one row that goes over lines.
    """
    _require_lines(text)
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield Row(number, _cells(line))
        except ValueError as error:
            yield Fault(number, str(error))


def _require_lines(text: str) -> None:
    begun = text.lstrip()
    if begun.startswith("[") or begun.partition("\n")[0].strip() == "{":
        raise DataError(f"the file is one JSON value; write one row a line, such as {EXAMPLE}")


def _cells(line: str) -> dict[str, Cell]:
    require_text(line)
    try:
        tree = DECODER.decode(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON from character {error.colno} on: {error.msg}") from error
    except RecursionError as error:
        raise ValueError("its lists or tables lie too deep in one another") from error
    if isinstance(tree, dict):
        return cells_of(tree)
    raise ValueError(f"it is no row with columns; write it as {EXAMPLE}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has {twice[:80]!r} twice")
    return tree


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON; write null or a text")


DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_number)
