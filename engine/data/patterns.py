"""Texts with places for columns: `{question}` is the cell of that name, `{{` a brace."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from meshtune.engine.data.rows import Cell, NoColumn

PIECE = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|[{}]")
COLUMNS_SHOWN = 20

Piece = tuple[str, str | None]


@cache
def pieces(pattern: str) -> tuple[Piece, ...]:
    """What a pattern is put together from: a text, and the column whose cell follows it if any.

    All between braces is a name, as the file has it; nothing of it is looked into or computed.

    Raises:
        ValueError: a brace has no partner or holds no name.
    """
    found: list[Piece] = []
    text, end = "", 0
    for piece in PIECE.finditer(pattern):
        text += pattern[end : piece.start()]
        end = piece.end()
        if piece[1]:
            found.append((text, piece[1]))
            text = ""
        elif len(piece[0]) == 2:
            text += piece[0][0]
        else:
            raise ValueError("it has a brace without a name; write {column}, and {{ for a brace")
    return (*found, (text + pattern[end:], None))


def columns_in(pattern: str) -> list[str]:
    """The columns that a pattern names."""
    return [column for _, column in pieces(pattern) if column is not None]


def filled(pattern: str, cells: Mapping[str, Cell]) -> str:
    """The text of a row by a pattern.

    Raises:
        ValueError: the row lacks a column, or has a list there.
    """
    return "".join(
        text if column is None else text + _one(column, cells) for text, column in pieces(pattern)
    )


def listed(patterns: Sequence[str], cells: Mapping[str, Cell]) -> tuple[str, ...]:
    """The texts of a row by several patterns; one that is a column alone may be a list of them.

    Raises:
        ValueError: as `filled`.
    """
    if len(patterns) == 1:
        cell = cells.get(patterns[0][1:-1]) if _is_column(patterns[0]) else None
        many = _many(cell) if isinstance(cell, str) else cell
        if many is not None:
            return many
    return tuple(filled(pattern, cells) for pattern in patterns)


def require_columns(wanted: Iterable[str], columns: Sequence[str], field: str) -> None:
    """Whether the columns exist that a field names.

    Raises:
        NoColumn: one does not; offers the nearest.
    """
    for name in wanted:
        if name in columns:
            continue
        lower = {column.casefold(): column for column in columns}
        near = difflib.get_close_matches(name.casefold(), list(lower), n=1)
        meant = f"did you mean {lower[near[0]]!r}? The" if near else "the"
        raise NoColumn(
            field,
            f"there is no column {name[:80]!r}; {meant} columns are {shown_columns(columns)}",
        )


def shown_columns(columns: Sequence[str]) -> str:
    """The first columns by name, the rest as a count."""
    named = ", ".join(column[:80] for column in columns[:COLUMNS_SHOWN])
    more = len(columns) - COLUMNS_SHOWN
    return f"{named} and {more} more" if more > 0 else named


def _is_column(pattern: str) -> bool:
    return [text for text, _ in pieces(pattern)] == ["", ""]


def _many(cell: str) -> tuple[str, ...] | None:
    """The texts of a list that a sheet holds as JSON; None if it is another text."""
    if not cell.startswith("["):
        return None
    try:
        items = json.loads(cell)
    except (ValueError, RecursionError):
        return None
    texts = isinstance(items, list) and all(isinstance(item, str) for item in items)
    return tuple(items) if texts else None


def _one(column: str, cells: Mapping[str, Cell]) -> str:
    cell = cells.get(column)
    if isinstance(cell, str):
        return cell
    if cell is None:
        raise ValueError(f"it has no column {column[:80]!r}")
    raise ValueError(f"its column {column[:80]!r} is a list, which only choices can be")
