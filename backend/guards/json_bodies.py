"""JSON as the standard has it; Python reads more, which neither store nor answer can hold."""

import json
import math
from typing import Any

from pydantic_core import from_json

LEVELS_MAX = 200  # where from_json stops; a config has fewer than ten
TOO_DEEP = f"nests deeper than {LEVELS_MAX} levels; take some of them out"
SHOWN_PARTS, SHOWN_CHARACTERS = 8, 40  # of the name of a field

Place = tuple[str | int, ...]


def first_problem(body: bytes) -> tuple[str, str] | None:
    """(field, one sentence) of the first thing that no JSON may hold; None if there is nothing.

    Found are NaN and infinite numbers, also by way of 1e400, halves of characters, and depth. Text
    that is no JSON at all is left to the parser behind, which says where it breaks.
    """
    try:
        text = body.decode(json.detect_encoding(body))
        # Both run in C; what they take needs no closer look.
        json.dumps(from_json(text, allow_inf_nan=False), allow_nan=False)
    except ValueError:
        return _closer_look(body)
    return None


def _closer_look(body: bytes) -> tuple[str, str] | None:
    try:
        tree = json.loads(body)
    except RecursionError:
        return _named(()), TOO_DEEP
    except ValueError:
        return None
    waiting: list[tuple[Place, Any]] = [((), tree)]
    while waiting:
        place, value = waiting.pop()
        if sentence := _wrong(place, value):
            return _named(place), sentence
        # The last one goes first, so what comes first in the text is put on last.
        waiting += [((*place, key), inner) for key, inner in reversed(_inside(value))]
    return None


def _inside(value: Any) -> list[tuple[str | int, Any]]:
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else []


def _wrong(place: Place, value: Any) -> str | None:
    if len(place) > LEVELS_MAX:
        return TOO_DEEP
    if isinstance(value, float) and not math.isfinite(value):
        return f"must be a finite number, not {value}"
    for text in (value, *place[-1:]):
        if isinstance(text, str) and not _whole(text):
            return f"holds half a character; send whole ones (got {ascii(text)[:80]})"
    return None


def _whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _named(place: Place) -> str:
    """As answers name fields: dotted, and without the branch that holds a whole config."""
    shown = place[1:] if len(place) > 1 and place[0] == "config" else place
    parts = [ascii(str(part))[1:-1][:SHOWN_CHARACTERS] for part in shown[:SHOWN_PARTS]]
    return ".".join(parts) + (" ..." if len(shown) > SHOWN_PARTS else "") or "body"
