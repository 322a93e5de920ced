"""What a message needs of the radio before anything runs: its size, and power for the deadline."""

from typing import assert_never

import numpy as np
from jaxtyping import Bool, Float64

from meshtune.engine import config as c
from meshtune.engine.backbone.shapes import embedded_shapes
from meshtune.engine.channels import Channel, Radio

Places = Float64[np.ndarray, "n 2"]
Powers = Float64[np.ndarray, "n n"]


def message_bits(config: c.RunConfig) -> int:
    """Bits of one message with a device's own expert, by method (M11).

    Without what is sent now and then: seeds, masks, prototypes, copies, scales; and without the
    places of values where a part is sent. Methods that send nothing count as plain LoRA, so that
    their mesh is that of the method they are compared with (our choice).
    """
    shapes = embedded_shapes().values()
    rank, value_bits = config.adapter.rank, config.adapter.value_bits
    values_a = sum(rank * d_in for _, d_in in shapes)
    values_b = sum(d_out * rank for d_out, _ in shapes)
    method = config.method
    match method:
        case c.SoLora():
            return value_bits * max(1, round(min(method.density, method.density_sent) * values_b))
        case c.Lori():
            return value_bits * max(1, round(method.density * values_b))
        case c.FfaGossip():
            return value_bits * values_b
        case c.FullGossip() | c.OracleExperts():
            return value_bits * sum(d_out * d_in for d_out, d_in in shapes)
        case c.ChocoGossip():
            return value_bits * max(1, round(method.density * (values_a + values_b)))
        case c.LoraGossip() | c.DecafGossip() | c.Local() | c.Centralised():
            return value_bits * (values_a + values_b)
        case _:
            assert_never(method)


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
