"""The branches of a config that are one of several kinds, as they are registered."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Field

from meshtune.engine.config.topology import Drawn
from meshtune.engine.fields import Part
from meshtune.engine.kinds import CHANNELS, TOPOLOGIES, Area, ChannelPart
from meshtune.engine.methods.kind import MethodPart
from meshtune.engine.methods.registry import BUILT_IN, METHODS


def one_of(parts: Iterable[type[Part]]) -> Any:
    """The type of a branch that is one of these, told apart by `kind`."""
    return Annotated[Union[tuple(parts)], Field(discriminator="kind")]  # noqa: UP007 - at run time


if TYPE_CHECKING:
    Method = MethodPart
    Channel = ChannelPart
    Topology = Area | Drawn
else:
    Method = one_of(method.config for method in METHODS.rows())
    Channel = one_of(channel.config for channel in CHANNELS.rows())
    Topology = one_of(topology.config for topology in TOPOLOGIES.rows())


def default_method() -> MethodPart:
    """The method of a config that names none."""
    return METHODS[BUILT_IN[0]].default()
