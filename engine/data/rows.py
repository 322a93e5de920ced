"""What every format of rows is read into: cells of text by column, with the line they stand on."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshtune.engine.errors import EngineError

Cell = str | tuple[str, ...]

ROW_MAX = 131_072  # characters of a row: what the csv module takes as one cell
NAMED_MAX = 5  # rows that are told one by one
ZERO_BYTE = "it holds a zero byte"
NOT_A_TEXT = re.compile("[\x00\ud800-\udfff]")


class DataError(EngineError):
    """A file of rows, or what shall be made of it, cannot be used."""


class NoColumn(DataError):
    """A field names a column that the rows do not have."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(f"{field}: {sentence}")
        self.field, self.sentence = field, sentence


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        number: Of its first line in the file, from 1; of the row in a format without lines.
        cells: By column. A list stays one; all else is text.
    """

    number: int
    cells: Mapping[str, Cell]


@dataclass(frozen=True)
class Fault:
    """Why the row of this number is left out; the sentence has no full stop."""

    number: int
    sentence: str


@dataclass(frozen=True)
class Table:
    """The rows of a file that can be used, and what is wrong with the others.

    Attributes:
        columns: All that any row has, in the order in which they are met.
        sha256: Of the file, in hex.
        unit: What rows are counted in: line, or row in a format without lines.
    """

    rows: tuple[Row, ...]
    faults: tuple[Fault, ...]
    columns: tuple[str, ...]
    sha256: str
    unit: str


def told(faults: Sequence[Fault], unit: str, most: int = NAMED_MAX) -> Iterator[str]:
    """A sentence for each of the first faults, and one that counts the rest."""
    for fault in faults[:most]:
        yield f"{unit} {fault.number}: {fault.sentence}"
    if len(faults) > most:
        yield f"and {len(faults) - most} more"


def cells_of(tree: Mapping[str, Any]) -> dict[str, Cell]:
    """The cells of a row that may hold tables: `{"a": {"b": 1}}` has the column `a.b`.

    A list of tables with the same columns becomes a list per column. True and false are written
    so, nothing at all is an empty text, and whole numbers have no decimals.

    Raises:
        ValueError: a text cannot be used, or two columns have one name.
    """
    cells: dict[str, Cell] = {}
    for path, value in _leaves(tree, ""):
        name = _text(path)
        if name in cells:
            raise ValueError(f"two of its columns are called {name[:80]!r}")
        cells[name] = tuple(map(_text, value)) if isinstance(value, list) else _text(value)
    return cells


def require_text(line: str) -> None:
    """Whether a line of a file can be read on.

    Raises:
        ValueError: it is too long, or no text; bytes that are none have become surrogates.
    """
    if len(line) > ROW_MAX:
        raise ValueError(f"it has {len(line)} characters; at most {ROW_MAX} are read")
    found = NOT_A_TEXT.search(line)
    if found:
        raise ValueError(ZERO_BYTE if found[0] == "\x00" else "it holds bytes that are not UTF-8")


def _leaves(tree: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        path = f"{above}{name}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}.")
        elif isinstance(value, list) and _alike(value):
            yield from ((f"{path}.{key}", [each[key] for each in value]) for key in value[0])
        else:
            yield path, value


def _alike(items: list[Any]) -> bool:
    """Whether they are tables with the same columns."""
    return bool(items) and all(
        isinstance(each, Mapping) and each.keys() == items[0].keys() for each in items
    )


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else _written(value)
    found = NOT_A_TEXT.search(text)
    if found:
        raise ValueError(ZERO_BYTE if found[0] == "\x00" else "it holds half a character (\\ud...)")
    return text


def _written(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float() if value != value:  # how tables of numbers write that there is none
            return ""
        case float() if value.is_integer():
            return f"{value:.0f}"
        case list() | dict():
            return json.dumps(value, ensure_ascii=False, default=str)
        case _:
            return str(value)
