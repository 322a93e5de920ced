"""What pydantic finds wrong, in one plain sentence per field."""

import math
import re
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticCustomError

from meshtune.engine.config.nearest import nearest, no_such_field
from meshtune.engine.fields import INPUT_NAME

# Fields that hold a union: pydantic puts the tag after them; a person does not write it.
UNION_FIELDS = frozenset(
    {
        "topology",
        "channel",
        "method",
        "mobility",
        "partition",
        "path_loss",
        "fading",
        "access",
        "loss",
    }
)
MISFIT = "misfit"
UNSHOWN = {"string_too_long", "string_too_short", "union_tag_invalid"}  # the value says no more
NO_CONTROLS = "has a tab, a line break or another character that cannot be seen; take it out"
PATTERNS = {
    r"^[^\x00-\x1f\x7f]+$": NO_CONTROLS,
    r"^[^\x00]*$": "has a zero byte, which cannot be stored; take it out",
    INPUT_NAME: "takes letters, digits, - and _, and begins with one of the first two",
    r"^[a-z][a-z0-9_]*$": "takes small letters, digits and _, and begins with a letter",
    r"^([0-9a-f]{64})?$": "must be 64 digits from 0 to f, or empty",
}
PLAIN = {
    "missing": "is missing; give it a value",
    "string_too_short": "is empty; give it a value",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "dict_type": "must be a table of fields",
    "mapping_type": "must be a table of fields",
    "model_type": "must be a table of fields",
    "model_attributes_type": "must be a table of fields",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
}


def misfit(field: str, sentence: str) -> PydanticCustomError:
    """What a validator raises when parts do not fit: an error at the field that should change."""
    return PydanticCustomError(MISFIT, "{sentence}", {"sentence": sentence, "field": field})


def plain_errors(errors: list[Any], root: type[BaseModel] | None = None) -> list[tuple[str, str]]:
    """(field, sentence) of each pydantic error: the field dotted, the value and bound in words.

    Args:
        errors: as pydantic lists them; one may say itself, as "root", whose field it is about.
        root: the model that was validated; a field that it does not have is told with the nearest.
    """
    return [
        (_field(error), _sentence(error, error.get("root", root)))
        for error in errors
        if not _is_echo(error, errors)
    ]


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


def _sentence(error: Any, root: type[BaseModel] | None) -> str:
    given = error.get("input")
    match error["type"]:
        case "extra_forbidden":
            return no_such_field(root, error["loc"])
        case "union_tag_not_found":
            typed = list(given) if isinstance(given, dict) else []
            wrong = next((name for name in typed if nearest(str(name), ["kind"])), None)
            return "say which kind it is" + (f" with kind, not {wrong}" if wrong else "")
        case "union_tag_invalid":
            tag, tags = str(error["ctx"]["tag"]), str(error["ctx"]["expected_tags"])
            return f"there is no kind {tag[:80]!r}; choose one of {tags}{_meant(tag, tags)}"
    if isinstance(given, float) and not math.isfinite(given):
        return f"must be a finite number, not {given}"
    message = _plain_message(error)
    shown = f" (got {repr(given)[:80]})" if isinstance(given, str | int | float) else ""
    if error["type"] in UNSHOWN:
        shown = ""
    hint = _meant(given, error["ctx"]["expected"]) if error["type"] == "literal_error" else ""
    return message[:1].lower() + message[1:] + shown + hint


def _meant(given: Any, listed: str) -> str:
    """The nearest of the quoted names in `listed`, as a question."""
    names = re.findall(r"'([^']*)'", listed)
    name = nearest(given, names) if isinstance(given, str) else None
    return "" if name is None else f"; did you mean {name}?"


def _plain_message(error: Any) -> str:
    """What is wrong, in words of the product: pydantic's own speak of Python."""
    kind, ctx = str(error["type"]), error.get("ctx", {})
    if error.get("input", 0) is None and kind not in ("missing", MISFIT):
        return "is empty; give it a value"
    if kind == "string_pattern_mismatch":
        return PATTERNS.get(str(ctx["pattern"]), "has a character that is not allowed here")
    if kind == "string_too_long":
        length = len(str(error["input"]))
        return f"has {length} characters; at most {ctx['max_length']} are taken, so shorten it"
    if kind in ("too_long", "too_short"):
        bound = ctx["max_length"] if kind == "too_long" else ctx["min_length"]
        word = "takes at most" if kind == "too_long" else "needs at least"
        return f"{word} {bound} {'entry' if bound == 1 else 'entries'}, not {ctx['actual_length']}"
    said = PLAIN.get(kind) or str(error["msg"]).removeprefix("Value error, ")
    return said.replace("Input should be", "must be")
