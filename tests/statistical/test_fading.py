"""The drawn fading against its law."""

import math

import numpy as np
import pytest

from engine.channels import build_channel
from engine.channels.paper import PaperRadio, rayleigh_outage
from engine.config import RunConfig

ROUNDS = 4000


def radio(**fields: object) -> PaperRadio:
    built = build_channel(RunConfig.model_validate({"channel": {"kind": "paper", **fields}}))
    assert isinstance(built, PaperRadio)
    return built


@pytest.mark.parametrize("distance_m", [60.0, 150.0, 400.0])
def test_lost_messages_are_as_many_as_the_closed_form_says(distance_m: float) -> None:
    channel = radio(deadline_s=1.0, tx_power_dbm=0.0)
    places = np.array([[0.0, 0.0], [distance_m, 0.0]])
    bits = np.array([[0, 10_000_000], [0, 0]])
    lost = sum(not channel.deliver(places, bits, k).heard[0, 1] for k in range(ROUNDS))
    outage = rayleigh_outage(float(channel.mean_snr(places)[0, 1]), 10e6, 20e6)
    assert 0.01 < outage < 0.9
    # Four standard errors of a binomial share: a false alarm in 16,000 seeds, and this is one.
    bound = 4.0 * math.sqrt(outage * (1.0 - outage) / ROUNDS)
    assert abs(lost / ROUNDS - outage) < bound


def test_fading_has_mean_and_variance_one_and_pairs_fade_alone() -> None:
    draws = np.stack([radio().fading(3, k) for k in range(ROUNDS)])
    pairs = np.stack([draws[:, 0, 1], draws[:, 0, 2], draws[:, 1, 2]])
    assert np.abs(pairs.mean(axis=1) - 1.0).max() < 4.0 / math.sqrt(ROUNDS)
    # The variance of Exp(1) is 1 and its fourth central moment 9: standard error sqrt(8 / n).
    assert np.abs(pairs.var(axis=1) - 1.0).max() < 4.0 * math.sqrt(8.0 / ROUNDS)
    apart = np.corrcoef(pairs)[~np.eye(3, dtype=bool)]
    assert np.abs(apart).max() < 4.0 / math.sqrt(ROUNDS)
