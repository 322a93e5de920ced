"""One quantity, one way to write it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from meshtune.dashboard.look import format as fmt


def plain(text: str) -> str:
    return text.replace(fmt.SPACE, " ").replace(fmt.THIN, " ").replace(fmt.MINUS, "-")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 bit"),
        (1, "1 bit"),
        (999, "999 bit"),
        (1000, "1.00 kbit"),
        (999_600, "1.00 Mbit"),
        (1_240_000, "1.24 Mbit"),
        (123_456_789, "123 Mbit"),
        (7.2e12, "7.20 Tbit"),
    ],
)
def test_bits_carry_si_prefixes_and_three_digits(value: float, text: str) -> None:
    assert plain(fmt.bits(value)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 s"),
        (0.041, "41.0 ms"),
        (8.84, "8.8 s"),
        (9.97, "10 s"),
        (59.4, "59 s"),
        (200, "3 min 20 s"),
        (180, "3 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations_read_like_a_clock(value: float, text: str) -> None:
    assert plain(fmt.seconds(value)) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (fmt.percent(0.816), "81.6 %"),
        (fmt.points(0.522), "+52.2 pt"),
        (fmt.points(-0.004), "-0.4 pt"),
        (fmt.points(0.0001), "±0.0 pt"),
        (fmt.relative(22_507, 81_920), "-73 %"),
        (fmt.joules(0.42), "0.420 J"),
        (fmt.joules(0.0031), "3.10 mJ"),
        (fmt.decibel(-3.04), "-3.0 dB"),
        (fmt.rate(18.9e6), "18.9 Mbit/s"),
        (fmt.metres(14.2), "14 m"),
        (fmt.metres(3.21), "3.2 m"),
        (fmt.count(1, "device"), "1 device"),
        (fmt.count(12_000, "round"), "12 000 rounds"),
    ],
)
def test_every_quantity_has_its_unit(text: str, expected: str) -> None:
    assert plain(text) == expected


def test_what_is_missing_is_a_dash_and_never_zero() -> None:
    nothing = [None, float("nan"), float("inf")]
    writers: list[Callable[[float | None], str]] = [
        *(fmt.bits, fmt.joules, fmt.rate, fmt.seconds, fmt.points, fmt.decibel, fmt.metres),
        lambda value: fmt.percent(value),
    ]
    assert {write(value) for write in writers for value in nothing} == {fmt.MISSING}
    assert fmt.relative(1.0, 0.0) == fmt.MISSING
    assert fmt.plain(None) == fmt.MISSING


@pytest.mark.parametrize(
    ("largest", "unit", "shown"),
    [
        (0, "bit", "bit"),
        (5e6, "bit", "Mbit"),
        (0.02, "J", "mJ"),
        (250, "s", "s"),
        (5000, "s", "min"),
        (90_000, "s", "h"),
        (0.004, "s", "ms"),
    ],
)
def test_axes_get_the_prefix_that_makes_handy_numbers(
    largest: float, unit: str, shown: str
) -> None:
    assert fmt.scale_for(largest, unit).unit == shown


def test_moments_are_told_from_now() -> None:
    now = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
    ages = {4: "just now", 40: "40 s ago", 600: "10 min ago", 7300: "2 h ago", 90_000: "2026-01-01"}
    for seconds, text in ages.items():
        assert plain(fmt.ago(now - timedelta(seconds=seconds), now)) == text
    assert fmt.ago(now.replace(tzinfo=None), now) == "just now"


def test_a_message_is_shown_as_it_is_written() -> None:
    given = "cannot reach the API at http://127.0.0.1:8000; start it with `make up`"
    assert fmt.sentence(given) == (
        "Cannot reach the API at `http://127.0.0.1:8000`; start it with `make up`."
    )
    assert fmt.sentence("lower training.learning_rate [now]") == (
        r"Lower training.learning\_rate \[now\]."
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, fmt.MISSING),
        (float("nan"), fmt.MISSING),
        (0.0, "0.0 %"),
        (1e-9, "< 0.1 %"),
        (0.0005, "0.1 %"),
        (0.25, "25.0 %"),
        (0.9999, "> 99.9 %"),
        (1.0, "100.0 %"),
    ],
)
def test_a_chance_is_never_quite_nothing_or_certain(value: float | None, text: str) -> None:
    assert plain(fmt.chance(value)) == text
