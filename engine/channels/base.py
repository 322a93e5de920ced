"""The contract of a channel: bits to send in, deliveries out."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64, Int64


@dataclass(frozen=True)
class Delivery:
    """What became of the messages of one round. Row = receiver, column = sender.

    `snr` (linear) and `rate_bit_s` are NaN where nothing was sent and where the channel knows no
    radio; airtime and energy are zero there.
    """

    attempted: Bool[np.ndarray, "n n"]
    heard: Bool[np.ndarray, "n n"]
    snr: Float64[np.ndarray, "n n"]
    rate_bit_s: Float64[np.ndarray, "n n"]
    airtime_s: Float64[np.ndarray, "n n"]
    energy_j: Float64[np.ndarray, "n n"]


@runtime_checkable
class Channel(Protocol):
    """A radio, as the round loop sees it."""

    def deliver(
        self,
        positions: Float64[np.ndarray, "n 2"],
        sent_bits: Int64[np.ndarray, "n n"],
        round_index: int,
    ) -> Delivery:
        """Fate of the messages `sent_bits[receiver, sender]`; zero bits means no message.

        Args:
            positions: of the devices in this round, in metres.
            sent_bits: payload per link; the diagonal is zero.
            round_index: names the fading of this round.
        """
        ...
