"""A medium without losses, delay or cost: the bound that no radio beats."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from meshtune.engine.channels.base import Delivery


@dataclass(frozen=True)
class IdealMedium:
    """Every message arrives at once and for nothing."""

    def deliver(
        self,
        positions: Float64[np.ndarray, "n 2"],
        sent_bits: Int64[np.ndarray, "n n"],
        round_index: int,
        *,
        ready_s: Float64[np.ndarray, " n"] | None = None,
        alike: bool = True,
    ) -> Delivery:
        """All messages heard as soon as they are ready, without energy; no SNR and no rate."""
        attempted = sent_bits > 0
        unknown, zero = np.full(sent_bits.shape, np.nan), np.zeros(sent_bits.shape)
        ready = np.zeros(len(sent_bits)) if ready_s is None else ready_s
        return Delivery(
            sent_bits=sent_bits,
            attempted=attempted,
            heard=attempted.copy(),
            snr=unknown,
            rate_bit_s=unknown.copy(),
            airtime_s=zero,
            end_s=np.where(attempted, ready, 0.0),
            energy_j=zero.copy(),
            receive_j=zero.copy(),
            sender_bits=sent_bits.sum(axis=0),
            sender_airtime_s=np.zeros(len(sent_bits)),
            duration_s=0.0,
            bandwidth_time_hz_s=0.0,
        )
