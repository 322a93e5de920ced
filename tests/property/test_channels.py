"""Laws of the radio, for any config: more of a good thing never hurts; energy is power x time."""

from dataclasses import replace

import numpy as np
from hypothesis import given, strategies as st

from meshtune.engine.channels import Radio
from meshtune.engine.channels.access import Sharing
from meshtune.engine.channels.base import Delivery
from meshtune.engine.channels.capacity import RateRule
from meshtune.engine.channels.fading import Fading, RayleighLaw, Steady
from meshtune.engine.channels.propagation import FreeSpace
from meshtune.engine.channels.quality import Reliability
from meshtune.engine.rng import stream


@st.composite
def radios(draw: st.DrawFn) -> Radio:
    seed = draw(st.integers(0, 2**31))
    return Radio(
        bandwidth_hz=draw(st.floats(1e3, 1e9)),
        tx_power_w=draw(st.floats(1e-6, 1e2)),
        noise_w_hz=draw(st.floats(1e-21, 1e-18)),
        rule=RateRule(
            cap=draw(st.floats(0.5, 30.0)),
            gap=draw(st.floats(1.0, 10.0)),
            table=draw(st.booleans()),
        ),
        propagation=FreeSpace(draw(st.floats(1e8, 1e11))),
        fading=Fading(draw(st.sampled_from([RayleighLaw(), Steady()])), seed, None),
        seed=seed,
        deadline_s=draw(st.floats(1e-3, 1e3)),
        rx_power_w=draw(st.floats(0.0, 1.0)),
    )


@st.composite
def any_radios(draw: st.DrawFn) -> Radio:
    """Radios with any way to share the air, lose messages and control power."""
    access = draw(st.sampled_from(["ofdma", "broadcast", "tdma"]))
    return replace(
        draw(radios()),
        sharing=Sharing(
            access=access,
            shared_band=access != "tdma" and draw(st.booleans()),
            slot_casts=draw(st.booleans()),
            reuse_range_m=draw(st.sampled_from([None, 0.0, 500.0])) if access == "tdma" else None,
            half_duplex=access != "tdma" and draw(st.booleans()),
            power=draw(st.sampled_from(["split", "per_link", "deadline"])),
        ),
        reliability=Reliability(
            draw(st.sampled_from(["deadline", "waterfall", "outage"])),
            threshold=draw(st.floats(0.1, 10.0)),
            margin=draw(st.floats(0.5, 10.0)),
            tries=draw(st.integers(1, 4)),
        ),
        deadline_covers_round=draw(st.booleans()),
        header_bits=draw(st.sampled_from([0, 100])),
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
def test_more_power_is_never_worse(radio: Radio, played: tuple, factor: float) -> None:
    stronger = replace(radio, tx_power_w=radio.tx_power_w * factor)
    not_worse(stronger.deliver(*played), radio.deliver(*played))


@given(radios(), rounds(), st.floats(1.01, 100.0))
def test_more_bandwidth_is_never_worse(radio: Radio, played: tuple, factor: float) -> None:
    # Of a table the same power over more noise may miss the lowest step.
    radio = replace(radio, rule=replace(radio.rule, table=False))
    wider = replace(radio, bandwidth_hz=radio.bandwidth_hz * factor)
    not_worse(wider.deliver(*played), radio.deliver(*played))


@given(radios(), rounds(), st.floats(1.01, 100.0))
def test_less_distance_is_never_worse(radio: Radio, played: tuple, factor: float) -> None:
    places, bits, k = played
    not_worse(radio.deliver(places / factor, bits, k), radio.deliver(places, bits, k))


@given(radios(), rounds())
def test_energy_is_power_times_time_on_air(radio: Radio, played: tuple) -> None:
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
def test_only_what_was_sent_is_heard_and_costs(radio: Radio, played: tuple) -> None:
    delivery = radio.deliver(*played)
    quiet = ~delivery.attempted
    assert not (delivery.heard & quiet).any()
    assert not delivery.airtime_s[quiet].any()
    assert not delivery.energy_j[quiet].any()
    assert (delivery.airtime_s <= radio.deadline_s).all()
    assert (np.isnan(delivery.snr) == quiet).all()
    lost = delivery.attempted & ~delivery.heard
    assert (delivery.airtime_s[lost] == radio.deadline_s).all()


@given(any_radios(), rounds(), st.booleans())
def test_the_books_of_any_radio_agree(radio: Radio, played: tuple, alike: bool) -> None:
    places, bits, k = played
    ready = stream(k, "ready").random(len(places)) * radio.deadline_s
    got = radio.deliver(places, bits, k, ready_s=ready, alike=alike)
    sent = got.attempted
    assert (sent == (bits > 0)).all()
    assert not (got.heard & ~sent).any()
    for part in (got.airtime_s, got.end_s, got.energy_j, got.receive_j):
        assert np.isfinite(part).all()
        assert (part >= 0.0).all()
        assert not part[~sent].any()
    assert (got.airtime_s <= radio.deadline_s * (1 + 1e-9)).all()
    assert (got.airtime_s[got.heard] > 0.0).all()
    np.testing.assert_allclose(got.receive_j, radio.rx_power_w * got.airtime_s)
    # Nobody spends more than its budget while on air, unless every link has full power.
    most = sent.sum(axis=0) if radio.sharing.power == "per_link" else 1
    budget_j = radio.tx_power_w * got.sender_airtime_s * most
    assert (got.energy_j.sum(axis=0) <= budget_j * (1 + 1e-6)).all()
    # What is heard has travelled: bits fit into rate times time.
    carried = (got.rate_bit_s * got.airtime_s)[got.heard]
    assert (carried >= got.sent_bits[got.heard] * (1 - 1e-6)).all()
    on_air = got.airtime_s > 0.0
    assert (got.end_s[on_air] - got.airtime_s[on_air] >= ready.min() - 1e-9).all()
    assert got.duration_s >= got.airtime_s.max(initial=0.0) * (1 - 1e-12)
    if radio.deadline_covers_round:
        in_time = np.maximum(radio.deadline_s, ready[None, :])
        assert (got.end_s <= in_time * (1 + 1e-9)).all()
    if not radio.sharing.sends_to_all or not alike:
        assert (got.sender_bits == got.sent_bits.sum(axis=0)).all()
    else:
        assert (got.sender_bits == got.sent_bits.max(axis=0)).all()


@given(any_radios(), rounds())
def test_the_plan_of_any_radio_gives_shares_and_rates(radio: Radio, played: tuple) -> None:
    places, bits, _ = played
    linked = bits > 0
    quality = radio.quality(places, linked, bits)
    assert (np.isnan(quality.mean_snr) == ~linked).all()
    assert (quality.mean_rate_bit_s[linked] >= 0.0).all()
    lost = quality.loss_prob[linked]
    assert ((lost >= 0.0) & (lost <= 1.0 + 1e-9)).all()
