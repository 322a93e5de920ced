"""Topologies and channels by name: those that ship with the package, and those of entry points.

A package adds one with an entry point of the group `meshtune.topologies` or `meshtune.channels`
that names its `TopologyKind` or `ChannelKind` (CONTRIBUTING.md). What a kind does not state is an
error where it is registered.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from meshtune.engine.fields import KindPart, Metres
from meshtune.engine.registry import Kind, Registry, require_named


class ChannelPart(KindPart):
    """Base of the config of a channel."""


class TopologyPart(KindPart):
    """Base of the config of a topology."""


class Area(TopologyPart):
    """Base of topologies that place the devices in a disc."""

    radius_m: Metres = Field(
        100.0,
        ge=0.01,  # far below it, products of two places round to nothing
        le=100_000,
        title="Radius",
        description="Radius of the disc that holds the devices. Larger means weaker links.",
    )


@dataclass(frozen=True, kw_only=True)
class ChannelKind(Kind):
    """A channel: its config, and what builds it.

    Attributes:
        config: Its branch of the config tree.
        build: "module:function" from a `RunConfig` to a `meshtune.engine.channels.Channel`.
    """

    config: type[ChannelPart]
    build: str


@dataclass(frozen=True, kw_only=True)
class TopologyKind(Kind):
    """A topology: its config, where its devices stand, and who may talk to whom.

    Attributes:
        config: Its branch of the config tree.
        places: "module:function" from a `RunConfig` and a generator to places in metres, (n, 2).
        mesh: "module:function" from a `meshtune.engine.topology.graphs.Ground` to a `Mesh`.
        groups: Whether it groups devices into clusters.
        follows_places: Whether devices that move are linked anew; others keep their links, also
            those that were chosen for being short at the start.
        period: Rounds after which links repeat, by config and number of devices; 1 if they stay.
    """

    config: type[TopologyPart]
    places: str
    mesh: str
    groups: bool
    follows_places: bool
    period: Callable[[Any, int], int]


def stays(_: TopologyPart, __: int) -> int:
    """Links repeat in every round."""
    return 1


CHANNELS: Registry[ChannelKind] = Registry(
    "meshtune.channels",
    ["meshtune.engine.config.channel:CHANNELS"],
    row=ChannelKind,
    check=require_named,
)
TOPOLOGIES: Registry[TopologyKind] = Registry(
    "meshtune.topologies",
    ["meshtune.engine.config.topology:TOPOLOGIES"],
    row=TopologyKind,
    check=require_named,
)
