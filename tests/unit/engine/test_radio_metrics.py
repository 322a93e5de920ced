"""The band of a round whose messages can be counted by hand."""

import numpy as np

from engine.channels.base import Delivery
from engine.metrics import bandwidth_time_hz_s


def delivery() -> Delivery:
    attempted = np.array([[0, 1, 0], [1, 0, 0], [1, 0, 0]], dtype=bool)
    heard = attempted.copy()
    heard[2, 0] = False
    airtime_s = np.array([[0.0, 4.0, 0.0], [1.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    unknown = np.full((3, 3), np.nan)
    return Delivery(attempted, heard, unknown, unknown, airtime_s, np.zeros((3, 3)))


def test_a_message_occupies_its_share_of_the_band_for_its_airtime() -> None:
    # Device 0 splits the band between two receivers, device 1 has one.
    assert bandwidth_time_hz_s(delivery(), 10.0) == 5.0 * (1.0 + 2.0) + 10.0 * 4.0


def test_silence_takes_no_band() -> None:
    quiet = np.zeros((2, 2), dtype=bool)
    zero, unknown = np.zeros((2, 2)), np.full((2, 2), np.nan)
    assert bandwidth_time_hz_s(Delivery(quiet, quiet, unknown, unknown, zero, zero), 10.0) == 0.0
