"""What happens to messages on air: who is heard, how long it takes, what it costs."""

from meshtune.engine import config as c
from meshtune.engine.channels.base import Channel, Delivery, LinkQuality
from meshtune.engine.channels.radio import Radio
from meshtune.engine.kinds import CHANNELS
from meshtune.engine.registry import load

__all__ = ["Channel", "Delivery", "LinkQuality", "Radio", "build_channel"]


def build_channel(config: c.RunConfig) -> Channel:
    """The channel that `config` asks for.

    Raises:
        AssetMissing: a file that it needs is not where it should be.
        ConfigMismatch: it does not fit the devices.
    """
    channel: Channel = load(CHANNELS[config.channel.kind].build)(config)
    return channel
