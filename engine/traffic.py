"""What went on air in one round: its hops one after another, added up."""

from dataclasses import dataclass
from functools import reduce

import numpy as np
from jaxtyping import Bool, Float64, Int64

from engine.channels import Delivery


@dataclass(frozen=True)
class Traffic:
    """The hops of a round in order. Row = receiver, column = sender.

    A hop starts when the slowest message of the one before has ended, so airtimes add up.
    """

    sent_bits: tuple[Int64[np.ndarray, "n n"], ...]
    deliveries: tuple[Delivery, ...]

    @property
    def payload_bits(self) -> Int64[np.ndarray, "n n"]:
        return np.asarray(np.sum(self.sent_bits, axis=0))

    @property
    def attempted(self) -> Bool[np.ndarray, "n n"]:
        return reduce(np.logical_or, (hop.attempted for hop in self.deliveries))

    @property
    def failed(self) -> Bool[np.ndarray, "n n"]:
        """Links on which a message was lost."""
        return reduce(np.logical_or, (hop.attempted & ~hop.heard for hop in self.deliveries))

    @property
    def link_airtime_s(self) -> Float64[np.ndarray, "n n"]:
        return np.asarray(np.sum([hop.airtime_s for hop in self.deliveries], axis=0))

    @property
    def link_energy_j(self) -> Float64[np.ndarray, "n n"]:
        return np.asarray(np.sum([hop.energy_j for hop in self.deliveries], axis=0))

    @property
    def sender_airtime_s(self) -> Float64[np.ndarray, " n"]:
        """Seconds that every device was on air; within a hop it serves its receivers at once."""
        busy = [hop.airtime_s.max(axis=0, initial=0.0) for hop in self.deliveries]
        return np.asarray(np.sum(busy, axis=0))

    @property
    def airtime_s(self) -> float:
        """What the round waits for: the slowest message of every hop."""
        return float(sum(hop.airtime_s.max(initial=0.0) for hop in self.deliveries))

    @property
    def delivered_fraction(self) -> float | None:
        """Messages heard of messages sent; None if nothing was sent."""
        attempted = sum(int(hop.attempted.sum()) for hop in self.deliveries)
        heard = sum(int(hop.heard.sum()) for hop in self.deliveries)
        return heard / attempted if attempted else None

    def latest(self, quantity: str) -> Float64[np.ndarray, "n n"]:
        """`snr` or `rate_bit_s` of the last message on each link; NaN on silent ones."""
        shown = getattr(self.deliveries[0], quantity)
        for hop in self.deliveries[1:]:
            shown = np.where(hop.attempted, getattr(hop, quantity), shown)
        return np.asarray(shown)
