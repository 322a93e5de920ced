"""Which fields there are at a place of a config, and which of them a person may have meant."""

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel

CLOSE = 0.6  # share of letters in common from which a name is offered


def no_such_field(root: type[BaseModel] | None, place: Sequence[str | int]) -> str:
    """The sentence for a field that does not exist, with the nearest that does.

    Args:
        root: the model whose fields `place` names; None if it is not known.
        place: where the unknown field is, kinds of unions included or not.
    """
    meant = None if root is None else nearest_field(root, place)
    hint = "check the spelling" if meant is None else f"did you mean {meant}?"
    return f"there is no such field; {hint}"


def nearest_field(root: type[BaseModel], place: Sequence[str | int]) -> str | None:
    """Dotted name of the field that `place` may have meant; None if none is near.

    A name beside it counts first, then the same name elsewhere in the tree.
    """
    here: list[type[BaseModel]] = [root]
    found: list[str] = []  # of the place, kinds and numbers of items left out
    for part in place[:-1]:
        inside = [model for each in here for model in _inside(each, part)]
        if inside:
            found.append(str(part))
            here = inside
        elif isinstance(part, str) and (tagged := [m for m in here if _kind(m) == part]):
            here = tagged
        elif isinstance(part, str):
            return _renamed(here, found, part, place)
    return _renamed(here, found, str(place[-1]), place)


def nearest(given: str, names: Sequence[str]) -> str | None:
    """The name that `given` may have been meant to be; None if none is near."""
    close = difflib.get_close_matches(given.casefold(), names, n=1, cutoff=CLOSE)
    return close[0] if close else None


def _renamed(
    here: Sequence[type[BaseModel]], found: list[str], wrong: str, place: Sequence[str | int]
) -> str | None:
    beside = nearest(wrong, [name for model in here for name in _names(model)])
    if beside is not None:
        return ".".join([*found, beside])
    leaf = str(place[-1])
    return next((name for model in here for name in _everywhere(model, found, leaf)), None)


def _everywhere(model: type[BaseModel], above: Sequence[str], leaf: str) -> Iterator[str]:
    """Dotted names below a model that end in `leaf`."""
    for name in _names(model):
        for inner in _inside(model, name):
            if leaf in _names(inner):
                yield ".".join([*above, name, leaf])
            yield from _everywhere(inner, [*above, name], leaf)


def _names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _inside(model: type[BaseModel], part: str | int) -> list[type[BaseModel]]:
    """The models that the field `part` of a model can hold."""
    fields = model.model_fields.items()
    return [
        inner
        for name, field in fields
        if (field.alias or name) == part
        for inner in _models(field.annotation)
    ]


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _kind(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("kind")
    return None if field is None else str(get_args(field.annotation)[0])
