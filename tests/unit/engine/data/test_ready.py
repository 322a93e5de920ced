"""Twenty rows in the form of each published set become what that set means.

The field names are those of the published files; the texts are made up here.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from meshtune.engine.data.dataset import Dataset, dataset_of
from meshtune.engine.data.judging import final_number
from meshtune.engine.data.reading import read_table
from meshtune.engine.data.ready import READY, fitting, ready_template
from meshtune.engine.data.rows import DataError, Table
from meshtune.engine.data.splitting import Split

COUNT = 20
LOSS: Mapping[str, Any] = {"score": "loss"}
Row = Callable[[int], dict[str, Any]]


def words(number: int, count: int) -> list[str]:
    return [f"{number + step} stones" for step in range(count)]


def boolq(number: int) -> dict[str, Any]:
    return {
        "question": f"is {number} even",
        "title": "Numbers",
        "answer": number % 2 == 0,
        "passage": f"{number} is one of them.",
    }


def boolq_of_superglue(number: int) -> dict[str, Any]:
    row = boolq(number)
    return {**{k: row[k] for k in ("question", "passage")}, "idx": number, "label": 1 - number % 2}


def piqa(number: int) -> dict[str, Any]:
    one, other = words(number, 2)
    return {"goal": f"lift {number}", "sol1": one, "sol2": other, "label": number % 2}


def social_iqa(number: int) -> dict[str, Any]:
    one, other, third = words(number, 3)
    return {
        "context": f"Ann has {number} hens.",
        "question": "How many does she want?",
        "answerA": one,
        "answerB": other,
        "answerC": third,
        "label": f"{number % 3 + 1}\n",
    }


def gsm8k(number: int) -> dict[str, Any]:
    said = f"{number} + 1000 = <<{number}+1000={number + 1000}>>{number + 1000}"
    return {"question": f"What is {number} + 1000?", "answer": f"{said}\n#### {number + 1000:,}"}


def arc(number: int) -> dict[str, Any]:
    labels = list("ABCD" if number % 2 else "1234")
    return {
        "id": f"T_{number}",
        "question": f"What is {number} stones?",
        "choices": {"text": words(number, 4), "label": labels},
        "answerKey": labels[number % 4],
    }


def arc_as_first_published(number: int) -> dict[str, Any]:
    row = arc(number)
    pairs = zip(row["choices"]["text"], row["choices"]["label"], strict=True)
    choices = [{"text": text, "label": label} for text, label in pairs]
    return {
        "id": row["id"],
        "question": {"stem": row["question"], "choices": choices},
        "answerKey": row["answerKey"],
    }


def hellaswag(number: int) -> dict[str, Any]:
    return {
        "ind": number,
        "activity_label": "Counting stones",
        "ctx_a": f"A hen sees {number} stones.",
        "ctx_b": "she",
        "ctx": f"A hen sees {number} stones. she",
        "endings": words(number, 4),
        "source_id": f"x~{number}",
        "split": "train",
        "split_type": "indomain",
        "label": str(number % 4),
    }


def dolly(number: int) -> dict[str, Any]:
    return {
        "instruction": f"Count to {number}.",
        "context": "" if number % 2 else "Begin with one.",
        "response": f"One, and so on to {number}.",
        "category": "open_qa",
    }


def scienceqa(number: int) -> dict[str, Any]:
    choices = words(number, 2 + number % 4)
    return {
        "image": None,
        "question": f"Which is {number} stones?",
        "choices": choices,
        "answer": number % len(choices),
        "hint": "",
        "task": "closed choice",
        "grade": "grade2",
        "subject": "natural science",
        "topic": "counting",
        "category": "stones",
        "skill": "count stones",
        "lecture": "",
        "solution": "",
    }


def humaneval(number: int) -> dict[str, Any]:
    return {
        "task_id": f"T/{number}",
        "prompt": f'def add{number}(x):\n    """x and {number}"""\n',
        "canonical_solution": f"    return x + {number}\n",
        "test": f"def check(f):\n    assert f(0) == {number}\n",
        "entry_point": f"add{number}",
    }


def mbpp(number: int) -> dict[str, Any]:
    return {
        "task_id": number,
        "text": f"Write a function that adds {number}.",
        "code": f"def f(x):\n    return x + {number}",
        "test_list": [f"assert f(0) == {number}"],
        "test_setup_code": "",
        "challenge_test_list": [],
    }


def mbpp_sanitized(number: int) -> dict[str, Any]:
    row = mbpp(number)
    return {
        "source_file": "x.ipynb",
        "task_id": number,
        "prompt": row["text"],
        "code": row["code"],
        "test_imports": [],
        "test_list": row["test_list"],
    }


FORMS: tuple[tuple[str, Row], ...] = (
    ("boolq", boolq),
    ("boolq", boolq_of_superglue),
    ("piqa", piqa),
    ("social_iqa", social_iqa),
    ("gsm8k", gsm8k),
    ("arc_easy", arc),
    ("arc_easy", arc_as_first_published),
    ("arc_challenge", arc),
    ("arc_challenge", arc_as_first_published),
    ("hellaswag", hellaswag),
    ("dolly", dolly),
    ("scienceqa", scienceqa),
    ("humaneval", humaneval),
    ("mbpp", mbpp),
    ("mbpp", mbpp_sanitized),
)


def as_json(path: Path, row: Row) -> Table:
    path = path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row(number)) for number in range(COUNT)))
    return read_table(path)


def as_parquet(path: Path, row: Row) -> Table:
    path = path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist([row(number) for number in range(COUNT)]), path)
    return read_table(path)


def taken(name: str, table: Table) -> Dataset:
    changes = LOSS if READY[name].runs_code else {}
    return dataset_of(table, ready_template(name, table.columns, changes), Split())


def test_every_published_set_is_tested() -> None:
    assert {name for name, _ in FORMS} == set(READY)


@pytest.mark.parametrize("written", [as_json, as_parquet])
@pytest.mark.parametrize(("name", "row"), FORMS, ids=[row.__name__ for _, row in FORMS])
def test_all_rows_of_a_published_form_are_used(
    tmp_path: Path, name: str, row: Row, written: Callable[[Path, Row], Table]
) -> None:
    table = written(tmp_path, row)
    assert name in fitting(table.columns)
    found = taken(name, table)
    assert found.faults == ()
    assert len(found.examples) == COUNT
    assert found.repeated == ()
    assert all(not example.prompt.startswith("\n") for example in found.examples)
    assert all("{" not in example.prompt for example in found.examples)


@pytest.mark.parametrize(
    ("name", "row", "right"),
    [
        ("boolq", boolq, lambda number: ("yes", "no")[number % 2]),
        ("boolq", boolq_of_superglue, lambda number: ("yes", "no")[number % 2]),
        ("piqa", piqa, lambda number: words(number, 2)[number % 2]),
        ("social_iqa", social_iqa, lambda number: words(number, 3)[number % 3]),
        ("arc_easy", arc, lambda number: words(number, 4)[number % 4]),
        ("arc_challenge", arc_as_first_published, lambda number: words(number, 4)[number % 4]),
        ("hellaswag", hellaswag, lambda number: words(number, 4)[number % 4]),
        ("scienceqa", scienceqa, lambda n: words(n, 2 + n % 4)[n % (2 + n % 4)]),
        ("dolly", dolly, lambda number: f"One, and so on to {number}."),
        ("humaneval", humaneval, lambda number: f"    return x + {number}\n"),
        ("mbpp", mbpp_sanitized, lambda number: f"def f(x):\n    return x + {number}"),
    ],
)
def test_the_right_answer_is_the_right_one(
    tmp_path: Path, name: str, row: Row, right: Callable[[int], str]
) -> None:
    found = taken(name, as_json(tmp_path, row))
    assert [each.answer for each in found.examples] == [right(number) for number in range(COUNT)]


def test_an_answer_of_gsm8k_is_the_number_behind_its_mark(tmp_path: Path) -> None:
    found = taken("gsm8k", as_json(tmp_path, gsm8k))
    numbers = [final_number(each.answer) for each in found.examples]
    assert numbers == [number + 1000 for number in range(COUNT)]


def test_a_prompt_reads_as_it_should(tmp_path: Path) -> None:
    prompt = taken("boolq", as_json(tmp_path, boolq)).examples[3].prompt
    assert prompt == "3 is one of them.\nquestion: is 3 even?\nanswer:"
    prompts = [each.prompt for each in taken("dolly", as_json(tmp_path, dolly)).examples]
    assert prompts[0].startswith("Begin with one.\n\ninstruction:")
    assert prompts[1].startswith("instruction:")


@pytest.mark.parametrize(
    ("name", "row", "hidden"), [("piqa", piqa, -1), ("hellaswag", hellaswag, "")]
)
def test_rows_without_published_answer_are_left_out(
    tmp_path: Path, name: str, row: Row, hidden: int | str
) -> None:
    def some(number: int) -> dict[str, Any]:
        return {**row(number), **({"label": hidden} if number == 4 else {})}

    found = taken(name, as_json(tmp_path, some))
    assert len(found.examples) == COUNT - 1
    assert [fault.number for fault in found.faults] == [5]


@pytest.mark.parametrize("name", ["humaneval", "mbpp"])
def test_sets_whose_answers_would_be_run_are_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(DataError, match="answers are not run as programs; choose"):
        ready_template(name, (), {})


def test_an_unknown_set_is_answered_with_the_nearest() -> None:
    with pytest.raises(DataError, match=r"did you mean boolq\? The templates are boolq, piqa"):
        ready_template("BoolQA", (), {})


def test_a_field_of_a_ready_template_can_be_changed() -> None:
    template = ready_template("boolq", ("question", "passage", "label"), {"prompt": "{question}"})
    assert template.prompt == "{question}"
    assert template.answer == "{label}"
    assert template.score == "choice"
