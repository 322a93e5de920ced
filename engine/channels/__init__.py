"""What happens to messages on air: who is heard, how long it takes, what it costs."""

from typing import assert_never

from engine import config as c
from engine.channels.base import Channel, Delivery
from engine.channels.ideal import IdealMedium
from engine.channels.paper import PaperRadio

__all__ = ["Channel", "Delivery", "build_channel"]


def build_channel(config: c.RunConfig) -> Channel:
    """The channel that `config` asks for."""
    chosen = config.channel
    match chosen:
        case c.PaperChannel():
            return PaperRadio.of(chosen, config.seed)
        case c.IdealChannel():
            return IdealMedium()
        case _:
            assert_never(chosen)
