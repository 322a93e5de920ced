"""What a message needs of the radio before anything runs: power for the deadline, reach."""

import numpy as np
from jaxtyping import Bool, Float64

from meshtune.engine.channels import Channel, Radio

Places = Float64[np.ndarray, "n 2"]
Powers = Float64[np.ndarray, "n n"]


def deadline_power_w(radio: Radio, positions: Places, bits: int, receivers: int) -> Powers:
    """Least power with which sender j meets the deadline at receiver i, in watts (M17).

        p_ij = (N0 F B / u) / g_ij * (2^(bits u / (B deadline)) - 1),   u = `receivers`

    The message has the share B / u of the band, as in `Radio.deliver`; g is the mean gain,
    without fading. Infinite where the rate passes the spectral-efficiency cap, zero on the
    diagonal. Row = receiver, column = sender. Source: arXiv 2602.20492, Eq. 25 (Lemma 1), with
    bits for parameters, the logarithm to base two and the noise of the share: our repairs.
    """
    snr = deadline_snr(radio, bits, receivers)
    power: Powers = noise_over_gain_w(radio, positions) / receivers * snr
    np.fill_diagonal(power, 0.0)
    return power


def deadline_snr(radio: Radio, bits: int, receivers: int) -> float:
    """Linear SNR at which a share of the band carries `bits` by the deadline; infinite if none."""
    needed = bits * receivers / (radio.bandwidth_hz * radio.deadline_s)
    return float(radio.rule.needed_snr(np.array([needed]))[0])


def noise_over_gain_w(radio: Radio, positions: Places) -> Powers:
    """Power that arrives as strong as the noise of the whole band: N0 F B / g, in watts."""
    with np.errstate(divide="ignore"):  # where nothing arrives, no power is enough
        power: Powers = radio.tx_power_w / radio.mean_snr(positions)
    return power


def within_reach(channel: Channel, positions: Places, bits: int) -> Bool[np.ndarray, "n n"]:
    """Pairs of which one alone can reach the other within power budget and deadline.

    The gain is the mean one, so reach is mutual. Over a medium without a radio all pairs are.
    """
    others: Bool[np.ndarray, "n n"] = ~np.eye(len(positions), dtype=np.bool_)
    if not isinstance(channel, Radio):
        return others
    return others & (deadline_power_w(channel, positions, bits, 1) <= channel.tx_power_w)
