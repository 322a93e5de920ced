"""Families that anybody can extend: rows that ship with the package, and entry points.

A row is named by "module:object" and loaded when somebody first asks for it. A package outside
adds one with an entry point of the family's group; what it lacks is an error that names it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import (
    Any,
    Generic,
    Literal,
    Protocol,
    TypeVar,
    get_args,
    get_origin,
    runtime_checkable,
)

from meshtune.engine.errors import PluginRefused
from meshtune.engine.fields import KindPart


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A row that a branch of the config tree chooses by its `kind`.

    Attributes:
        config: That branch.
    """

    config: type[KindPart]

    @property
    def name(self) -> str:
        """The `kind` of its config."""
        return str(self.config.model_fields["kind"].default)


def require_named(kind: Kind) -> None:
    """Whether a kind from outside has a name.

    Raises:
        ValueError: it has none.
    """
    field = kind.config.model_fields["kind"]
    if get_origin(field.annotation) is not Literal or get_args(field.annotation) != (kind.name,):
        raise ValueError(f"{kind.config.__name__}.kind must be a Literal with its name as default")


@runtime_checkable
class Named(Protocol):
    """A row of a registry."""

    @property
    def name(self) -> str: ...


Row = TypeVar("Row", bound=Named)


class Registry(Generic[Row]):
    """The rows of one family by name, those of the package first and in their order.

    Args:
        group: Of the entry points, e.g. "meshtune.methods".
        built_in: "module:object" of every row that ships with the package, or of some in a tuple.
        row: Type of a row.
        check: Raises `ValueError` with a sentence on a row from outside that cannot be used.
    """

    def __init__(
        self,
        group: str,
        built_in: Sequence[str],
        row: type[Any],
        check: Callable[[Row], None],
    ) -> None:
        self.group = group
        self._built_in, self._row, self._check = built_in, row, check

    def __getitem__(self, name: str) -> Row:
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def rows(self) -> tuple[Row, ...]:
        """All of them."""
        return tuple(self._rows.values())

    @cached_property
    def _rows(self) -> dict[str, Row]:
        found = {row.name: row for place in self._built_in for row in self._shipped(place)}
        for point in sorted(_announced().select(group=self.group), key=lambda each: each.name):
            row = self._from_outside(point)
            if row.name in found:
                raise PluginRefused(self.group, point, f"there is a {row.name!r} already")
            found[row.name] = row
        return found

    def _shipped(self, place: str) -> tuple[Row, ...]:
        rows = load(place)
        return rows if isinstance(rows, tuple) else (rows,)

    def _from_outside(self, point: EntryPoint) -> Row:
        try:
            row = point.load()
        except Exception as error:
            raise PluginRefused(self.group, point, f"it cannot be imported: {error}") from error
        if not isinstance(row, self._row):
            wanted = self._row.__name__
            raise PluginRefused(self.group, point, f"it is a {type(row).__name__}, not a {wanted}")
        told: Row = row
        try:
            self._check(told)
        except Exception as error:
            raise PluginRefused(self.group, point, str(error)) from error
        return told


@cache  # every family asks, and looking through all packages takes a while
def _announced() -> Any:  # Python 3.11 has another type for it than 3.12
    return entry_points()


def load(place: str) -> Any:
    """The object at "module:name"."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
