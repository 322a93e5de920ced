from dataclasses import replace

import numpy as np
from numpy.testing import assert_allclose

from meshtune.engine.channels import Delivery
from meshtune.engine.channels.traffic import Traffic


def hop(
    bits: list[list[int]],
    heard: list[list[int]],
    airtime_s: list[list[float]],
    start_s: float = 0.0,
) -> Delivery:
    attempted = np.array(bits) > 0
    times = np.array(airtime_s)
    return Delivery(
        sent_bits=np.array(bits),
        attempted=attempted,
        heard=np.array(heard, dtype=bool),
        snr=np.where(attempted, 2.0, np.nan),
        rate_bit_s=np.where(attempted, np.array(bits) / 0.5, np.nan),
        airtime_s=times,
        end_s=np.where(attempted, times + start_s, 0.0),
        energy_j=times * 3.0,
        receive_j=times * 0.5,
        sender_bits=np.array(bits).sum(axis=0),
        sender_airtime_s=times.max(axis=0),
        duration_s=float(times.max()),
        bandwidth_time_hz_s=float(times.sum()) * 10.0,
    )


TWO_HOPS = Traffic(
    (
        hop([[0, 8], [4, 0]], [[0, 1], [0, 0]], [[0, 1.0], [2.0, 0]]),
        hop([[0, 6], [0, 0]], [[0, 1], [0, 0]], [[0, 0.5], [0, 0]], start_s=5.0),
    ),
    values=(np.array([[0, 2], [1, 0]]), np.array([[0, 3], [0, 0]])),
    ready_s=np.array([1.0, 3.0]),
)


def test_hops_follow_one_another_so_airtimes_add_up():
    assert TWO_HOPS.airtime_s == 2.5
    assert TWO_HOPS.sender_airtime_s.tolist() == [2.0, 1.5]
    assert_allclose(TWO_HOPS.link_energy_j, [[0, 4.5], [6.0, 0]])


def test_the_round_ends_with_its_last_message_or_its_slowest_computer():
    assert TWO_HOPS.round_s == 5.5
    quiet = replace(TWO_HOPS, ready_s=np.array([7.0, 0.0]))
    assert quiet.round_s == 7.0
    assert_allclose(TWO_HOPS.link_receive_j, [[0, 0.75], [1.0, 0]])
    assert TWO_HOPS.bandwidth_time_hz_s == 35.0
    assert TWO_HOPS.sender_bits.tolist() == [4, 14]
    assert TWO_HOPS.sender_values.tolist() == [1, 5]


def test_a_link_has_failed_if_any_of_its_messages_was_lost():
    assert TWO_HOPS.failed.tolist() == [[False, False], [True, False]]
    assert TWO_HOPS.delivered_fraction == 2 / 3
    assert TWO_HOPS.payload_bits.tolist() == [[0, 14], [4, 0]]


def test_the_rate_shown_is_that_of_the_last_message_on_the_link():
    assert TWO_HOPS.latest("rate_bit_s")[0, 1] == 12.0
    assert TWO_HOPS.latest("rate_bit_s")[1, 0] == 8.0
    assert np.isnan(TWO_HOPS.latest("snr")[0, 0])
