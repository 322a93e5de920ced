"""A medium without losses, delay or cost: the bound that no radio beats."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from engine.channels.base import Delivery


@dataclass(frozen=True)
class IdealMedium:
    """Every message arrives at once and for nothing."""

    def deliver(
        self,
        positions: Float64[np.ndarray, "n 2"],
        sent_bits: Int64[np.ndarray, "n n"],
        round_index: int,
    ) -> Delivery:
        """All messages heard, zero airtime and energy; no SNR and no rate."""
        attempted = sent_bits > 0
        unknown = np.full(sent_bits.shape, np.nan)
        return Delivery(
            attempted=attempted,
            heard=attempted.copy(),
            snr=unknown,
            rate_bit_s=unknown.copy(),
            airtime_s=np.zeros(sent_bits.shape),
            energy_j=np.zeros(sent_bits.shape),
        )
