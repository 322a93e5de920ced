"""Channels from their configs."""

import math
from typing import assert_never, cast

from meshtune.engine import config as c
from meshtune.engine.channels.access import Sharing
from meshtune.engine.channels.capacity import RateRule
from meshtune.engine.channels.fading import (
    Fading,
    RayleighLaw,
    Steady,
    fading_law,
    jakes_correlation,
    mean_speed_m_s,
)
from meshtune.engine.channels.ideal import IdealMedium
from meshtune.engine.channels.propagation import build_propagation
from meshtune.engine.channels.quality import Reliability
from meshtune.engine.channels.radio import Radio
from meshtune.engine.geometry import MEAN_LEG
from meshtune.engine.units import db_to_ratio, dbm_to_w

THERMAL_NOISE_DBM_HZ = -174.0


def ideal_medium(config: c.RunConfig) -> IdealMedium:
    """The medium on which everything arrives at once."""
    return IdealMedium()


def paper_radio(config: c.RunConfig) -> Radio:
    """The paper's radio, with its two repairs: a gain at one metre, and a cap on the rate.

    Its gain rho d^-2 has no reference loss, which gives absurd 70 to 110 dB of SNR. Its equation 8
    divides parameters by bit/s; we count bits.
    """
    chosen, seed = cast("c.PaperChannel", config.channel), config.seed
    return Radio(
        bandwidth_hz=chosen.bandwidth_hz,
        tx_power_w=dbm_to_w(chosen.tx_power_dbm),
        noise_w_hz=dbm_to_w(THERMAL_NOISE_DBM_HZ + chosen.noise_figure_db),
        deadline_s=chosen.deadline_s,
        rule=RateRule(cap=chosen.spectral_efficiency_max, gap=1.0, table=False),
        propagation=build_propagation(c.FreeSpace(), chosen.carrier_hz, "none", seed),
        fading=Fading(RayleighLaw() if chosen.fading == "rayleigh" else Steady(), seed, None),
        seed=seed,
    )


def full_radio(config: c.RunConfig) -> Radio:
    """The radio with every part of it chosen.

    Raises:
        AssetMissing: a table of gains is not where it should be.
        ConfigMismatch: it does not fit the devices.
    """
    chosen = cast("c.RadioChannel", config.channel)
    return Radio(
        bandwidth_hz=chosen.bandwidth_hz,
        tx_power_w=dbm_to_w(chosen.tx_power_dbm),
        noise_w_hz=dbm_to_w(THERMAL_NOISE_DBM_HZ + chosen.noise_figure_db),
        deadline_s=chosen.deadline_s,
        rule=RateRule(
            cap=chosen.spectral_efficiency_max,
            gap=db_to_ratio(chosen.snr_gap_db),
            table=chosen.rate == "mcs",
        ),
        propagation=build_propagation(
            chosen.path_loss, chosen.carrier_hz, chosen.shadowing, config.seed
        ),
        fading=Fading(fading_law(chosen.fading), config.seed, _correlation(chosen, config)),
        seed=config.seed,
        sharing=_sharing(chosen),
        reliability=_reliability(chosen),
        deadline_covers_round=chosen.deadline_covers == "round",
        rx_power_w=chosen.rx_power_w,
        header_bits=chosen.header_bits,
    )


def _correlation(chosen: c.RadioChannel, config: c.RunConfig) -> float | None:
    """Correlation of the fading from round to round; None if it is drawn anew."""
    if chosen.coherence == "round":
        return None
    if isinstance(config.mobility, c.Static):
        return 1.0
    # Rests count by the mean distance of two points in the disc.
    radius_m = getattr(config.topology, "radius_m", math.inf)
    speed_m_s = mean_speed_m_s(config.mobility, MEAN_LEG * radius_m)
    return jakes_correlation(speed_m_s, chosen.carrier_hz, config.mobility.interval_s)


def _sharing(chosen: c.RadioChannel) -> Sharing:
    access, half = chosen.access, chosen.duplex == "half"
    match access:
        case c.Ofdma() | c.Broadcast():
            return Sharing(
                access=access.kind,
                shared_band=access.band == "shared",
                half_duplex=half,
                power=chosen.power,
            )
        case c.Tdma():
            return Sharing(
                access="tdma",
                slot_casts=access.cast == "broadcast",
                reuse_range_m=access.interference_range_m if access.reuse == "spatial" else None,
                power=chosen.power,
            )
        case _:
            assert_never(access)


def _reliability(chosen: c.RadioChannel) -> Reliability:
    loss = chosen.loss
    match loss:
        case c.DeadlineOnly():
            return Reliability()
        case c.Waterfall():
            threshold = db_to_ratio(loss.threshold_db)
            return Reliability("waterfall", threshold=threshold, tries=chosen.tries)
        case c.Outage():
            margin = db_to_ratio(loss.margin_db)
            return Reliability("outage", margin=margin, tries=chosen.tries)
        case _:
            assert_never(loss)
