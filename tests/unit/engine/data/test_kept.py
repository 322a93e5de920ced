"""The folder of files of rows: whole or not at all, and never in the place of another."""

from pathlib import Path

import pytest

from meshtune.engine.commands.app import app
from meshtune.engine.commands.console import answer
from meshtune.engine.data.kept import data_folder, keep, kept_files
from meshtune.engine.data.rows import DataError


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESHTUNE_STATE_DIR", str(tmp_path / "state"))


def test_a_file_is_kept_once_and_no_other_takes_its_place() -> None:
    assert kept_files() == []
    path = keep("rows (1).jsonl", b'{"a": 1}')
    assert keep("rows (1).jsonl", b'{"a": 1}') == path
    with pytest.raises(DataError, match="another rows"):
        keep("rows (1).jsonl", b'{"a": 2}')
    assert kept_files() == [path]
    assert path.read_bytes() == b'{"a": 1}'
    assert [each.name for each in data_folder().iterdir()] == [path.name]


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "../a.csv", "a/b.csv", "a\x00b", "ä.csv", "x" * 101, "a\nb"]
)
def test_names_that_leave_the_folder_or_hide_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="is no name"):
        keep(name, b"a,b\n1,2\n")
    assert not data_folder().exists()


def added(file: Path) -> object:
    with pytest.raises(SystemExit) as ended:
        answer(app, argv=["data", "add", str(file)])
    return ended.value.code or 0


def test_a_file_is_added_by_command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.csv").write_text("q,a\n1,2\n")
    assert added(tmp_path / "rows.csv") == 0
    assert "rows 1; name it rows.csv" in capfd.readouterr().out
    (tmp_path / "empty.csv").write_text("")
    assert added(tmp_path / "empty.csv") == 1
    assert "is empty" in capfd.readouterr().err
    assert [path.name for path in kept_files()] == ["rows.csv"]
