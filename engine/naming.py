"""Names of runs that are made from others: by what changed, and by how many there are.

Light: the command line, sweeps and the dashboard name runs by this file.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from meshtune.engine.quantities import quantity

NAME_MAX = 80  # characters of the name of a run
ARROW, CHANGED = " → ", "changed"
NUMBER = re.compile(r" \(\d+\)$")  # of runs that are called the same
COUNTED = re.compile(r"(\d+) more")
UNNAMED_FIELDS = {"name", "schema_version"}
UNITS = {
    "_bits": "bit",
    "_m_s": "m/s",
    "_dbm": "dBm",
    "_hz": "Hz",
    "_db": "dB",
    "_m": "m",
    "_s": "s",
    "_w": "W",
}

Told = Callable[[str, Any], str]


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A config tree as dotted field -> value."""
    fields: dict[str, Any] = {}
    for name, value in tree.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            fields.update(flat(value, f"{path}."))
        else:
            fields[path] = value
    return fields


def field_word(field: str) -> str:
    """What a dotted config field is called in a name: learning rate, bandwidth, method."""
    *branches, leaf = field.split(".")
    if leaf == "kind" and branches:
        leaf = branches[-1]
    return leaf.removesuffix(_unit_suffix(leaf)).replace("_", " ")


def value_text(field: str, value: Any) -> str:
    """A value as a name has it, with its unit where its field ends in one."""
    unit = UNITS.get(_unit_suffix(field), "")
    if isinstance(value, int | float) and not isinstance(value, bool):
        if unit == "Hz":
            return quantity(value, unit)
        number = f"{value:g}" if isinstance(value, float) else str(value)
        return f"{number} {unit}".strip()
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)


def changed_name(
    name: str, before: Mapping[str, Any], after: Mapping[str, Any], told: Told = value_text
) -> str:
    """The name of a run that began as the one called `name`: "First light, density 0.5 → 0.25".

    Changes that the name tells already are joined with the new ones. What does not fit is counted.

    Args:
        name: of the run or preset that it began with.
        before: dotted config fields of that.
        after: the same of the new config.
        told: how a value of a field is written.
    """
    root, earlier, uncounted = _parts(name, {field_word(field) for field in after})
    new: dict[str, str] = {}
    for field, value in after.items():
        if field in UNNAMED_FIELDS or field not in before or before[field] == value:
            continue
        word = field_word(field)
        if word in new:  # of another branch
            word = f"{field_word(field.rpartition('.')[0])} {word}"
        new[word] = _change(earlier.pop(word, ""), field, before[field], value, told)
    changes = {word: change for word, change in {**earlier, **new}.items() if change}
    return _fitting(root, [f"{word} {change}" for word, change in changes.items()], uncounted)


def _change(earlier: str, field: str, before: Any, after: Any, told: Told) -> str:
    """From what to what, since before the `earlier` change; empty if it is that again."""
    if isinstance(before, list | dict) or isinstance(after, list | dict):
        return CHANGED
    first = earlier.partition(ARROW)[0] or told(field, before)
    last = told(field, after)
    return "" if first == last else f"{first}{ARROW}{last}"


def numbered(name: str, taken: Collection[str]) -> str:
    """`name`, or "name (2)" and so on where it is taken; never longer than a name may be."""
    made, number = name, 1
    while made in taken:
        number += 1
        made = _ended(plain_name(name), f" ({number})")
    return made


def plain_name(name: str) -> str:
    """A name without the number that tells it from others."""
    return NUMBER.sub("", name)


def _parts(name: str, words: Collection[str]) -> tuple[str, dict[str, str], int]:
    """A name without the changes that it tells, these by their word, and how many it only counts.

    A piece that tells no change belongs to the name proper, with what stands before it.
    """
    pieces = name.split(", ")
    changes: dict[str, str] = {}
    uncounted = 0
    while len(pieces) > 1:
        counted = COUNTED.fullmatch(pieces[-1])
        word = max((w for w in words if pieces[-1].startswith(f"{w} ")), key=len, default="")
        change = pieces[-1].removeprefix(f"{word} ")
        if counted:
            uncounted += int(counted[1])
        elif word and (ARROW in change or change == CHANGED):
            changes = {word: change, **changes}
        else:
            break
        pieces.pop()
    return plain_name(", ".join(pieces)), changes, uncounted


def _fitting(root: str, changes: list[str], uncounted: int) -> str:
    for kept in range(len(changes), 0, -1):
        left = len(changes) - kept + uncounted
        made = ", ".join([root, *changes[:kept], *([f"{left} more"] if left else [])])
        if len(made) <= NAME_MAX:
            return made
    count = len(changes) + uncounted
    return _ended(root, f", {count} more" if changes else "") if count else root


def _ended(name: str, end: str) -> str:
    room = NAME_MAX - len(end)
    return f"{name}{end}" if len(name) <= room else f"{name[: room - 1].rstrip()}…{end}"


def _unit_suffix(field: str) -> str:
    return next((suffix for suffix in UNITS if field.endswith(suffix)), "")
