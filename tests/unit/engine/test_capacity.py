"""Rates and losses of fading links: by hand, and against slow integrals."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate, special

from meshtune.engine.channels.capacity import (
    CQI_EFFICIENCY,
    RateRule,
    mean_efficiency,
    outage_prob,
    spectral_efficiency,
    waterfall_loss,
)
from meshtune.engine.channels.fading import FadingLaw, NakagamiLaw, RayleighLaw, RicianLaw, Steady

FADES = [
    RayleighLaw(),
    RicianLaw(0.01),
    RicianLaw(4.0),
    RicianLaw(1e4),
    NakagamiLaw(0.5),
    NakagamiLaw(0.75),
    NakagamiLaw(2.0),
    NakagamiLaw(100.0),
]
RULES = [
    RateRule(7.4, 1.0, False),
    RateRule(30.0, 4.0, False),
    RateRule(7.4, 1.0, True),
    RateRule(3.0, 2.0, True),
]
SNR = np.geomspace(1e-3, 1e7, 21)


def test_shannon_by_hand() -> None:
    np.testing.assert_allclose(spectral_efficiency(np.array([0.0, 1.0, 7.0])), [0.0, 1.0, 3.0])
    # A link of 1e-20 still carries something.
    np.testing.assert_allclose(spectral_efficiency(np.array([1e-20])), 1e-20 / math.log(2.0))


def test_gap_and_cap_by_hand() -> None:
    rule = RateRule(cap=2.5, gap=4.0, table=False)
    np.testing.assert_allclose(rule.efficiency(np.array([0.0, 4.0, 12.0, 28.0])), [0, 1, 2, 2.5])
    np.testing.assert_allclose(rule.needed_snr(np.array([0.0, 1.0, 2.0, 2.6])), [0, 4, 12, np.inf])


def test_without_gap_and_table_the_rate_is_shannon_under_a_cap_to_the_bit() -> None:
    snr = np.geomspace(1e-30, 1e30, 5000)
    plain = RateRule(7.4, 1.0, False).efficiency(snr)
    assert (plain == np.minimum(spectral_efficiency(snr), 7.4)).all()


def test_the_steps_are_those_of_the_cqi_table() -> None:
    # Modulation bits times code rate x 1024, as the standard lists them beside the efficiency.
    bits = np.repeat([2, 4, 6], [6, 3, 6])
    rate = [78, 120, 193, 308, 449, 602, 378, 490, 616, 466, 567, 666, 772, 873, 948]
    np.testing.assert_allclose(CQI_EFFICIENCY, bits * np.array(rate) / 1024.0, atol=6e-5)


def test_steps_by_hand() -> None:
    rule = RateRule(cap=7.4, gap=1.0, table=True)
    # Shannon gives 0.1, 1, 3 and 10 bit/s/Hz here.
    snr = np.array([2**0.1 - 1, 1.0, 7.0, 1023.0, np.inf, 0.0])
    assert rule.efficiency(snr).tolist() == [0.0, 0.8770, 2.7305, 5.5547, 5.5547, 0.0]
    # A gap of 3 leaves a third of the SNR: 7 / 3 carries log2(10 / 3) = 1.74.
    assert RateRule(7.4, 3.0, True).efficiency(np.array([7.0])).tolist() == [1.4766]
    # Under a cap of 3 the tenth step is the last.
    assert RateRule(3.0, 1.0, True).efficiency(snr).tolist() == [
        0,
        0.8770,
        2.7305,
        2.7305,
        2.7305,
        0,
    ]
    needed = rule.needed_snr(np.array([0.0, 0.01, 0.1523, 0.16, 5.5547, 5.6]))
    first, second, last = np.exp2([0.1523, 0.2344, 5.5547]) - 1.0
    np.testing.assert_allclose(needed, [0.0, first, first, second, last, np.inf])
    assert RateRule(3.0, 1.0, True).needed_snr(np.array([2.8]))[0] == np.inf


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rates_grow_with_snr_up_to_the_top(rule: RateRule) -> None:
    rates = rule.efficiency(np.geomspace(1e-6, 1e15, 4001))
    assert (np.diff(rates) >= 0.0).all()
    top = rule.cap if not rule.table else CQI_EFFICIENCY[rule.cap >= CQI_EFFICIENCY].max()
    assert rates[-1] == top


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_needed_snr_is_the_least_that_carries_the_rate(rule: RateRule) -> None:
    asked = np.concatenate([np.linspace(0.001, 7.4, 500), CQI_EFFICIENCY, [rule.cap]])
    needed = rule.needed_snr(asked)
    carried = np.isfinite(needed)
    assert (rule.efficiency(np.full(1, 1e300))[0] < asked[~carried]).all()
    assert carried.any()
    least, asked = needed[carried], asked[carried]
    exact = 0.0 if rule.table else 1e-14  # a step is reached to the bit, a smooth rate to rounding
    assert (rule.efficiency(least) >= asked * (1.0 - exact)).all()
    assert (rule.efficiency(least * (1.0 - 1e-12)) < asked).all()


def slow_mean(law: FadingLaw, rule: RateRule, snr: float) -> float:
    """Mean of the rate by adaptive quadrature over its distribution, step by step."""
    low, high = law.ends()
    first, last = rule.efficiency(np.array([low, high]) * snr)
    if rule.table:
        parts = np.unique(np.clip([0.0, *CQI_EFFICIENCY], 0.0, last))
    else:
        parts = np.unique(np.linspace(first, last, 9))

    def reached(x: float) -> float:
        return float(law.exceed_prob(rule.needed_snr(np.array([x])) / snr)[0])

    pieces = (integrate.quad(reached, a, b, epsabs=1e-9)[0] for a, b in pairwise(parts))
    return (0.0 if rule.table else float(first)) + sum(pieces)


@pytest.mark.parametrize("rule", [RULES[1], RULES[3]], ids=str)
@pytest.mark.parametrize("law", FADES, ids=str)
def test_the_mean_rate_is_the_slow_integral(law: FadingLaw, rule: RateRule) -> None:
    some = SNR[1::4]
    slow = [slow_mean(law, rule, snr) for snr in some]
    error = 1e-5 if isinstance(law, NakagamiLaw) and law.m < 1.0 else 1e-6
    np.testing.assert_allclose(mean_efficiency(law, rule, some), slow, rtol=0, atol=error)


def test_the_mean_rate_under_rayleigh_in_closed_form() -> None:
    # Without a cap: exp(1 / snr) E1(1 / snr) / ln 2.
    snr = np.array([0.1, 1.0, 30.0, 1000.0])
    closed = np.exp(1.0 / snr) * special.exp1(1.0 / snr) / math.log(2.0)
    mean = mean_efficiency(RayleighLaw(), RateRule(60.0, 1.0, False), snr)
    np.testing.assert_allclose(mean, closed, rtol=1e-11)
    # A gap is nothing but less SNR.
    gapped = mean_efficiency(RayleighLaw(), RateRule(60.0, 2.0, False), 2.0 * snr)
    np.testing.assert_allclose(gapped, mean, rtol=1e-13)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_steady_links_and_the_calmest_fades_carry_the_rate_of_their_mean(rule: RateRule) -> None:
    assert (mean_efficiency(Steady(), rule, SNR) == rule.efficiency(SNR)).all()
    for law in (RicianLaw(1e6), NakagamiLaw(1e6)):
        near = mean_efficiency(law, rule, SNR)
        np.testing.assert_allclose(near, rule.efficiency(SNR), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("law", FADES, ids=str)
def test_a_dead_link_carries_nothing_and_loses_everything(law: FadingLaw, rule: RateRule) -> None:
    dead = np.zeros((2, 3))
    assert (mean_efficiency(law, rule, dead) == 0.0).all()
    assert (outage_prob(law, rule, dead, np.full((2, 3), 0.5)) == 1.0).all()


def test_rayleigh_outage_in_closed_form() -> None:
    one = np.array([1.0])
    plain = RateRule(30.0, 1.0, False)
    assert outage_prob(RayleighLaw(), plain, one, one)[0] == pytest.approx(1 - math.exp(-1))
    # Rare failures keep their digits.
    rare = outage_prob(RayleighLaw(), plain, np.array([1e12]), one)
    np.testing.assert_allclose(rare, 1e-12, rtol=1e-9)
    # A gap of 2 and 2 bit/s/Hz at a mean of 12: 1 - exp(-2 * 3 / 12).
    gapped = RateRule(30.0, 2.0, False)
    lost = outage_prob(RayleighLaw(), gapped, np.array([12.0]), 2.0 * one)
    np.testing.assert_allclose(lost, 1 - math.exp(-0.5))
    # With steps 2 bit/s/Hz need the ninth, 2.4063.
    stepped = outage_prob(RayleighLaw(), RateRule(30.0, 1.0, True), one, 2.0 * one)
    np.testing.assert_allclose(stepped, 1 - math.exp(-(2**2.4063 - 1)))


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("law", [Steady(), *FADES], ids=str)
def test_above_the_top_no_gain_helps_and_nothing_is_always_carried(
    law: FadingLaw, rule: RateRule
) -> None:
    asked = np.array([1e9, rule.cap * (1 + 1e-9), 0.0])
    assert outage_prob(law, rule, np.full(3, 1e12), asked).tolist() == [1.0, 1.0, 0.0]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_steady_link_fails_only_below_what_the_rate_needs(rule: RateRule) -> None:
    asked = np.array([0.1523, 0.8770, 2.7305])
    needed = rule.needed_snr(asked)
    assert outage_prob(Steady(), rule, needed, asked).tolist() == [0.0, 0.0, 0.0]
    assert outage_prob(Steady(), rule, needed * 0.999, asked).tolist() == [1.0, 1.0, 1.0]


def test_the_waterfall_by_hand() -> None:
    loss = waterfall_loss(np.array([0.0, 1.0, 2.0, 1e12, np.inf]), 2.0)
    np.testing.assert_allclose(loss, [1.0, 1 - math.exp(-2), 1 - math.exp(-1), 2e-12, 0.0])
