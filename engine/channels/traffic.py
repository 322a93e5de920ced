"""What went on air in one round: its hops one after another, added up."""

from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from jaxtyping import Bool, Float64, Int64

from meshtune.engine.channels import Delivery


@dataclass(frozen=True)
class Traffic:
    """The hops of a round in order. Row = receiver, column = sender.

    A hop starts when the slowest message of the one before has ended, so airtimes add up.
    `values`: adapter values in the messages of every hop. `ready_s`: when every device had computed
    what it sends.
    """

    deliveries: tuple[Delivery, ...]
    values: tuple[Int64[np.ndarray, "n n"], ...]
    ready_s: Float64[np.ndarray, " n"]

    @property
    def payload_bits(self) -> Int64[np.ndarray, "n n"]:
        """Bits meant for each receiver."""
        return np.asarray(np.sum([hop.sent_bits for hop in self.deliveries], axis=0))

    @property
    def sender_bits(self) -> Int64[np.ndarray, " n"]:
        """Bits that every device put on air; a broadcast counts once."""
        return np.asarray(np.sum([hop.sender_bits for hop in self.deliveries], axis=0))

    @property
    def sender_values(self) -> Int64[np.ndarray, " n"]:
        """Adapter values that every device put on air; a broadcast counts once."""
        counted = []
        for hop, values in zip(self.deliveries, self.values, strict=True):
            apart = hop.sender_bits == hop.sent_bits.sum(axis=0)
            counted.append(np.where(apart, values.sum(axis=0), values.max(axis=0)))
        return np.asarray(np.sum(counted, axis=0))

    def followed_by(self, hop: Delivery, values: Int64[np.ndarray, "n n"]) -> "Traffic":
        """The traffic with one more hop."""
        return replace(self, deliveries=(*self.deliveries, hop), values=(*self.values, values))

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
    def link_receive_j(self) -> Float64[np.ndarray, "n n"]:
        return np.asarray(np.sum([hop.receive_j for hop in self.deliveries], axis=0))

    @property
    def sender_airtime_s(self) -> Float64[np.ndarray, " n"]:
        """Seconds that every device was on air."""
        return np.asarray(np.sum([hop.sender_airtime_s for hop in self.deliveries], axis=0))

    @property
    def airtime_s(self) -> float:
        """The hops on air, added up."""
        return float(sum(hop.duration_s for hop in self.deliveries))

    @property
    def round_s(self) -> float:
        """The slowest path: until everybody has computed and the last message has ended."""
        return max(float(self.ready_s.max(initial=0.0)), self.end_s)

    @property
    def end_s(self) -> float:
        """When the last message so far ended; 0 if nothing was sent."""
        return max(float(hop.end_s.max(initial=0.0)) for hop in self.deliveries)

    @property
    def next_s(self) -> Float64[np.ndarray, " n"]:
        """When every device can begin with another hop: nobody waits for who computes on."""
        return np.asarray(np.maximum(self.ready_s, self.end_s))

    @property
    def bandwidth_time_hz_s(self) -> float:
        """Time-frequency area that the messages occupied."""
        return float(sum(hop.bandwidth_time_hz_s for hop in self.deliveries))

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
