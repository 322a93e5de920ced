"""The paper's radio by hand, and what a round may rely on."""

import math

import numpy as np
import pytest

from meshtune.engine.channels import Channel, Radio, build_channel
from meshtune.engine.config import RunConfig
from meshtune.engine.rng import stream


def radio(**fields: object) -> Radio:
    built = build_channel(RunConfig.model_validate({"channel": {"kind": "paper", **fields}}))
    assert isinstance(built, Radio)
    return built


CARRIER_HZ = 299_792_458.0 / (4 * math.pi) * 1e2  # reference gain 1e-4 at one metre


PLACES = np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 10_000.0]])
BITS = np.array([[0, 20_000_000, 0], [10_000_000, 0, 0], [10_000_000, 0, 0]])


def test_three_devices_by_hand() -> None:
    # Device 0 sends 10 Mbit to both others, device 1 sends 20 Mbit to device 0, device 2 is quiet.
    delivery = radio(
        bandwidth_hz=10e6,
        carrier_hz=CARRIER_HZ,
        tx_power_dbm=20.0,  # 0.1 W
        noise_figure_db=4.0,  # -170 dBm/Hz = 1e-20 W/Hz
        fading="none",
        spectral_efficiency_max=20.0,
        deadline_s=0.09,
    ).deliver(PLACES, BITS, 0)

    # Noise over 10 MHz: 1e-13 W. At 100 m the gain is 1e-8: 1e-9 W / 1e-13 W = 1e4.
    # At 10 km it is 1e-12: 1. Halving band and power for two receivers changes neither.
    assert delivery.snr[1, 0] == pytest.approx(1e4)
    assert delivery.snr[0, 1] == pytest.approx(1e4)
    assert delivery.snr[2, 0] == pytest.approx(1.0)
    # Half of 10 MHz x log2(1 + 1) = 5 Mbit/s: 10 Mbit would take 2 s, so it is lost at 0.09 s.
    assert delivery.rate_bit_s[2, 0] == pytest.approx(5e6)
    assert not delivery.heard[2, 0]
    assert delivery.airtime_s[2, 0] == 0.09
    # 5 MHz x log2(10001) = 66.4 Mbit/s: 10 Mbit take 0.15 s, lost too.
    assert delivery.rate_bit_s[1, 0] == pytest.approx(5e6 * math.log2(10_001))
    assert not delivery.heard[1, 0]
    # The whole band for one receiver: 20 Mbit at 133 Mbit/s take 0.1505 s.
    assert delivery.rate_bit_s[0, 1] == pytest.approx(10e6 * math.log2(10_001))
    # Energy: 50 mW for each of two receivers, 100 mW for the only one, until the deadline.
    assert delivery.energy_j[2, 0] == pytest.approx(0.05 * 0.09)
    assert delivery.energy_j[0, 1] == pytest.approx(0.1 * 0.09)

    patient = radio(
        bandwidth_hz=10e6,
        carrier_hz=CARRIER_HZ,
        tx_power_dbm=20.0,
        noise_figure_db=4.0,
        fading="none",
        spectral_efficiency_max=20.0,
        deadline_s=1.0,
    ).deliver(PLACES, BITS, 0)
    assert patient.heard.tolist() == [
        [False, True, False],
        [True, False, False],
        [False, False, False],
    ]
    assert patient.airtime_s[1, 0] == pytest.approx(2 / math.log2(10_001))
    assert patient.energy_j[1, 0] == pytest.approx(0.05 * 2 / math.log2(10_001))


def test_nothing_sent_costs_nothing() -> None:
    places = np.array([[0.0, 0.0], [50.0, 0.0]])
    delivery = radio().deliver(places, np.zeros((2, 2), dtype=np.int64), 0)
    assert not delivery.attempted.any()
    assert not delivery.heard.any()
    assert np.isnan(delivery.snr).all()
    assert np.isnan(delivery.rate_bit_s).all()
    assert not delivery.airtime_s.any()
    assert not delivery.energy_j.any()


def test_the_ideal_medium_delivers_everything_for_nothing() -> None:
    medium = build_channel(RunConfig.model_validate({"channel": {"kind": "ideal"}}))
    assert isinstance(medium, Channel)
    bits = np.array([[0, 7], [0, 0]])
    delivery = medium.deliver(np.zeros((2, 2)), bits, 0)
    assert (delivery.heard == (bits > 0)).all()
    assert np.isnan(delivery.snr).all()
    assert delivery.airtime_s.sum() == delivery.energy_j.sum() == 0.0


def test_who_sends_does_not_change_the_fading_of_the_others() -> None:
    places = stream(0, "places").uniform(0, 100, (4, 2))
    all_send = np.full((4, 4), 1000) * (1 - np.eye(4, dtype=np.int64))
    one_sends = np.zeros((4, 4), dtype=np.int64)
    one_sends[2, 1] = 1000
    both = [radio().deliver(places, bits, 7) for bits in (all_send, one_sends)]
    assert both[0].snr[2, 1] == both[1].snr[2, 1]


def test_no_link_is_faster_than_the_cap() -> None:
    places = np.array([[0.0, 0.0], [1.0, 0.0]])
    bits = np.array([[0, 1000], [1000, 0]])
    delivery = radio(spectral_efficiency_max=2.0, bandwidth_hz=1e6).deliver(places, bits, 0)
    assert np.nanmax(delivery.rate_bit_s) == 2e6


def test_nobody_receives_more_power_than_was_sent() -> None:
    channel = radio(carrier_hz=1e6, fading="none")
    snr = channel.mean_snr(np.array([[0.0, 0.0], [1.0, 0.0]]))
    assert snr[0, 1] == pytest.approx(
        channel.tx_power_w / (channel.noise_w_hz * channel.bandwidth_hz)
    )


def test_a_link_without_any_rate_is_lost_and_not_an_error() -> None:
    places = np.array([[0.0, 0.0], [1e5, 0.0]])
    bits = np.array([[0, 2**40], [1, 0]])
    delivery = radio(tx_power_dbm=-50, bandwidth_hz=1e11).deliver(places, bits, 0)
    assert not delivery.heard[0, 1]
    assert np.isfinite(delivery.energy_j).all()
