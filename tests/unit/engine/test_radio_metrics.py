"""Band and outage of a round whose messages can be counted by hand."""

import numpy as np
import pytest

from engine.channels.base import Delivery
from engine.metrics import bandwidth_time_hz_s, outage_fraction, radio_metrics


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


def test_outage_is_the_share_of_messages_lost() -> None:
    assert outage_fraction(delivery()) == pytest.approx(1 / 3)
    assert set(radio_metrics(delivery(), 10.0)) == {"bandwidth_time_hz_s", "outage_fraction"}


def test_silence_has_no_outage_and_takes_no_band() -> None:
    quiet = np.zeros((2, 2), dtype=bool)
    zero, unknown = np.zeros((2, 2)), np.full((2, 2), np.nan)
    nothing = Delivery(quiet, quiet, unknown, unknown, zero, zero)
    assert outage_fraction(nothing) is None
    assert radio_metrics(nothing, 10.0) == {"bandwidth_time_hz_s": 0.0}
