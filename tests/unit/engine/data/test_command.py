"""`meshtune data`: a file is looked at before anything is trained on it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from meshtune.engine.commands.app import app
from meshtune.engine.commands.console import answer
from meshtune.engine.commands.data import EXIT_BAD_DATA, SHOWN_MAX
from meshtune.engine.data.ready import READY


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def show(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """What the command says of rows in a file, JSON lines unless they are a text."""

    def run(rows: list[dict[str, Any]] | str, *words: str) -> Said:
        text = rows if isinstance(rows, str) else "\n".join(map(json.dumps, rows))
        file = tmp_path / "rows.jsonl"
        file.write_text(text, encoding="utf-8")
        with pytest.raises(SystemExit) as ended:
            answer(app, argv=["data", "show", str(file), *words])
        code = ended.value.code
        return Said(code if isinstance(code, int) else 0, *capfd.readouterr())

    return run


def boolq(number: int) -> dict[str, Any]:
    return {
        "passage": f"{number} 個の石がある。",
        "question": f"is {number} even",
        "answer": number % 2 == 0,
    }


def line_of(said: Said, word: str) -> str:
    return next(line for line in said.out.splitlines() if line.startswith(f"  {word}"))


def test_rows_are_shown_as_prompt_and_answer(show) -> None:
    said = show([boolq(number) for number in range(20)], "--template", "boolq", "--rows", "2")
    assert said.code == 0
    assert said.err == ""
    assert said.out.splitlines()[0].startswith("line 1, for t")
    assert said.out.splitlines()[1:6] == [
        "  prompt     0 個の石がある。",
        "             question: is 0 even?",
        "             answer:",
        "  answer     yes",
        "  choices    no | yes",
    ]
    assert said.out.count("  prompt ") == 2
    assert line_of(said, "guess").endswith(
        "50.0 % if one guesses blindly, 50.0 % if one always says 'yes'"
    )
    assert len(line_of(said, "sha256").split()[1]) == 64


def test_broken_empty_and_repeated_rows_are_named_by_line(show) -> None:
    rows = [json.dumps(boolq(number)) for number in range(8)]
    rows[2] = rows[2][:-1]
    rows[4] = json.dumps({**boolq(4), "answer": ""})
    rows[6] = rows[1]
    said = show("\n".join(rows), "--template", "boolq")
    assert said.code == 0
    assert "left out   2\n             line 3: it is not JSON" in said.out
    assert "line 5: its answer is empty" in said.out
    assert "repeated   1\n             line 7 asks what line 2 asks" in said.out
    assert "leaks" not in said.out


def test_prompts_on_both_sides_of_a_column_are_named(show) -> None:
    rows = [{**boolq(1), "part": part} for part in ("train", "test", "dev", "test")] * 3
    said = show(rows, "--template", "boolq", "--split", "part", "--rows", "0")
    assert "rows       3 for training, 9 for testing" in said.out
    assert "leaks      9\n             line 2 asks what line 1 asks" in said.out
    assert "and 4 more" in said.out
    assert "tells nothing" in said.out


def test_a_template_of_ones_own(show) -> None:
    rows = [{"q": "one", "a": "B", "c": ["x", "y"]}]
    words = ["--prompt", r"{q}\nanswer:", "--answer", "{a}", "--choices", "{c}"]
    said = show(rows, *words, "--labels", "A", "--labels", "B", "--test-share", "0")
    assert said.code == 0
    assert "  prompt     one\n             answer:\n  answer     y\n" in said.out
    assert "rows       1 for training, 0 for testing" in said.out


def test_no_text_of_a_file_moves_the_terminal_or_fills_it(show) -> None:
    rows = [{"q": "\x1b[2J\r\x07" + "x" * 10_000, "a": "\u202eyes\x9b"}]
    said = show(rows, "--prompt", "{q}", "--answer", "{a}")
    assert said.code == 0
    assert all(each.isprintable() or each == "\n" for each in said.out)
    assert len(said.out) < 2 * SHOWN_MAX
    assert "10006 characters of prompt, line 1" in said.out
    refused = show([{"\x1b[2J": "x"}], "--prompt", "{q}", "--answer", "{a}")
    assert refused.err == (
        "prompt: there is no column 'q'; the columns are \N{REPLACEMENT CHARACTER}[2J\n"
    )


def test_a_terminal_that_lacks_letters_gets_others(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(boolq(1)), encoding="utf-8")
    words = [sys.executable, "-m", "meshtune.engine.commands.app", "data", "show", str(file)]
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*words, "--template", "boolq"], env=env, capture_output=True, check=True)
    assert b"  prompt     1 ???????\n" in done.stdout


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([], ["--template boolq", "--prompt and --answer", "passage, question, answer"]),
        (["--template", "boolk"], ["there is no template 'boolk'", "did you mean boolq?"]),
        (["--template", "piqa"], ["there is no column 'goal'", "passage, question, answer"]),
        (["--template", "mbpp"], ["not run as programs"]),
        (["--template", "boolq", "--score", "code"], ["not run as programs"]),
        (["--template", "boolq", "--split", "part"], ["split: there is no column 'part'"]),
        (["--template", "boolq", "--split", "x" * 201], ["column", "at most 200"]),
        (["--prompt", "{question}", "--answer", "{"], ["answer: it has a brace without a name"]),
        (["--prompt", "{question}"], ["answer: is missing"]),
        (["--prompt", "{passage}", "--answer", "{question}", "--score", "numeric"], ["no row can"]),
    ],
)
def test_what_does_not_fit_ends_in_one_sentence(show, words: list[str], parts: list[str]) -> None:
    rows = [{**boolq(2), "question": "is it even"}]
    said = show(rows, *words)
    assert said.code == EXIT_BAD_DATA
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    for part in parts:
        assert part in said.err


@pytest.mark.parametrize(
    ("text", "part"), [("", "is empty"), ("{", "one row a line"), ("x\n", "line 1: it is not JSON")]
)
def test_a_bad_file_ends_in_one_sentence(show, text: str, part: str) -> None:
    said = show(text, "--template", "boolq")
    assert said.code == EXIT_BAD_DATA
    assert len(said.err.splitlines()) == 1
    assert part in said.err


def test_templates_are_listed_with_their_columns(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        answer(app, argv=["data", "templates"])
    said = capfd.readouterr().out
    for name, ready in READY.items():
        assert f"{name}: {ready.title}" in said
    assert "  question.stem, answerKey, question.choices.text, question.choices.label" in said


def test_rows_without_parquet_are_read_without_what_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("q,a\none,1\n", encoding="utf-8")
    code = (
        "import sys, pathlib; from meshtune.engine.data.reading import read_table\n"
        "read_table(pathlib.Path(sys.argv[1]))\n"
        "print([name for name in ('pyarrow', 'pandas', 'torch') if name in sys.modules])"
    )
    words = [sys.executable, "-c", code, str(file)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_rows_of_files_are_dealt_to_devices(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, count in (("one", 30), ("two", 10)):
        rows = "\n".join(json.dumps(boolq(number)) for number in range(count))
        (tmp_path / f"{name}.jsonl").write_text(rows, encoding="utf-8")
    files = [str(tmp_path / f"{name}.jsonl") for name in ("one", "two")]
    with pytest.raises(SystemExit) as ended:
        answer(app, argv=["data", "deal", *files, "--devices", "3"])
    assert not ended.value.code
    assert capfd.readouterr().out.splitlines() == [
        "device  █ one  ▒ two",
        f"     0     15      0  {'█' * 40}",
        f"     1      0     10  {'▒' * 27}",
        f"     2     15      0  {'█' * 40}",
    ]
    for words, part in ((["--by", "luck"], "no rule 'luck'"), (["none.csv"], "none.csv")):
        with pytest.raises(SystemExit) as ended:
            answer(app, argv=["data", "deal", *files, *words])
        assert ended.value.code == EXIT_BAD_DATA
        said = capfd.readouterr()
        assert part in said.err
        assert said.out == ""
