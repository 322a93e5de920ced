"""Types of columns: what one of them writes it reads again as it was, or it refuses to write it.

Reading is total. A row that another version wrote, or a fault of the disk changed, is shown as well
as it can be, because one such row must not take a whole list, or the queue, with it.
"""

import json
import math
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic_core import from_json
from sqlalchemy import Dialect, Double, String, TypeDecorator

# Within these years a double holds microseconds exactly, and so do the tables of pandas.
EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)


def storable(moment: datetime) -> datetime:
    """The moment itself.

    Raises:
        ValueError: it cannot be stored.
    """
    if not EARLIEST <= moment <= LATEST:
        raise ValueError(
            f"must lie between the years {EARLIEST.year} and {LATEST.year}; correct the clock or "
            "the file that it comes from"
        )
    return moment


class Instant(TypeDecorator[datetime]):
    """A moment as seconds since 1970: the same on every database, always read back in UTC."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> float | None:
        """Seconds since 1970."""
        return None if value is None else storable(value).timestamp()

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """The moment, in UTC; the nearest that is possible if there is no such moment."""
        if value is None:
            return None
        if not isinstance(value, int | float):
            return EARLIEST
        nearest = min(max(value, EARLIEST.timestamp()), LATEST.timestamp())
        return datetime.fromtimestamp(nearest, UTC)


class Word(TypeDecorator[StrEnum]):
    """One of a few words, as text; the table has a check of them.

    A word that is none of them is read as `otherwise`.
    """

    impl = String(16)
    cache_ok = True

    def __init__(self, kind: type[StrEnum], otherwise: StrEnum) -> None:
        super().__init__()
        self.kind = kind
        self.otherwise = otherwise

    def process_bind_param(self, value: StrEnum | None, dialect: Dialect) -> str | None:
        """The word as text."""
        return None if value is None else str(self.kind(value))

    def process_result_value(self, value: Any, dialect: Dialect) -> StrEnum | None:
        """The word of this text."""
        if value is None:
            return None
        try:
            return self.kind(value)
        except ValueError:
            return self.otherwise


class Number(TypeDecorator[float]):
    """A finite number: SQLite would read NaN back as nothing at all, and JSON has no infinity."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:
        """The number."""
        if value is not None and not math.isfinite(value):
            raise ValueError(f"must be a finite number to be stored, not {value}")
        return value


def as_json(value: Any) -> str:
    """The text of a JSON column.

    Raises:
        ValueError: no reader could parse it: a number that is not finite, half a character, or
            more than 200 levels in a tree.
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    # Trees come from people. Lists come from the engine and are long, so they are not read twice.
    if isinstance(value, dict) or "\\ud" in text:
        from_json(text)
    return text


def of_json(text: str | bytes) -> Any:
    """The value of a JSON column; None if its text is damaged."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
