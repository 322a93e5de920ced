"""The air of a round: one value, whoever sends through it."""

from dataclasses import fields

import numpy as np

from meshtune.engine.channels import build_channel
from meshtune.engine.channels.air import DENSE_DEVICES
from meshtune.engine.channels.radio import Radio
from meshtune.engine.config import RadioChannel, Rayleigh
from meshtune.engine.rng import stream
from tests.support.builders import tiny_config
from tests.support.radios import radio_of


def outdoors() -> Radio:
    """A radio whose gains, fades and packets are all drawn."""
    built = build_channel(tiny_config(channel=RadioChannel(fading=Rayleigh())))
    assert isinstance(built, Radio)
    return built


def places(devices: int) -> np.ndarray:
    return stream(0, "places").random((devices, 2)) * 300.0


def test_the_hops_of_a_round_share_one_air() -> None:
    radio, where = outdoors(), places(4)
    first = radio.air(where, 3)
    assert radio.air(where.copy(), 3) is first
    assert radio.air(where, 4) is not first
    assert radio.air(where + 1.0, 3) is not first


def test_it_is_the_same_air_for_another_radio_of_the_seed() -> None:
    one, other, where = outdoors(), outdoors(), places(4)
    other.air(where, 9)  # whatever was asked before
    for attempt in (0, 2):
        assert (one.air(where, 3).fade(attempt) == other.air(where, 3).fade(attempt)).all()
        ours, theirs = (r.air(where, 3).packet_luck(attempt) for r in (one, other))
        assert (ours == theirs).all()
    assert (one.air(where, 3).pair_snr == one.mean_snr(where, 3)).all()


def test_links_that_are_picked_have_the_ratio_of_their_pair() -> None:
    radio, where = outdoors(), places(DENSE_DEVICES + 2)
    receivers, senders = np.array([0, 7, 100]), np.array([5, 3, 129])
    picked = radio.air(where, 0).link_snr(receivers, senders)
    np.testing.assert_allclose(picked, radio.mean_snr(where)[receivers, senders], rtol=1e-9)


def test_a_ratio_counts_power_over_noise_of_the_whole_band() -> None:
    radio = radio_of([[0, 3], [3, 0]], tx_power_w=2.0, noise_w_hz=0.5, bandwidth_hz=4.0)
    assert radio.air(places(2), 0).pair_snr[0, 1] == 2.0 * 3.0 / (0.5 * 4.0)


def test_a_radio_holds_nothing_that_changes() -> None:
    assert not any(isinstance(getattr(outdoors(), f.name), dict | list) for f in fields(Radio))
