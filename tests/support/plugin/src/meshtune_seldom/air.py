"""A topology and a channel from outside."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from pydantic import Field

from meshtune.engine.kinds import Area, ChannelKind, ChannelPart, TopologyKind, stays


class Pairs(Area):
    """Two by two: device 0 with 1, 2 with 3, and so on."""

    kind: Literal["pairs"] = "pairs"


class Deaf(ChannelPart):
    """Everything arrives, except at the first devices."""

    kind: Literal["deaf"] = "deaf"
    deaf: int = Field(1, ge=0, le=256, title="Deaf devices", description="They hear nobody.")


def pairs(ground: Any) -> Any:
    number = np.arange(len(ground.places)) // 2
    together = number[:, None] == number[None, :]
    return ground.linked(together & ~np.eye(len(number), dtype=np.bool_))


class DeafMedium:
    def __init__(self, deaf: int) -> None:
        from meshtune.engine.channels.ideal import IdealMedium

        self.deaf, self.rest = deaf, IdealMedium()

    def deliver(self, *words: Any, **named: Any) -> Any:
        hop = self.rest.deliver(*words, **named)
        heard = hop.heard.copy()
        heard[: self.deaf] = False
        return replace(hop, heard=heard)


def deaf_medium(config: Any) -> DeafMedium:
    return DeafMedium(config.channel.deaf)


PAIRS = TopologyKind(
    config=Pairs,
    places="meshtune.engine.topology.places:disc",
    mesh="meshtune_seldom.air:pairs",
    groups=False,
    follows_places=False,
    period=stays,
)
DEAF = ChannelKind(config=Deaf, build="meshtune_seldom.air:deaf_medium")
