"""Laws of rates over fading links, for any rule and any fade: more SNR never hurts."""

import numpy as np
from hypothesis import given, strategies as st

from meshtune.engine.channels.capacity import RateRule, mean_efficiency, outage_prob
from meshtune.engine.channels.fading import FadingLaw, NakagamiLaw, RayleighLaw, RicianLaw, Steady

LAWS = [
    Steady(),
    RayleighLaw(),
    RicianLaw(0.3),
    RicianLaw(50.0),
    NakagamiLaw(0.6),
    NakagamiLaw(8.0),
]
RULES = st.builds(RateRule, st.floats(0.1, 30.0), st.floats(1.0, 1e3), st.booleans())
SNRS = st.lists(st.floats(-60.0, 90.0), min_size=2, max_size=8).map(
    lambda decibels: 10.0 ** (np.sort(decibels) / 10.0)
)


@given(RULES, st.floats(0.0, 30.0))
def test_the_needed_snr_carries_the_rate_and_less_does_not(rule: RateRule, rate: float) -> None:
    needed = rule.needed_snr(np.array([rate]))
    if np.isinf(needed[0]):
        assert rule.efficiency(np.array([1e300]))[0] < rate
        return
    assert rule.efficiency(needed)[0] >= rate * (1.0 - 1e-13)
    if needed[0] > 1e-300:
        assert rule.efficiency(needed * (1.0 - 1e-9))[0] < rate


@given(RULES, SNRS, st.floats(1.0, 100.0))
def test_steps_and_gaps_cost_rate(rule: RateRule, snr: np.ndarray, factor: float) -> None:
    smooth = RateRule(rule.cap, rule.gap, table=False)
    assert (rule.efficiency(snr) <= smooth.efficiency(snr) * (1.0 + 1e-13)).all()
    wider = RateRule(rule.cap, rule.gap * factor, rule.table)
    assert (wider.efficiency(snr) <= rule.efficiency(snr)).all()


@given(RULES, st.sampled_from(LAWS), SNRS)
def test_means_grow_with_the_mean_snr_and_losses_fall(
    rule: RateRule, law: FadingLaw, snr: np.ndarray
) -> None:
    mean = mean_efficiency(law, rule, snr)
    assert (np.diff(mean) >= -1e-5).all()
    assert (mean >= 0.0).all()
    assert (mean <= rule.cap * (1.0 + 1e-9)).all()
    loss = outage_prob(law, rule, snr, np.full(snr.shape, 1.5))
    assert (np.diff(loss) <= 1e-6).all()
    assert ((loss >= 0.0) & (loss <= 1.0 + 1e-6)).all()


@given(RULES, st.sampled_from(LAWS), SNRS)
def test_fading_costs_rate_where_the_rate_is_smooth(
    rule: RateRule, law: FadingLaw, snr: np.ndarray
) -> None:
    # Jensen: min(log2(1 + x), cap) is concave and the gain has mean one.
    smooth = RateRule(rule.cap, rule.gap, table=False)
    assert (mean_efficiency(law, smooth, snr) <= smooth.efficiency(snr) + 1e-5).all()
