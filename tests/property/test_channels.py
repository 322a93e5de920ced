"""Laws of the radio, for any config: more of a good thing never hurts; energy is power x time."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.channels.base import Delivery
from engine.channels.paper import PaperRadio
from engine.rng import stream


@st.composite
def radios(draw: st.DrawFn) -> PaperRadio:
    return PaperRadio(
        bandwidth_hz=draw(st.floats(1e3, 1e9)),
        carrier_hz=draw(st.floats(1e8, 1e11)),
        tx_power_w=draw(st.floats(1e-6, 1e2)),
        noise_w_hz=draw(st.floats(1e-21, 1e-18)),
        spectral_efficiency_max=draw(st.floats(0.5, 30.0)),
        deadline_s=draw(st.floats(1e-3, 1e3)),
        faded=draw(st.booleans()),
        seed=draw(st.integers(0, 2**31)),
    )


@st.composite
def rounds(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    devices = draw(st.integers(2, 10))
    rng = stream(draw(st.integers(0, 2**31)), "round")
    places = rng.uniform(-1000.0, 1000.0, (devices, 2))
    bits = rng.integers(1, 10**8, (devices, devices)) * (rng.random((devices, devices)) < 0.6)
    np.fill_diagonal(bits, 0)
    return places, bits, draw(st.integers(0, 1000))


def not_worse(good: Delivery, poor: Delivery) -> None:
    """The good delivery hears what the poor one heard, at no lower rate and no longer on air."""
    sent = poor.attempted
    assert (good.heard | ~poor.heard).all()
    assert (good.rate_bit_s[sent] >= poor.rate_bit_s[sent] * (1 - 1e-12)).all()
    assert (good.airtime_s <= poor.airtime_s * (1 + 1e-12)).all()


@given(radios(), rounds(), st.floats(1.01, 100.0))
def test_more_power_is_never_worse(radio: PaperRadio, played: tuple, factor: float) -> None:
    stronger = replace(radio, tx_power_w=radio.tx_power_w * factor)
    not_worse(stronger.deliver(*played), radio.deliver(*played))


@given(radios(), rounds(), st.floats(1.01, 100.0))
def test_more_bandwidth_is_never_worse(radio: PaperRadio, played: tuple, factor: float) -> None:
    wider = replace(radio, bandwidth_hz=radio.bandwidth_hz * factor)
    not_worse(wider.deliver(*played), radio.deliver(*played))


@given(radios(), rounds(), st.floats(1.01, 100.0))
def test_less_distance_is_never_worse(radio: PaperRadio, played: tuple, factor: float) -> None:
    places, bits, k = played
    not_worse(radio.deliver(places / factor, bits, k), radio.deliver(places, bits, k))


@given(radios(), rounds())
def test_energy_is_power_times_time_on_air(radio: PaperRadio, played: tuple) -> None:
    delivery = radio.deliver(*played)
    receivers = delivery.attempted.sum(axis=0)
    for receiver, sender in np.argwhere(delivery.attempted):
        power_w = radio.tx_power_w / receivers[sender]
        airtime_s = delivery.airtime_s[receiver, sender]
        np.testing.assert_allclose(delivery.energy_j[receiver, sender], power_w * airtime_s)
    # A sender never spends more than its budget over the longest time it is on air.
    spent = delivery.energy_j.sum(axis=0)
    assert (spent <= radio.tx_power_w * delivery.airtime_s.max(axis=0) * (1 + 1e-12)).all()


@given(radios(), rounds())
def test_only_what_was_sent_is_heard_and_costs(radio: PaperRadio, played: tuple) -> None:
    delivery = radio.deliver(*played)
    quiet = ~delivery.attempted
    assert not (delivery.heard & quiet).any()
    assert not delivery.airtime_s[quiet].any()
    assert not delivery.energy_j[quiet].any()
    assert (delivery.airtime_s <= radio.deadline_s).all()
    assert (np.isnan(delivery.snr) == quiet).all()
    lost = delivery.attempted & ~delivery.heard
    assert (delivery.airtime_s[lost] == radio.deadline_s).all()
