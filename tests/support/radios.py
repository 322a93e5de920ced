"""Radios whose numbers can be counted by hand."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from meshtune.engine.channels import Radio
from meshtune.engine.channels.access import Sharing
from meshtune.engine.channels.capacity import RateRule
from meshtune.engine.channels.fading import Fading, FadingLaw, Steady
from meshtune.engine.channels.quality import Reliability


@dataclass(frozen=True)
class Table:
    """Gains as given, whatever the places."""

    gains: Float64[np.ndarray, "n n"]

    def gain(
        self, positions: Float64[np.ndarray, "n 2"], round_index: int
    ) -> Float64[np.ndarray, "n n"]:
        return self.gains

    def link_gain(
        self,
        positions: Float64[np.ndarray, "n 2"],
        receivers: Int64[np.ndarray, " m"],
        senders: Int64[np.ndarray, " m"],
        round_index: int,
    ) -> Float64[np.ndarray, " m"]:
        return np.asarray(self.gains[receivers, senders])


def radio_of(
    snr: list[list[float]],
    law: FadingLaw | None = None,
    sharing: Sharing | None = None,
    reliability: Reliability | None = None,
    rule: RateRule | None = None,
    **fields: object,
) -> Radio:
    """One hertz, one watt, and a noise of one watt: gains are SNR, efficiencies are bit/s."""
    plain = {"bandwidth_hz": 1.0, "tx_power_w": 1.0, "noise_w_hz": 1.0, "deadline_s": 1e9}
    return Radio(
        rule=rule or RateRule(cap=1e3, gap=1.0, table=False),
        propagation=Table(np.array(snr, dtype=np.float64)),
        fading=Fading(law or Steady(), 0, None),
        seed=0,
        sharing=sharing or Sharing(),
        reliability=reliability or Reliability(),
        **{**plain, **fields},
    )
