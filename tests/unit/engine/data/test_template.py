"""Patterns fill with the cells of a row, and rows that do not fit have a line and a sentence."""

from typing import Any

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from meshtune.engine.config import plain_errors
from meshtune.engine.data.patterns import filled, pieces
from meshtune.engine.data.rows import DataError, Row, Table, cells_of
from meshtune.engine.data.template import Example, Template, examples_of

YES_NO: dict[str, Any] = {"prompt": "{q}?", "answer": "{a}", "choices": ["no", "yes"]}


def table(*trees: dict[str, Any]) -> Table:
    rows = tuple(Row(number, cells_of(tree)) for number, tree in enumerate(trees, start=2))
    columns = tuple(dict.fromkeys(name for row in rows for name in row.cells))
    return Table(rows, (), columns, "", "line")


def only(template: Template, **tree: Any) -> Example:
    examples, faults = examples_of(template, table(tree))
    assert faults == ()
    return examples[0]


def fault(template: Template, **tree: Any) -> str:
    examples, faults = examples_of(template, table(tree))
    assert examples == ()
    assert faults[0].number == 2
    return faults[0].sentence


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("{q}", "Q"),
        ("a {q} b {q}", "a Q b Q"),
        ("{{q}}", "{q}"),
        ("{{{q}}}", "{Q}"),
        ("{two words}", "T"),
        ("{a.b}", "D"),
        ("{q:>9}", "S"),
        ("no column", "no column"),
    ],
)
def test_a_pattern_takes_cells_by_their_whole_name(pattern: str, text: str) -> None:
    cells = {"q": "Q", "two words": "T", "a.b": "D", "q:>9": "S"}
    assert filled(pattern, cells) == text


@pytest.mark.parametrize("pattern", ["{", "}", "{q", "q}", "{}", "{q}}", "{{q}", "{a{b}}"])
def test_a_brace_without_partner_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="has a brace without a name"):
        pieces(pattern)


def test_nothing_of_a_cell_is_looked_into_or_filled_again() -> None:
    assert filled("{q}", {"q": "{a} {q.__class__}", "a": "secret"}) == "{a} {q.__class__}"
    for pattern in ("{q.__class__}", "{q[0]}", "{q!r}", "{0}"):
        with pytest.raises(DataError, match="there is no column"):
            examples_of(Template(prompt=pattern, answer="{q}"), table({"q": "one"}))


@given(st.text())
def test_a_text_with_doubled_braces_is_itself(text: str) -> None:
    assert filled(text.replace("{", "{{").replace("}", "}}"), {}) == text


def test_an_unknown_column_is_answered_with_the_nearest() -> None:
    rows = table({"Question": "one", "answer": "1"})
    with pytest.raises(DataError) as refused:
        examples_of(Template(prompt="{question}", answer="{answer}"), rows)
    said = str(refused.value)
    assert said.startswith("prompt: there is no column 'question'; did you mean 'Question'?")
    assert said.endswith("Question, answer")


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"prompt": "{q"}, "prompt", "brace"),
        ({"prompt": ""}, "prompt", "is empty"),
        ({"prompt": "why?"}, "prompt", "names no column"),
        ({"choices": [], "score": "choice"}, "score", "there are no choices"),
        ({"score": "exact"}, "score", "choices are judged as choice alone"),
        ({"score": "code"}, "score", "not run as programs"),
        ({"score": "guess"}, "score", "must be 'choice'"),
        ({"choices": [], "labels": ["a", "b"]}, "labels", "there are none"),
        ({"promt": "{q}"}, "promt", "did you mean prompt?"),
    ],
)
def test_a_template_that_does_not_fit_has_one_sentence(
    change: dict[str, Any], field: str, said: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        Template.model_validate(YES_NO | change)
    found = plain_errors(refused.value.errors(), Template)
    assert [name for name, _ in found] == [field]
    assert said in found[0][1]


def test_the_score_follows_from_the_choices() -> None:
    assert Template.model_validate(YES_NO).score == "choice"
    assert Template(prompt="{q}", answer="{a}").score == "exact"


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("yes", "yes"),
        (" NO ", "no"),
        (True, "yes"),
        (False, "no"),
        (1, "yes"),
        ("0", "no"),
        (1.0, "yes"),
    ],
)
def test_an_answer_names_its_choice_by_text_number_or_truth(answer: Any, right: str) -> None:
    assert only(Template.model_validate(YES_NO), q="one", a=answer).answer == right


def test_labels_go_before_texts_and_numbers() -> None:
    template = Template(prompt="{q}", answer="{a}", choices=("{c}",), labels=("1", "2", "3"))
    assert only(template, q="one", a="1", c=["2", "1"]).answer == "2"
    assert "none of the labels 1, 2" in fault(template, q="one", a="3", c=["2", "1"])
    assert "4 choices but 3 labels" in fault(template, q="one", a="1", c=list("abcd"))


def test_choices_are_patterns_a_column_of_a_list_or_a_list_in_a_cell() -> None:
    for choices, cells in (
        (("{x}", "not {x}"), {"x": "up"}),
        (("{c}",), {"c": ["up", "not up"]}),
        (("{c}",), {"c": '["up", "not up"]'}),
    ):
        template = Template(prompt="{q}", answer="{a}", choices=choices)
        example = only(template, q="one", a="not up", **cells)
        assert example.choices == ("up", "not up")
        assert example.answer == "not up"


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"q": "one", "a": "maybe"}, "its answer 'maybe' is none of its 2 choices"),
        ({"q": "one", "a": "2"}, "is none of its 2 choices"),
        ({"q": "one", "a": "-1"}, "is none of its 2 choices"),
        ({"q": "one", "a": " "}, "its answer is empty"),
        ({"q": "one", "a": None}, "its answer is empty"),
        ({"q": "one", "a": ["yes"]}, "its column 'a' is a list"),
    ],
)
def test_a_row_without_right_answer_is_named(tree: dict[str, Any], said: str) -> None:
    assert said in fault(Template.model_validate(YES_NO), **tree)


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ("one", "it has 1 choices"),
        ([], "it has 0 choices"),
        (["yes", ""], "one of its choices is empty"),
        (["yes", "yes "], "two of its choices are the same"),
        ("[not json", "it has 1 choices"),
        ("[1, 2]", "it has 1 choices"),
    ],
)
def test_a_row_with_unfit_choices_is_named(choices: Any, said: str) -> None:
    template = Template(prompt="{q}", answer="{a}", choices=("{c}",))
    assert said in fault(template, q="one", a="yes", c=choices)


def test_rows_that_lack_a_column_or_a_number_are_named_and_the_rest_is_used() -> None:
    template = Template(prompt="{q}", answer="{a}", score="numeric")
    trees = [{"q": "one", "a": "is 1"}, {"a": "2"}, {"q": "three", "a": "x"}, {"q": " ", "a": "4"}]
    examples, faults = examples_of(template, table(*trees))
    assert [example.row.number for example in examples] == [2]
    assert [(each.number, each.sentence) for each in faults] == [
        (3, "it has no column 'q'"),
        (4, "its answer 'x' has no number"),
        (5, "its prompt is empty"),
    ]


def test_blanks_before_a_prompt_go_and_those_behind_it_stay() -> None:
    template = Template(prompt="{c}\n{q}\nanswer: ", answer="{a}")
    assert only(template, c="", q="one", a=" 1\n").prompt == "one\nanswer: "
    assert only(template, c="", q="one", a=" 1\n").answer == "1"


def test_an_answer_whose_loss_is_asked_keeps_its_blanks() -> None:
    template = Template(prompt="{q}", answer="{a}", score="loss")
    assert only(template, q="def f():", a="    return 1\n").answer == "    return 1\n"
    assert fault(template, q="def f():", a=" \n") == "its answer is empty"
