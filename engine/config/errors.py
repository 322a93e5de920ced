"""What pydantic finds wrong, in one plain sentence per field."""

import math
from typing import Any

from pydantic_core import PydanticCustomError

# Fields that hold a union: pydantic puts the tag after them; a person does not write it.
UNION_FIELDS = frozenset(
    {"topology", "channel", "method", "mobility", "path_loss", "fading", "access", "loss"}
)
MISFIT = "misfit"


def misfit(field: str, sentence: str) -> PydanticCustomError:
    """What a validator raises when parts do not fit: an error at the field that should change."""
    return PydanticCustomError(MISFIT, "{sentence}", {"sentence": sentence, "field": field})


def plain_errors(errors: list[Any]) -> list[tuple[str, str]]:
    """(field, sentence) of each pydantic error: the field dotted, the value and bound in words."""
    return [(_field(error), _sentence(error)) for error in errors if not _is_echo(error, errors)]


def _is_echo(error: Any, errors: list[Any]) -> bool:
    # Items that are wrong do not count, so a list of nothing else is "too short" as well.
    depth = len(error["loc"])
    return error["type"] == "too_short" and any(
        len(other["loc"]) > depth and other["loc"][:depth] == error["loc"] for other in errors
    )


def _field(error: Any) -> str:
    if error["type"] == MISFIT:
        return str(error["ctx"]["field"])
    path = [str(part) for part in error["loc"]]
    shown = [p for before, p in zip(["", *path], path, strict=False) if before not in UNION_FIELDS]
    return ".".join(shown) or "config"


def _sentence(error: Any) -> str:
    given = error.get("input")
    if error["type"] == "extra_forbidden":
        return "there is no such field; check the spelling"
    if error["type"] == "union_tag_not_found":
        return "say which kind it is"
    if isinstance(given, float) and not math.isfinite(given):
        return f"must be a finite number, not {given}"
    message = str(error["msg"]).removeprefix("Value error, ")
    shown = f" (got {repr(given)[:80]})" if isinstance(given, str | int | float) else ""
    return message[:1].lower() + message[1:] + shown
