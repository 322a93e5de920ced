"""A field of a pydantic model as a form sees it: kind, bounds and unit. Pure."""

import inspect
import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MultipleOf
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from meshtune.dashboard.look.handbook import cited
from meshtune.engine.config import TASK_NAMES, FileTask, Pattern, TaskWord

Kind = Literal[
    "constant",
    "kept",
    "int",
    "float",
    "text",
    "texts",
    "choice",
    "choices",
    "rows",
    "pairs",
    "branch",
    "union",
]


@dataclass(frozen=True)
class Spec:
    """What a form must know of one field."""

    kind: Kind
    title: str
    help: str
    unit: str
    our_choice: bool
    low: float | None
    high: float | None
    most: int | None
    multiple_of: int | None
    options: tuple[Any, ...]
    models: tuple[type[BaseModel], ...]


def spec_of(info: FieldInfo, name: str) -> Spec:
    """The spec of a model field."""
    kind, options, models = _kind_of(info.annotation, info.discriminator is not None)
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    lows = [m.ge if isinstance(m, Ge) else m.gt for m in info.metadata if isinstance(m, Ge | Gt)]
    highs = [m.le if isinstance(m, Le) else m.lt for m in info.metadata if isinstance(m, Le | Lt)]
    return Spec(
        kind=kind,
        title=info.title or name.replace("_", " ").capitalize(),
        help=cited(info.description or ""),
        unit=str(extra.get("unit", "")),
        our_choice=bool(extra.get("our_choice", False)),
        low=_number(lows),
        high=_number(highs),
        most=next((m.max_length for m in info.metadata if isinstance(m, MaxLen)), None),
        multiple_of=next(
            (int(str(m.multiple_of)) for m in info.metadata if isinstance(m, MultipleOf)), None
        ),
        options=options,
        models=models,
    )


def _number(bounds: Sequence[object]) -> float | None:
    return next((float(bound) for bound in bounds if isinstance(bound, int | float)), None)


def _kind_of(
    annotation: Any, discriminated: bool
) -> tuple[Kind, tuple[Any, ...], tuple[type[BaseModel], ...]]:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ("choice" if len(inner) > 1 else "constant"), inner, ()
    if discriminated and origin in (Union, types.UnionType):
        return "union", (), inner
    if origin is tuple and inner[-1] is Ellipsis:
        return _rows_of(inner[0])
    if get_origin(annotation) is Annotated:
        return _kind_of(inner[0], discriminated)
    if isinstance(annotation, type):
        if issubclass(annotation, BaseModel):
            return "branch", (), (annotation,)
        plain: dict[type, Kind] = {int: "int", float: "float", str: "text"}
        if annotation in plain:
            return plain[annotation], (), ()
    raise TypeError(
        f"the form has no widget for {annotation}; add one in dashboard/design/forms.py"
    )


def _rows_of(item: Any) -> tuple[Kind, tuple[Any, ...], tuple[type[BaseModel], ...]]:
    if get_origin(item) is Literal:
        return "choices", get_args(item), ()
    if item == TaskWord:
        return "choices", TASK_NAMES, ()
    if item is FileTask:
        return "kept", (), (item,)
    if item == Pattern:
        return "texts", (), ()
    if isinstance(item, type) and issubclass(item, BaseModel):
        return "rows", (), (item,)
    if get_args(item) == (int, int):
        return "pairs", (), ()
    raise TypeError(
        f"the form has no widget for a list of {item}; add one in dashboard/design/forms.py"
    )


def kind_of_model(model: type[BaseModel]) -> str:
    """The value of the `kind` that names a member of a union."""
    return str(model.model_fields["kind"].default)


def said_of(model: type[BaseModel]) -> str:
    """What a model says of itself: the first paragraph of its docstring, on one line."""
    return " ".join((inspect.getdoc(model) or "").partition("\n\n")[0].split())


def defaults(model: type[BaseModel]) -> dict[str, Any]:
    """The tree of a model's defaults; fields without one are left out."""
    tree: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        value = info.get_default(call_default_factory=True, validated_data={})
        if isinstance(value, BaseModel):
            tree[name] = value.model_dump(mode="json")
        elif isinstance(value, tuple):
            tree[name] = [
                v.model_dump(mode="json") if isinstance(v, BaseModel) else v for v in value
            ]
            tree[name] = [list(v) if isinstance(v, tuple) else v for v in tree[name]]
        elif not info.is_required():
            tree[name] = value
    return tree
