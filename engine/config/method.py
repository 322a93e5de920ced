"""The branch of a config that names its method: one of those that are registered."""

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from meshtune.engine.methods.kind import MethodPart
from meshtune.engine.methods.registry import DEFAULT, METHODS

if TYPE_CHECKING:
    Method = MethodPart
else:
    Method = Annotated[
        Union[tuple(kind.config for kind in METHODS.rows())],  # noqa: UP007 - known at run time
        Field(discriminator="kind"),
    ]


def default_method() -> MethodPart:
    """The method of a config that names none."""
    return METHODS[DEFAULT].default()
