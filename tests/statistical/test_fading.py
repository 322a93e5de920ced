"""Drawn fades against their laws. Bounds are four standard errors: one false alarm in 16,000."""

import math

import numpy as np
import pytest

from meshtune.engine.channels.capacity import RateRule, mean_efficiency, outage_prob
from meshtune.engine.channels.fading import (
    Fading,
    FadingLaw,
    NakagamiLaw,
    RayleighLaw,
    RicianLaw,
    echoes,
)
from meshtune.engine.rng import stream

DRAWS = 100_000
ROUNDS = 1500
VARIANCE = {
    RayleighLaw(): 1.0,
    RicianLaw(0.1): 1.2 / 1.21,
    RicianLaw(4.0): 9.0 / 25.0,
    RicianLaw(1e4): 20_001.0 / 10_001.0**2,
    NakagamiLaw(0.5): 2.0,
    NakagamiLaw(0.8): 1.25,
    NakagamiLaw(3.0): 1.0 / 3.0,
    NakagamiLaw(100.0): 0.01,
}
LAWS = list(VARIANCE)


def drawn(law: FadingLaw, way: str) -> np.ndarray:
    """Independent gains, drawn at once or made of echoes."""
    rng = stream(7, "law", way)
    return law.draw(rng, (DRAWS,)) if way == "drawn" else law.of_echo(echoes(rng, (DRAWS,)))


@pytest.mark.parametrize("way", ["drawn", "of echoes"])
@pytest.mark.parametrize("law", LAWS, ids=str)
def test_gains_have_mean_one_and_the_variance_of_their_law(law: FadingLaw, way: str) -> None:
    gains = drawn(law, way)
    variance = VARIANCE[law]
    assert abs(gains.mean() - 1.0) < 4.0 * math.sqrt(variance / DRAWS)
    squares = (gains - 1.0) ** 2
    assert abs(squares.mean() - variance) < 4.0 * squares.std() / math.sqrt(DRAWS)
    assert gains.min() >= 0.0


@pytest.mark.parametrize("way", ["drawn", "of echoes"])
@pytest.mark.parametrize("law", LAWS, ids=str)
def test_lost_messages_are_as_many_as_the_closed_form_says(law: FadingLaw, way: str) -> None:
    rule = RateRule(cap=7.4, gap=2.0, table=False)
    gains = drawn(law, way)
    efficiency, count = np.array([2.0]), 0
    for quantile in (0.02, 0.3, 0.7, 0.98):
        # At this mean SNR two bit/s/Hz need just the gain of the quantile.
        mean_snr = 2.0 * 3.0 / np.quantile(gains[::2], [quantile])
        outage = float(outage_prob(law, rule, mean_snr, efficiency)[0])
        lost = rule.efficiency(mean_snr * gains[1::2]) < 2.0
        bound = 4.0 * math.sqrt(outage * (1.0 - outage) / lost.size)
        assert abs(lost.mean() - outage) < bound
        count += 0.01 < outage < 0.99
    assert count == 4


@pytest.mark.parametrize("rule", [RateRule(7.4, 2.0, False), RateRule(7.4, 2.0, True)], ids=str)
@pytest.mark.parametrize("law", LAWS, ids=str)
def test_the_mean_rate_is_the_mean_of_the_rates(law: FadingLaw, rule: RateRule) -> None:
    gains = drawn(law, "drawn")
    mean_snr = np.array([0.3, 10.0, 250.0])
    rates = rule.efficiency(mean_snr[:, None] * gains)
    bound = 4.0 * rates.std(axis=1) / math.sqrt(DRAWS) + 1e-5
    assert (np.abs(rates.mean(axis=1) - mean_efficiency(law, rule, mean_snr)) < bound).all()


@pytest.mark.parametrize("correlation", [None, 0.0])
@pytest.mark.parametrize("law", [RayleighLaw(), RicianLaw(4.0), NakagamiLaw(0.8)], ids=str)
def test_pairs_and_rounds_fade_alone(law: FadingLaw, correlation: float | None) -> None:
    fading = Fading(law, 0, correlation)
    gains = np.stack([fading.gain(4, k) for k in range(ROUNDS)])
    pairs = np.stack([gains[:, 0, 1], gains[:, 0, 2], gains[:, 1, 2], gains[:, 2, 3]])
    together = np.corrcoef(np.vstack([pairs[:, 1:], pairs[:, :-1]]))
    assert np.abs(together[~np.eye(8, dtype=bool)]).max() < 4.0 / math.sqrt(ROUNDS)


def test_attempts_fade_alone() -> None:
    fading = Fading(RayleighLaw(), 0, None)
    tries = np.stack(
        [[fading.gain(2, k, n)[0, 1] for k in range(ROUNDS)] for n in range(3)],
    )
    apart = np.corrcoef(tries)[~np.eye(3, dtype=bool)]
    assert np.abs(apart).max() < 4.0 / math.sqrt(ROUNDS)


@pytest.mark.parametrize("correlation", [0.9, 0.5, -0.4])
def test_echoes_correlate_by_r_over_one_round_and_r_squared_over_two(correlation: float) -> None:
    fading = Fading(RayleighLaw(), 3, correlation)
    devices, pairs = 200, 19_900
    upper = np.triu_indices(devices, 1)
    first, second, third = (fading.gain(devices, k)[upper] for k in (4, 5, 6))
    for later, lag in ((second, 1), (third, 2)):
        expected = correlation ** (2 * lag)  # of |h|^2: the square of that of h
        products = (first - 1.0) * (later - 1.0)
        bound = 4.0 * products.std() / math.sqrt(pairs)
        assert abs(products.mean() - expected) < bound
        assert bound < 0.1


@pytest.mark.parametrize("law", [RicianLaw(4.0), NakagamiLaw(0.8), NakagamiLaw(3.0)], ids=str)
def test_memory_leaves_the_law_of_each_round_alone(law: FadingLaw) -> None:
    fading = Fading(law, 5, 0.8)
    upper = np.triu_indices(200, 1)
    for k in (0, 1, 9):
        gains = fading.gain(200, k)[upper]
        assert abs(gains.mean() - 1.0) < 4.0 * math.sqrt(VARIANCE[law] / gains.size)
        for gain in (0.1, 0.7, 1.5):
            below = float(law.below_prob(np.array([gain]))[0])
            bound = 4.0 * math.sqrt(below * (1.0 - below) / gains.size)
            assert abs((gains < gain).mean() - below) < bound


def test_rician_gains_remember_by_the_direct_ray_too() -> None:
    # rho = |sqrt(K) + z|^2 / (1 + K): covariance over one round (r^2 + 2 K r) / (1 + K)^2.
    k, r = 4.0, 0.7
    fading = Fading(RicianLaw(k), 5, r)
    upper = np.triu_indices(200, 1)
    products = (fading.gain(200, 0)[upper] - 1.0) * (fading.gain(200, 1)[upper] - 1.0)
    bound = 4.0 * products.std() / math.sqrt(products.size)
    assert abs(products.mean() - (r**2 + 2.0 * k * r) / (1.0 + k) ** 2) < bound
