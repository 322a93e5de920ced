"""Laws of fading by hand, streams that depend on names alone, and how fast links forget."""

import math

import numpy as np
import pytest
from scipy import integrate, special

from meshtune.engine import config as c
from meshtune.engine.channels import fading as module
from meshtune.engine.channels.fading import (
    Fading,
    FadingLaw,
    NakagamiLaw,
    RayleighLaw,
    RicianLaw,
    Steady,
    fading_law,
    jakes_correlation,
    mean_speed_m_s,
)
from meshtune.engine.rng import stream
from meshtune.engine.units import LIGHT_SPEED_M_S

FADES = [RayleighLaw(), RicianLaw(0.2), RicianLaw(60.0), NakagamiLaw(0.5), NakagamiLaw(4.0)]
LAWS = [Steady(), *FADES]
GAINS = np.array([0.0, 1e-12, 0.01, 0.3, 0.9, 1.0, 1.1, 3.0, 20.0, np.inf])


def test_the_config_names_the_law_in_linear_numbers() -> None:
    assert fading_law(c.NoFading()) == Steady()
    assert fading_law(c.Rayleigh()) == RayleighLaw()
    assert fading_law(c.Rician(k_db=10.0)) == RicianLaw(10.0)
    assert fading_law(c.Nakagami(m=0.5)) == NakagamiLaw(0.5)


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_a_gain_is_reached_surely_at_zero_never_at_infinity_and_less_often_above(
    law: FadingLaw,
) -> None:
    reached, missed = law.exceed_prob(GAINS), law.below_prob(GAINS)
    assert (reached[0], reached[-1], missed[0], missed[-1]) == (1.0, 0.0, 0.0, 1.0)
    assert (np.diff(reached) <= 0.0).all()
    np.testing.assert_allclose(reached + missed, 1.0, rtol=1e-14)


def test_exceedance_by_hand() -> None:
    one, four = np.array([1.0]), np.array([4.0])
    assert RayleighLaw().exceed_prob(four)[0] == pytest.approx(math.exp(-4.0))
    # Shape one half is a squared normal: P(x^2 > 4) = 2 (1 - Phi(2)).
    assert NakagamiLaw(0.5).exceed_prob(four)[0] == pytest.approx(math.erfc(math.sqrt(2.0)))
    # Shape two: (1 + 2 g) exp(-2 g).
    assert NakagamiLaw(2.0).exceed_prob(four)[0] == pytest.approx(9.0 * math.exp(-8.0))
    # Rician at K = 1, g = 1: Q1(sqrt 2, 2) by its defining integral of x exp(-(x^2 + 2) / 2) I0.
    marcum = integrate.quad(
        lambda x: (
            x * math.exp(-((x - math.sqrt(2.0)) ** 2) / 2.0) * special.i0e(math.sqrt(2.0) * x)
        ),
        2.0,
        20.0,
    )[0]
    assert RicianLaw(1.0).exceed_prob(one)[0] == pytest.approx(marcum, rel=1e-9)
    # Steady fades reach their own gain and no more.
    assert Steady().exceed_prob(np.array([1.0, math.nextafter(1.0, 2.0)])).tolist() == [1.0, 0.0]


def test_rare_fades_keep_their_digits() -> None:
    tiny = np.array([1e-15])
    np.testing.assert_allclose(RayleighLaw().below_prob(tiny), 1e-15, rtol=1e-12)
    np.testing.assert_allclose(RicianLaw(4.0).below_prob(tiny), 5e-15 * math.exp(-4.0), rtol=1e-12)
    np.testing.assert_allclose(NakagamiLaw(2.0).below_prob(tiny), 2e-30, rtol=1e-12)


def test_nakagami_one_and_rician_zero_are_rayleigh() -> None:
    expected = RayleighLaw().below_prob(GAINS)
    np.testing.assert_allclose(NakagamiLaw(1.0).below_prob(GAINS), expected, rtol=1e-13)
    np.testing.assert_allclose(RicianLaw(0.0).below_prob(GAINS), expected, rtol=1e-13)
    np.testing.assert_allclose(RicianLaw(1e-9).below_prob(GAINS), expected, rtol=1e-8)
    # Also as processes: the same echoes give the same gains.
    plain, nakagami, rician = (
        Fading(law, 2, 0.6).gain(30, 3) for law in (RayleighLaw(), NakagamiLaw(1.0), RicianLaw(0.0))
    )
    np.testing.assert_allclose(nakagami, plain, rtol=1e-12)
    np.testing.assert_allclose(rician, plain, rtol=1e-12)


@pytest.mark.parametrize("law", [RicianLaw(1e8), NakagamiLaw(1e8)], ids=str)
def test_the_calmest_laws_are_steady(law: FadingLaw) -> None:
    away = np.array([0.99, 1.01])
    np.testing.assert_allclose(law.exceed_prob(away), Steady().exceed_prob(away), atol=1e-12)
    for correlation in (None, 0.5):
        gain = Fading(law, 0, correlation).gain(20, 1)
        np.testing.assert_allclose(gain + np.eye(20), 1.0, atol=1e-3)


@pytest.mark.parametrize("law", FADES, ids=str)
def test_beyond_its_ends_no_law_has_weight(law: FadingLaw) -> None:
    low, high = (np.array([end]) for end in law.ends())
    assert law.below_prob(low)[0] < math.exp(-40.0) * (1 + 1e-9)
    assert law.exceed_prob(high)[0] < 1e-15
    assert low[0] < 1.0 < high[0]


@pytest.mark.parametrize("m", [0.5, 0.7, 1.0, 3.0, 100.0])
def test_a_nakagami_gain_is_as_rare_as_its_echo(m: float) -> None:
    echo_power = np.geomspace(1e-16, 35.0, 3000)
    gains = NakagamiLaw(m).of_echo(np.sqrt(echo_power).astype(np.complex128))
    # The law is smooth: a relative error of 1e-5 in the gain moves a log-probability by m 1e-5.
    missed, reached = NakagamiLaw(m).below_prob(gains), NakagamiLaw(m).exceed_prob(gains)
    low = echo_power < 1.0
    np.testing.assert_allclose(missed[low], -np.expm1(-echo_power[low]), rtol=m * 1e-5)
    np.testing.assert_allclose(np.log(reached[~low]), -echo_power[~low], rtol=m * 1e-5)
    # Below the table it goes on falling, for small m as the law does; without an echo it is zero.
    faint = NakagamiLaw(m).of_echo(np.array([0.0, 1e-15], dtype=np.complex128))
    assert 0.0 == faint[0] < faint[1] < gains[0]
    if m <= 3.0:
        limit = (special.gamma(m + 1.0) * 1e-30) ** (1.0 / m) / m
        assert faint[1] == pytest.approx(limit, rel=1e-4)


@pytest.mark.parametrize("correlation", [None, 0.7, 1.0])
@pytest.mark.parametrize("law", LAWS, ids=str)
def test_both_directions_of_a_pair_fade_alike(law: FadingLaw, correlation: float | None) -> None:
    gain = Fading(law, 4, correlation).gain(9, 2)
    assert (gain == gain.T).all()
    pairs = gain[np.triu_indices(9, 1)]
    assert (pairs >= 0.0).all()
    assert len(np.unique(pairs)) == (1 if law == Steady() else 36)


def test_rayleigh_rounds_are_those_of_the_stream_by_that_name() -> None:
    upper = np.triu(stream(11, "channel", "fading", 5).standard_exponential((7, 7)), k=1)
    fading = Fading(RayleighLaw(), 11, None)
    assert (fading.gain(7, 5) == upper + upper.T).all()
    again = np.triu(
        stream(11, "channel", "fading", 5, "attempt", 2).standard_exponential((7, 7)), k=1
    )
    assert (fading.gain(7, 5, attempt=2) == again + again.T).all()


@pytest.mark.parametrize("correlation", [None, 0.7, -0.3, 1.0])
@pytest.mark.parametrize("law", FADES, ids=str)
def test_a_round_fades_the_same_whatever_was_asked_before(
    law: FadingLaw, correlation: float | None
) -> None:
    expected = [Fading(law, 9, correlation).gain(6, k) for k in range(6)]
    asked = Fading(law, 9, correlation)
    for k in (3, 3, 2, 4, 0, 5, 1, 2, 2):
        asked.gain(5, 5 - k)  # another fleet must not disturb this one
        assert (asked.gain(6, k) == expected[k]).all()
    other = Fading(law, 10, correlation).gain(6, 3)
    assert (other[~np.eye(6, dtype=bool)] != expected[3][~np.eye(6, dtype=bool)]).all()


def test_remembered_echoes_are_those_of_the_recursion_by_hand() -> None:
    r, echo = 0.7, np.zeros(10, dtype=np.complex128)
    fading = Fading(RicianLaw(2.0), 1, r)
    for k in range(4):
        x = stream(1, "channel", "fading", k, "echoes").standard_normal((10, 2)) / math.sqrt(2.0)
        fresh = x[:, 0] + 1j * x[:, 1]
        echo = fresh if k == 0 else r * echo + math.sqrt(1.0 - r**2) * fresh
        gains = np.abs(math.sqrt(2.0) + echo) ** 2 / 3.0
        np.testing.assert_allclose(fading.gain(5, k)[np.triu_indices(5, 1)], gains, rtol=1e-12)


def test_rounds_in_order_draw_each_round_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int | str] = []

    def counting(seed: int, *names: int | str) -> np.random.Generator:
        drawn.append(names[2])
        return stream(seed, *names)

    monkeypatch.setattr(module, "stream", counting)
    fading = Fading(RayleighLaw(), 0, 0.5)
    for k in (0, 0, 1, 2, 2, 2, 3):  # several hops in a round
        fading.gain(4, k)
    assert drawn == [0, 1, 2, 3]


def test_with_memory_all_attempts_of_a_round_meet_one_fade() -> None:
    remembering, forgetting = (Fading(RayleighLaw(), 3, r) for r in (0.4, None))
    assert (remembering.gain(5, 2, attempt=1) == remembering.gain(5, 2)).all()
    assert (forgetting.gain(5, 2, attempt=1) != forgetting.gain(5, 2))[~np.eye(5, dtype=bool)].all()


def test_full_correlation_keeps_the_first_fade_for_good() -> None:
    fading = Fading(NakagamiLaw(2.0), 3, 1.0)
    assert (fading.gain(6, 10_000_000) == fading.gain(6, 0)).all()


@pytest.mark.parametrize("correlation", [1.0001, -2.0, math.nan])
def test_a_correlation_that_is_none_is_refused(correlation: float) -> None:
    with pytest.raises(ValueError, match="must be from -1 to 1"):
        Fading(RayleighLaw(), 0, correlation)


def test_jakes_correlation_is_j0_of_the_way_in_wavelengths() -> None:
    # The wavelength is 1 m, so that J0's argument is 2 pi times the metres walked.
    carrier_hz = LIGHT_SPEED_M_S
    assert jakes_correlation(0.0, carrier_hz, 10.0) == 1.0
    assert jakes_correlation(1.0, carrier_hz, 0.0) == 1.0
    # Abramowitz & Stegun, tables 9.1 and 9.5: J0(1), J0(2), and the first zero.
    for argument, value in ((1.0, 0.7651976866), (2.0, 0.2238907791), (2.4048255577, 0.0)):
        walked_m = argument / (2.0 * math.pi)
        assert jakes_correlation(walked_m, carrier_hz, 1.0) == pytest.approx(value, abs=1e-10)
        assert jakes_correlation(1.0, carrier_hz / 5.0, 5.0 * walked_m) == pytest.approx(
            value, abs=1e-10
        )
    assert jakes_correlation(1.4, 3.5e9, 10.0) == pytest.approx(0.0, abs=0.03)


def test_mean_speeds() -> None:
    assert mean_speed_m_s(c.Static()) == 0.0
    assert mean_speed_m_s(c.GaussMarkov(speed_m_s=3.0)) == 3.0
    waypoint = c.RandomWaypoint(speed_min_m_s=1.0, speed_max_m_s=math.e)
    assert mean_speed_m_s(waypoint) == pytest.approx(math.e - 1.0)
    # 100 m take 100 / (e - 1) s on average; with 100 s of rest after each.
    resting = c.RandomWaypoint(speed_min_m_s=1.0, speed_max_m_s=math.e, pause_s=100.0)
    assert mean_speed_m_s(resting, leg_m=100.0) == pytest.approx(1.0 / (1.0 + 1.0 / (math.e - 1.0)))
    assert mean_speed_m_s(resting) == mean_speed_m_s(waypoint)
    same = c.RandomWaypoint(speed_min_m_s=2.0, speed_max_m_s=2.0)
    assert mean_speed_m_s(same) == 2.0
    nearly = c.RandomWaypoint(speed_min_m_s=2.0, speed_max_m_s=math.nextafter(2.0, 3.0))
    assert mean_speed_m_s(nearly) == pytest.approx(2.0)


def test_the_mean_speed_is_way_over_time_of_many_legs() -> None:
    rng = stream(0, "legs")
    speed_m_s, leg_m = rng.uniform(0.5, 2.0, 100_000), rng.uniform(10.0, 90.0, 100_000)
    walked = c.RandomWaypoint(speed_min_m_s=0.5, speed_max_m_s=2.0, pause_s=20.0)
    drawn = leg_m.sum() / (leg_m / speed_m_s + 20.0).sum()
    assert mean_speed_m_s(walked, leg_m=50.0) == pytest.approx(drawn, rel=0.01)


def test_the_speed_of_a_trace_is_refused_with_a_way_out() -> None:
    with pytest.raises(ValueError, match="choose a new gain every round"):
        mean_speed_m_s(c.Trace())
