"""How numbers are written on screen: one file, so that a quantity looks the same everywhere."""

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime

MISSING = "\u2013"  # en dash; never 0: a number that is not there is not a small number
THIN = "\u202f"  # narrow no-break space, groups thousands
SPACE = "\u00a0"  # no-break space between number and unit
MINUS = "\u2212"
PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
LONG_S = 300.0  # from here on an axis counts minutes, from 60 times that hours
SMALL_PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


@dataclass(frozen=True)
class Scale:
    """A power of ten with its SI prefix, so that a chart axis shows handy numbers."""

    factor: float
    unit: str

    def of(self, value: float) -> float:
        """`value`, given in the base unit, in this unit."""
        return value / self.factor


def absent(value: float | None) -> bool:
    """Whether there is no number to show."""
    return value is None or not math.isfinite(value)


def scale_for(largest: float, unit: str) -> Scale:
    """The scale in which `largest` reads as a handy number: SI prefixes, minutes and hours."""
    size = abs(largest)
    if not math.isfinite(size) or size == 0:
        return Scale(1.0, unit)
    for factor, prefix in () if unit == "s" else PREFIXES:
        if size >= factor * 0.9995:
            return Scale(factor, prefix + unit)
    if unit == "s" and size >= LONG_S:
        return Scale(3600.0, "h") if size >= 60 * LONG_S else Scale(60.0, "min")
    if unit in {"J", "s", "W"}:
        for factor, prefix in SMALL_PREFIXES:
            if size >= factor * 0.9995:
                return Scale(factor, prefix + unit)
        return Scale(1e-9, "n" + unit)
    return Scale(1.0, unit)


def significant(value: float, digits: int = 3) -> str:
    """`value` with `digits` significant digits, without an exponent for everyday sizes."""
    if value == 0:
        return "0"
    size = float(f"{abs(value):.{digits - 1}e}")  # 0.9996 counts as 1.00, not as 0.9996
    if size >= 1e6 or size < 1e-4:
        return f"{value:.{digits - 1}e}".replace("-", MINUS)
    decimals = max(0, digits - 1 - math.floor(math.log10(size)))
    text = f"{value:,.{decimals}f}".replace(",", THIN).replace("-", MINUS)
    return text.rstrip("0").rstrip(".") if "." in text and size >= 1e3 else text


def quantity(value: float | None, unit: str) -> str:
    """A number in SI with three digits: 1.24 Mbit, 0.42 J, 18.9 Mbit/s."""
    if value is None or absent(value):
        return MISSING
    scale = scale_for(value, unit)
    if unit == "J" and 0.1 <= abs(value) < 1:
        scale = Scale(1.0, unit)
    if unit == "bit" and scale.factor == 1.0:
        return f"{value:.0f}{SPACE}bit"
    return f"{significant(scale.of(value))}{SPACE}{scale.unit}"


def bits(value: float | None) -> str:
    """An amount of data."""
    return quantity(value, "bit")


def joules(value: float | None) -> str:
    """An energy."""
    return quantity(value, "J")


def amount(value: float | None, unit: str) -> str:
    """A number in its base unit: seconds as a duration, all else in SI."""
    return seconds(value) if unit == "s" else quantity(value, unit)


def rate(value: float | None) -> str:
    """A data rate given in bit/s."""
    return quantity(value, "bit/s")


def seconds(value: float | None) -> str:
    """A duration: 41 ms, 8.8 s, 3 min 20 s, 2 h 5 min."""
    if value is None or absent(value):
        return MISSING
    if abs(value) < 1:
        return quantity(value, "s")
    if abs(value) < 9.95:
        return f"{value:.1f}{SPACE}s"
    whole = round(value)
    if whole < 60:
        return f"{whole}{SPACE}s"
    if whole < 3600:
        return _two(whole // 60, "min", whole % 60, "s")
    return _two(whole // 3600, "h", whole % 3600 // 60, "min")


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    text = f"{large}{SPACE}{large_unit}"
    return f"{text} {small}{SPACE}{small_unit}" if small else text


def percent(fraction: float | None, decimals: int = 1) -> str:
    """A share as percent: 81.6 %."""
    if fraction is None or absent(fraction):
        return MISSING
    return f"{100 * fraction:.{decimals}f}{SPACE}%".replace("-", MINUS)


def chance(probability: float | None) -> str:
    """A probability as percent; what is not quite 0 or 1 is never written as such."""
    if probability is None or absent(probability):
        return MISSING
    if 0 < probability < 0.0005:
        return f"<{SPACE}0.1{SPACE}%"
    if 0.9995 <= probability < 1:
        return f">{SPACE}99.9{SPACE}%"
    return percent(probability)


def points(difference: float | None) -> str:
    """A difference of two shares in percentage points: +52.2 pt."""
    if difference is None or absent(difference):
        return MISSING
    rounded = round(100 * difference, 1)
    sign = "+" if rounded > 0 else MINUS if rounded < 0 else "±"
    return f"{sign}{abs(rounded):.1f}{SPACE}pt"


def relative(value: float | None, reference: float | None) -> str:
    """How far `value` is from `reference`, in percent of it, e.g. +15 %."""
    if value is None or reference is None or absent(value) or absent(reference) or reference == 0:
        return MISSING
    change = round(100 * (value / reference - 1))
    sign = "+" if change > 0 else MINUS if change < 0 else "±"
    return f"{sign}{abs(change)}{SPACE}%"


def decibel(value: float | None) -> str:
    """A ratio in decibels: 12.3 dB."""
    if value is None or absent(value):
        return MISSING
    return f"{value:.1f}{SPACE}dB".replace("-", MINUS)


def metres(value: float | None) -> str:
    """A length: 14 m, 3.2 m, 1.25 km."""
    if value is None or absent(value):
        return MISSING
    if abs(value) >= 1000:
        return quantity(value, "m")
    return f"{value:.{0 if abs(value) >= 10 else 1}f}{SPACE}m".replace("-", MINUS)


def count(value: int, noun: str) -> str:
    """A number of things: 1 device, 12 devices."""
    return f"{value:,}".replace(",", THIN) + f"{SPACE}{noun}{'' if value == 1 else 's'}"


def plain(value: object) -> str:
    """A config value as a table shows it."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items())
    return str(value)


def ago(moment: datetime, now: datetime | None = None) -> str:
    """How long since `moment`: just now, 4 min ago, 2 h ago, or the date."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    passed = ((now or datetime.now(UTC)) - aware).total_seconds()
    if passed < 10:
        return "just now"
    if passed < 60:
        return f"{passed:.0f}{SPACE}s ago"
    if passed < 3600:
        return f"{passed // 60:.0f}{SPACE}min ago"
    if passed < 86_400:
        return f"{passed // 3600:.0f}{SPACE}h ago"
    return aware.strftime("%Y-%m-%d")


_LITERAL = re.compile(r"`[^`]*`|https?://[^\s;,]+")


def sentence(text: str) -> str:
    """Plain text as a sentence in Markdown: addresses as code, nothing else read as markup."""
    shown, place = "", 0
    for match in _LITERAL.finditer(text):
        code = match[0] if match[0].startswith("`") else f"`{match[0]}`"
        shown += _escaped(text[place : match.start()]) + code
        place = match.end()
    shown += _escaped(text[place:])
    ended = shown if shown[-1:] in {".", "!", "?"} else f"{shown}."
    return ended[:1].upper() + ended[1:]


def literal(text: str) -> str:
    """Text that Markdown shows as it was written; it takes a backslash before ASCII signs only."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)


def _escaped(text: str) -> str:
    return re.sub(r"([\\*_\[\]$~#<>|])", r"\\\1", text)
