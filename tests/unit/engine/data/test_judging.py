"""Replies are right by their text."""

from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from meshtune.engine.data.judging import JUDGES, contains, exact, final_number, numeric


@pytest.mark.parametrize(
    ("reply", "answer", "right"),
    [
        ("Paris", "Paris", True),
        ("  Paris\n", "Paris", True),
        ("New \n York", "New York", True),
        ("cafe\u0301", "caf\u00e9", True),
        ("paris", "Paris", False),
        ("Paris.", "Paris", False),
        ("", "Paris", False),
    ],
)
def test_exact_looks_past_blanks_alone(reply: str, answer: str, right: bool) -> None:
    assert exact(reply, answer) is right


@pytest.mark.parametrize(
    ("reply", "answer", "right"),
    [
        ("It is Paris, of course.", "paris", True),
        ("I know", "no", False),
        ("No!", "no", True),
        ("über", "ber", False),
        ("它在東京都。", "東京", True),
        ("C++ it is", "C++", True),
        ("42nd", "42", False),
        ("a.b", "a?b", False),
        ("New\nYork", "new york", True),
        ("anything", "", False),
    ],
)
def test_contains_looks_for_whole_words(reply: str, answer: str, right: bool) -> None:
    assert contains(reply, answer) is right


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("42", 42),
        ("She has 3 + 4 = 7 apples.", 7),
        ("so 1,234 in all", 1234),
        ("1,234,567.50", Fraction(2469135, 2)),
        ("12,34", 34),
        ("4, 5, 6", 6),
        ("It costs $5.00.", 5),
        ("50%", 50),
        ("-3", -3),
        ("\N{MINUS SIGN}3", -3),
        ("10-4", 4),
        ("10 - 4", 4),
        ("= -4", -4),
        (".5", Fraction(1, 2)),
        ("-0.5", Fraction(-1, 2)),
        ("2e3", 2000),
        ("3/4", Fraction(3, 4)),
        ("3/0", 0),
        ("2 + 2 = 4\n#### 4", 4),
        ("#### 1,000 dollars in 3 days", 1000),
        ("first #### 1 then #### 2", 2),
        ("it is 7 ####", 7),
        ("it is 7 #### none", 7),
        ("\\boxed{18}", 18),
        ("**18**", 18),
        ("no number", None),
        ("...", None),
        ("", None),
    ],
)
def test_the_final_number_in_the_usual_ways_of_writing(text: str, value: int | None) -> None:
    assert final_number(text) == value


def test_numeric_compares_values_exactly() -> None:
    assert numeric("The answer is 1,000.0", "so\n#### 1000")
    assert not numeric("1000001", "1000000")
    assert not numeric("none", "none")
    assert not numeric("", "4")


@given(st.integers(-(10**9), 10**9))
def test_a_number_is_found_however_it_is_written(value: int) -> None:
    for text in (f"{value}", f"{value:,}", f"is {value:,}.", f"x\n#### {value:,}", f"{value}.0"):
        assert final_number(text) == value


@pytest.mark.parametrize("score", ["exact", "contains"])
@given(text=st.text(min_size=1).filter(str.strip))
def test_an_answer_is_right_by_its_own_score(score: str, text: str) -> None:
    assert JUDGES[score](text, text)


@given(st.text(alphabet="0123456789,./eE+-# a"))
def test_no_text_breaks_the_search_for_a_number(text: str) -> None:
    final_number(text)
