"""Files of rows as people and tools write them: what can be read is, and the rest has a line."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st

from meshtune.engine.data import reading
from meshtune.engine.data.reading import read_table
from meshtune.engine.data.rows import NAMED_MAX, ROW_MAX, DataError, Fault, Table, told

ROWS = [{"q": "one", "a": "1"}, {"q": "two", "a": "2"}]


@pytest.fixture
def read(tmp_path: Path):
    """The table in a file of this name with this content."""

    def of(name: str, content: str | bytes) -> Table:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_table(path)

    return of


def json_text(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def cells(table: Table) -> list[dict[str, Any]]:
    return [dict(row.cells) for row in table.rows]


def only_fault(table: Table) -> Fault:
    assert len(table.faults) == 1
    return table.faults[0]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", json_text(*ROWS)),
        ("rows.json", "\n\n" + json_text(*ROWS).replace("\n", "\n\n")),
        ("rows.txt", json_text(*ROWS)),
        ("rows.jsonl", "\ufeff" + json_text(*ROWS).replace("\n", "\r\n")),
        ("rows.jsonl", json_text(*ROWS).encode("utf-16")),
        ("rows.csv", "q,a\none,1\ntwo,2\n"),
        ("rows.csv", "q;a\r\none;1\r\n\r\ntwo;2"),
        ("rows.csv", "sep=;\nq;a\none;1\n;\ntwo;2\n"),
        ("rows.tsv", "q\ta\none\t1\n  two \t 2\n"),
        ("rows.csv", '\n"q", "a"\n"one", "1"\n"two", "2"\n'),
        ("rows.CSV", "q,a\none,1\ntwo,2\n".encode("utf-16")),
        ("rows", "q,a\none,1\ntwo,2\n"),
    ],
)
def test_one_table_is_written_in_many_ways(read, name: str, content: str | bytes) -> None:
    table = read(name, content)
    assert cells(table) == ROWS
    assert table.columns == ("q", "a")
    assert table.faults == ()
    assert table.unit == "line"


def test_parquet_has_rows_and_drops_pictures(read, tmp_path: Path) -> None:
    trees = [{**row, "image": {"bytes": b"\x89PNG", "path": "x"}, "raw": b"x"} for row in ROWS]
    pq.write_table(pa.Table.from_pylist(trees), tmp_path / "t")
    table = read("rows.parquet", (tmp_path / "t").read_bytes())
    assert cells(table) == ROWS
    assert table.unit == "row"


def test_the_hash_is_that_of_the_file(read) -> None:
    content = json_text(*ROWS).encode()
    assert read("rows.jsonl", content).sha256 == hashlib.sha256(content).hexdigest()


def test_all_formats_say_the_same_of_values(read, tmp_path: Path) -> None:
    tree = {
        "flag": True,
        "whole": 3.0,
        "part": 0.5,
        "none": None,
        "names": ["x", "y"],
        "choices": {"text": ["x", "y"], "label": ["A", "B"]},
        "items": [{"text": "x", "n": 1}, {"text": "y", "n": 2}],
        "deep": [["x"], ["y"]],
    }
    wanted = {
        "flag": "true",
        "whole": "3",
        "part": "0.5",
        "none": "",
        "names": ("x", "y"),
        "choices.text": ("x", "y"),
        "choices.label": ("A", "B"),
        "items.text": ("x", "y"),
        "items.n": ("1", "2"),
        "deep": ('["x"]', '["y"]'),
    }
    assert cells(read("rows.jsonl", json_text(tree))) == [wanted]
    pq.write_table(pa.Table.from_pylist([tree]), tmp_path / "t")
    assert cells(read("rows.parquet", (tmp_path / "t").read_bytes())) == [wanted]


def test_a_quoted_cell_goes_over_lines_and_rows_keep_their_number(read) -> None:
    table = read("rows.csv", 'q,a\n"one\nand, more","say ""1"""\n# two,2\n')
    assert [row.number for row in table.rows] == [2, 4]
    assert cells(table) == [
        {"q": "one\nand, more", "a": 'say "1"'},
        {"q": "# two", "a": "2"},
    ]


def test_lines_end_only_where_lines_end(read) -> None:
    said = "one\u2028two\u0085three"
    assert cells(read("rows.jsonl", json.dumps({"q": said}, ensure_ascii=False)))[0]["q"] == said
    assert cells(read("rows.csv", f"q,a\n{said},1\n"))[0]["q"] == said


GOOD = b'{"q": "one"}\n'


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"q": "two"', "it is not JSON from character 12 on"),
        (b"nonsense", "it is not JSON from character 1 on"),
        (b'["two"]', "it is no row with columns"),
        (b'"two"', "it is no row with columns"),
        (b'{"q": "two", "q": "three"}', "it has 'q' twice"),
        (b'{"a": {"b": "1"}, "a.b": "2"}', "two of its columns are called 'a.b'"),
        (b'{"q": NaN}', "NaN is no number"),
        (b'{"q": "\xff\xfe"}', "bytes that are not UTF-8"),
        (b'{"q": "\x00"}', "zero byte"),
        (b'{"q": "\\u0000"}', "zero byte"),
        (b'{"q": "\\ud83d"}', "half a character"),
        (b'{"q\\ud83d": "two"}', "half a character"),
        (b"[" * 100_000, "too deep"),
        (b'{"q": ' + b"9" * 5_000 + b"}", "digits"),
        (b'{"q": "' + b"x" * ROW_MAX + b'"}', f"at most {ROW_MAX}"),
    ],
)
def test_a_broken_json_row_is_named_and_the_rest_is_used(read, line: bytes, said: str) -> None:
    table = read("rows.jsonl", GOOD + line + b"\n" + GOOD)
    assert [row.number for row in table.rows] == [1, 3]
    fault = only_fault(table)
    assert fault.number == 2
    assert said in fault.sentence
    assert len(fault.sentence) < 200


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("two", "it has 1 cells, but 2 columns"),
        ("two,2,3", "it has 3 cells, but 2 columns"),
        ('two,"2', "never closed"),
        ('"two" more,2', "a quote stands within a cell"),
        ("two\x00,2", "zero byte"),
        ("x" * (ROW_MAX + 1) + ",2", "more than 131072 characters"),
        ("x" * ROW_MAX + ",2", f"at most {ROW_MAX}"),
    ],
)
def test_a_broken_row_of_a_sheet_is_named_and_the_rest_is_used(read, line: str, said: str) -> None:
    table = read("rows.csv", f"q,a\none,1\n{line}\nthree,3\n")
    assert [row.number for row in table.rows] == [2, 4]
    fault = only_fault(table)
    assert fault.number == 3
    assert said in fault.sentence


def test_behind_each_of_many_broken_rows_reading_goes_on(read) -> None:
    table = read("rows.csv", "q,a\n" + 'x,"1" 2\none,1\n' * 5_000)
    assert (len(table.rows), len(table.faults)) == (5_000, 5_000)


def test_a_column_without_name_is_left_out(read) -> None:
    assert cells(read("rows.csv", ",q,a\n0,one,1\n1,two,2\n")) == ROWS


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.jsonl", b"", "is empty"),
        ("rows.jsonl", b" \n\r\n ", "is empty"),
        ("rows.jsonl", "\ufeff\n".encode(), "no row that can be used"),
        ("rows.csv", b"q,a\n", "no row that can be used"),
        ("rows.csv", b"q,a\none\n", "no row that can be used: line 2: it has 1 cells"),
        ("rows.csv", b"q,q\none,1\n", "names the column 'q' 2 times"),
        ("rows.csv", b",\none,1\n", "names no column"),
        ("rows.csv", b'"q,a\n', "cannot be read: a quote is opened"),
        ("rows.csv", "q,a\none,1\n".encode("utf-16-le"), "zero byte"),
        ("rows.csv", b"\xff\xfeq", "neither UTF-8 nor whole UTF-16"),
        ("rows.json", b'[\n{"q": 1}\n]', "write one row a line"),
        ("rows.json", b'{\n"q": 1\n}', "write one row a line"),
        ("rows.parquet", b"PAR1 and no more", "cannot be read as Parquet"),
    ],
)
def test_a_file_without_rows_is_refused_in_a_sentence(
    read, name: str, content: bytes, said: str
) -> None:
    with pytest.raises(DataError) as refused:
        read(name, content)
    assert said in str(refused.value)
    assert name in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_no_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.csv", tmp_path / "a\x00b"):
        with pytest.raises(DataError):
            read_table(path)


def test_a_file_that_is_too_large_is_not_read(read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "ROWS_MAX", 1)
    with pytest.raises(DataError, match="more than 1 rows"):
        read("rows.csv", "q,a\none,1\ntwo,2\n")
    monkeypatch.setattr(reading, "BYTES_MAX", 10)
    with pytest.raises(DataError, match="at most 10 are read"):
        read("rows.csv", "q,a\none,1\ntwo,2\n")


def test_ten_thousand_rows_take_less_than_a_second(read, tmp_path: Path) -> None:
    rows = [{"q": f"wie viel ist {i} für 東京 🙂? " * 8, "a": str(i)} for i in range(10_000)]
    lines = json_text(*rows).splitlines(keepends=True)
    lines[16] = lines[16].replace("}", "")
    table = read("rows.jsonl", "".join(lines))
    assert len(table.rows) == 9_999
    assert only_fault(table).number == 17
    code = (  # in a process of its own, where nothing checks the types of every call
        "import sys, time, pathlib; from meshtune.engine.data.reading import read_table\n"
        "begun = time.process_time(); read_table(pathlib.Path(sys.argv[1]))\n"
        "print(time.process_time() - begun)"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "rows.jsonl")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1.0


def test_the_first_faults_are_told_and_the_rest_counted() -> None:
    faults = [Fault(number, "it is wrong") for number in range(1, NAMED_MAX + 4)]
    said = list(told(faults, "line"))
    assert said[0] == "line 1: it is wrong"
    assert said[-1] == "and 3 more"
    assert len(said) == NAMED_MAX + 1


@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.text(alphabet='{}[]",:;\\u\n\r\t q1', max_size=80).map(str.encode),
        st.binary(max_size=60).map(b"PAR1".__add__),
    ),
    ending=st.sampled_from([".jsonl", ".csv", ".parquet", ""]),
)
def test_any_bytes_are_a_table_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, ending: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{ending}"
    path.write_bytes(content)
    try:
        rows, said = read_table(path).rows, ""
    except DataError as error:
        rows, said = (), str(error)
    assert bool(rows) != bool(said)
    assert "\n" not in said
