"""Train and test never share a prompt by hash, and where a column says so it is told."""

import hashlib
from typing import Any

import pytest
from hypothesis import given, strategies as st

from meshtune.engine.data.dataset import Dataset, dataset_of
from meshtune.engine.data.rows import DataError, Fault, Row, Table, cells_of
from meshtune.engine.data.splitting import Split
from meshtune.engine.data.template import Template

ASK = Template(prompt="{q}", answer="{a}")


def table(*trees: dict[str, Any], faults: tuple[Fault, ...] = ()) -> Table:
    rows = tuple(Row(number, cells_of(tree)) for number, tree in enumerate(trees, start=1))
    columns = tuple(dict.fromkeys(name for row in rows for name in row.cells))
    return Table(rows, faults, columns, "0" * 64, "line")


def asked(*prompts: str, share: float = 0.2) -> Dataset:
    trees = [{"q": prompt, "a": "1"} for prompt in prompts]
    return dataset_of(table(*trees), ASK, Split(test_fraction=share))


def numbers(pairs: Any) -> list[tuple[int, int]]:
    return [(one.row.number, other.row.number) for one, other in pairs]


def test_the_share_is_held_out_and_nothing_is_lost() -> None:
    found = asked(*(f"question {number}" for number in range(5_000)))
    assert len(found.train) + len(found.test) == 5_000
    assert 0.18 < len(found.test) / 5_000 < 0.22


def test_a_larger_share_keeps_what_a_smaller_one_held_out() -> None:
    prompts = [f"question {number}" for number in range(300)]
    few, many = asked(*prompts, share=0.1), asked(*prompts, share=0.4)
    assert {each.prompt for each in few.test} < {each.prompt for each in many.test}
    assert asked(*prompts, share=0.0).test == ()


def test_the_side_of_a_prompt_is_the_same_on_every_machine() -> None:
    def position(prompt: str) -> float:
        digest = hashlib.blake2b(prompt.encode(), digest_size=6).digest()
        return int.from_bytes(digest, "big") / 2**48

    prompts = [f"question {number}" for number in range(50)]
    held_out = {each.prompt for each in asked(*prompts).test}
    assert held_out == {prompt for prompt in prompts if position(prompt) < 0.2}


@given(
    st.lists(st.sampled_from(["one", "One", " one", "one  two", "ONE two", "three"]), min_size=1)
)
def test_prompts_that_ask_the_same_are_never_parted_by_the_hash(prompts: list[str]) -> None:
    found = asked(*prompts, share=0.5)
    assert found.across == ()
    different = {" ".join(prompt.split()).casefold() for prompt in prompts}
    assert len(found.repeated) == len(prompts) - len(different)


def test_a_column_parts_and_what_is_on_both_sides_is_named() -> None:
    said = ["train", "Test ", "validation", "train", "maybe"]
    asks = ["one", "one", "two", "One", "three"]
    trees = [{"q": q, "a": "1", "part": part} for q, part in zip(asks, said, strict=True)]
    found = dataset_of(table(*trees), ASK, Split(column="part"))
    assert [each.held_out for each in found.examples] == [False, True, True, False]
    assert numbers(found.repeated) == [(1, 2), (1, 4)]
    assert numbers(found.across) == [(1, 2)]
    assert [(each.number, each.sentence) for each in found.faults] == [
        (5, "its column 'part' says 'maybe', neither train nor test")
    ]


def test_a_split_by_an_unknown_column_is_refused() -> None:
    with pytest.raises(DataError, match="split: there is no column 'parts'; did you mean 'part'"):
        dataset_of(table({"q": "one", "a": "1", "part": "train"}), ASK, Split(column="parts"))


def test_faults_of_reading_filling_and_splitting_come_in_the_order_of_the_file() -> None:
    trees = [{"q": "one", "a": ""}, {"q": "two", "a": "1", "part": "no"}]
    trees += [{"q": "three", "a": "1", "part": "test"}]
    rows = table(*trees, faults=(Fault(9, "late"), Fault(0, "early")))
    found = dataset_of(rows, ASK, Split(column="part"))
    assert [each.number for each in found.faults] == [0, 1, 2, 9]
    assert len(found.examples) == 1


def test_a_table_of_which_nothing_is_left_is_refused() -> None:
    with pytest.raises(DataError, match="no row can be used: line 1: its answer is empty"):
        dataset_of(table({"q": "one", "a": ""}), ASK, Split())


def test_what_a_guess_gets_and_which_prompt_is_longest() -> None:
    template = Template(prompt="{q}", answer="{a}", choices=("{c}",))
    trees = [
        {"q": "one", "a": "x", "c": ["x", "y"]},
        {"q": "the longest", "a": "x", "c": ["x", "y", "z", "u"]},
        {"q": "two", "a": "y", "c": ["x", "y"]},
    ]
    found = dataset_of(table(*trees), template, Split())
    assert found.chance == pytest.approx((1 / 2 + 1 / 4 + 1 / 2) / 3)
    assert found.commonest == ("x", pytest.approx(2 / 3))
    assert found.longest.row.number == 2
    assert asked("one").chance is None
