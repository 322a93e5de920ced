"""`meshtune sweep`: queue, look, watch, stop; refusals are sentences."""

import csv
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import Engine

from meshtune.backend.commands import sweeps as sweep_cli
from meshtune.backend.commands.main import app
from meshtune.backend.settings import Settings
from meshtune.db import leases, runs, sweeps
from meshtune.db.errors import StoreError
from meshtune.db.session import reading, writing
from meshtune.engine.commands.console import EXIT_INTERRUPTED, EXIT_REFUSED, answer
from meshtune.engine.records import RunStatus
from tests.support.builders import play

SPEC = """
name = "rates"
seeds = 2
[base]
rounds = 2
fleet.devices = 2
fleet.tasks = ["addition", "reading"]
topology.kind = "ring"
method.kind = "lora_gossip"
[axes]
training.learning_rate = [0.01, 0.1]
"""


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], settings: Settings, monkeypatch: pytest.MonkeyPatch):
    """Run a command line in this process, over the state folder of the test."""
    monkeypatch.setenv("MESHTUNE_STATE_DIR", str(settings.state_dir))

    def run(*argv: str | Path | int) -> Said:
        with pytest.raises(SystemExit) as ended:
            answer(app, also=(StoreError,), argv=[str(word) for word in argv])
        code = ended.value.code
        return Said(code if isinstance(code, int) else 0, *capfd.readouterr())

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A sweep of four cells."""
    path = tmp_path / "sweep.toml"
    path.write_text(SPEC, encoding="utf-8")
    return path


def finish_all(store: Engine, *ends: RunStatus) -> None:
    with writing(store) as session:
        for end in ends:
            claim = leases.claim_next(session, "w", lease_s=20.0)
            assert claim is not None
            play(session, claim, 2)
            leases.finish(session, claim, end)


def test_a_file_queues_its_cells(call, file: Path, store: Engine) -> None:
    said = call("sweep", file)
    assert said.code == 0
    assert "Queued sweep 1 with 4 cells" in said.out
    assert "Sweep 1: 4 queued" in said.out
    assert "meshtune worker" in said.err
    with reading(store) as session:
        assert sweeps.status_counts(session, [1])[1] == {"queued": 4}
        assert sweeps.get(session, 1).name == "rates"


def test_a_second_start_says_what_the_store_has_already(call, file: Path) -> None:
    call("sweep", file)
    assert "4 of its cells are in the store already" in call("sweep", file).out


def test_a_watched_sweep_ends_with_its_cells_and_writes_its_table(
    call, file: Path, store: Engine, tmp_path: Path
) -> None:
    call("sweep", file)
    finish_all(store, *[RunStatus.COMPLETED] * 4)
    out = tmp_path / "table.csv"
    said = call("sweep", 1, "--watch", "--out", out)
    assert (said.code, said.out) == (0, "Sweep 1: 4 completed\n")
    rows = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    assert [row["completed"] for row in rows] == ["2", "2"]


def test_a_cell_that_did_not_complete_shows_in_the_exit_code(
    call, file: Path, store: Engine
) -> None:
    call("sweep", file)
    finish_all(store, RunStatus.DIVERGED, *[RunStatus.COMPLETED] * 3)
    said = call("sweep", 1, "--watch")
    assert said.code == sweep_cli.EXIT_INCOMPLETE
    assert "3 completed, 1 diverged" in said.out


def test_watching_waits_for_open_cells_and_ctrl_c_leaves_them(
    call, file: Path, store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []

    def press(seconds: float) -> None:
        looked.append(seconds)
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep_cli.time, "sleep", press)
    said = call("sweep", file, "--watch")
    assert said.code == EXIT_INTERRUPTED
    assert looked == [sweep_cli.WATCH_S]
    assert "sweep 1 goes on" in said.err
    with reading(store) as session:
        assert sweeps.status_counts(session, [1])[1] == {"queued": 4}


def test_stopping_cancels_what_is_left(call, file: Path) -> None:
    call("sweep", file)
    said = call("sweep", "--stop", 1)
    assert (said.code, said.out) == (0, "Stopped sweep 1: 4 cancelled\n")


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        ([], "--stop"),
        (["7"], "no sweep 7"),
        (["--stop", "7"], "no sweep 7"),
        (["none.toml"], "cannot read none.toml"),
        (["1", "--stop", "1"], "name a sweep"),
        (["99999999999999999999"], "cannot read"),
    ],
)
def test_refusals_are_one_sentence(call, argv: list[str], part: str) -> None:
    said = call("sweep", *argv)
    assert said.code == EXIT_REFUSED
    assert len(said.err.splitlines()) == 1
    assert part in said.err


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ("[0.01, 0.1]", "[0.01, -0.1]"),
        ("training.learning_rate", "training.nope"),
        ("seeds = 2", "seeds = 5000"),
        ("[base]", "[base"),
    ],
)
def test_a_file_that_does_not_work_queues_nothing(
    call, file: Path, store: Engine, change: str, part: str
) -> None:
    file.write_text(SPEC.replace(change, part), encoding="utf-8")
    said = call("sweep", file)
    assert said.code == EXIT_REFUSED
    assert len(said.err.splitlines()) == 1
    assert "Traceback" not in said.err
    with reading(store) as session:
        assert runs.listed(session) == []
        assert sweeps.listed(session) == []
