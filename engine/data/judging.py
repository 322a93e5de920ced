"""Whether a generated reply is right, by the text of the answer alone."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from fractions import Fraction

# Thousands may be parted by commas; a sign belongs to a number unless something is before it.
NUMBER = re.compile(
    r"(?:(?<![\w.)])[-+])?"
    r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,300})(?:\.\d{1,300})?|\.\d{1,300})"
    r"(?:[eE][-+]?\d{1,2}(?!\d)|/0*[1-9]\d{0,99})?"
)
FINAL = "####"  # what stands before the result in GSM8K


def exact(reply: str, answer: str) -> bool:
    """Whether they are the same text, but for blanks around and between words."""
    return _plain(reply) == _plain(answer)


def contains(reply: str, answer: str) -> bool:
    """Whether the answer occurs in the reply, as whole words; case does not count."""
    wanted = _plain(answer).casefold()
    pattern = f"{_edge(wanted[:1], '<!')}{re.escape(wanted)}{_edge(wanted[-1:], '!')}"
    return bool(wanted) and re.search(pattern, _plain(reply).casefold()) is not None


def numeric(reply: str, answer: str) -> bool:
    """Whether both end in the same number; `final_number` says which that is."""
    wanted = final_number(answer)
    return wanted is not None and final_number(reply) == wanted


def final_number(text: str) -> Fraction | None:
    """The number behind the last `####`, or else the last of the text; None if there is none.

    It may have thousands parted by commas, decimals, an exponent, or be a fraction: 1,234, .5,
    2e3, 3/4. Units and currencies around it do not count.
    """
    before, mark, result = text.replace("\N{MINUS SIGN}", "-").rpartition(FINAL)
    behind = NUMBER.search(result) if mark else None
    if behind:
        return _value(behind[0])
    numbers = NUMBER.findall(before or result)
    return _value(numbers[-1]) if numbers else None


SPOKEN = ("contains", "numeric")  # judged by the whole reply, which must be generated
JUDGES: Mapping[str, Callable[[str, str], bool]] = {
    "exact": exact,
    "contains": contains,
    "numeric": numeric,
}


def _value(number: str) -> Fraction:
    above, _, below = number.replace(",", "").partition("/")
    return Fraction(above) / int(below or 1)


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _edge(letter: str, behind: str) -> str:
    # Scripts without upper and lower case often write words without blanks between them.
    joins = letter.isdigit() or letter.upper() != letter.lower()
    return rf"(?{behind}\w)" if joins else ""
