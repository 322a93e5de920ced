"""`meshtune run` for real: records round by round, the same for the same seed, kept on Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from meshtune.engine.config import RunConfig
from meshtune.engine.records import RoundRecord
from tests.support.builders import tiny_config

PATIENCE_S = 120.0


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return written(tiny_config(), tmp_path / "tiny.toml")


def written(config: RunConfig, file: Path) -> Path:
    tree = config.model_dump(mode="json", exclude_none=True)
    file.write_text(tomli_w.dumps(tree), encoding="utf-8")
    return file


def command(*words: str | Path) -> list[str]:
    return [
        sys.executable,
        "-m",
        "meshtune.backend.commands.main",
        "run",
        *(str(word) for word in words),
    ]


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), capture_output=True, text=True, check=False)


def lines(file: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [{name: value for name, value in line.items() if name != "wall_s"} for line in found]


def test_a_run_writes_one_record_per_round_and_drops_older_ones(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.jsonl"
    out.write_text("old\n", encoding="utf-8")
    done = run(tiny, "--out", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "2 rounds" in done.stderr
    assert "Traceback" not in done.stderr
    records = [RoundRecord.model_validate_json(line) for line in out.read_text().splitlines()]
    assert [record.round_index for record in records] == [0, 1]
    assert all(record.sent_bits > 0 for record in records)
    assert all(record.airtime_s > 0 and record.energy_j > 0 for record in records)
    scored = {(score.device, score.task) for score in records[0].scores}
    assert scored == {(i, task) for i in (0, 1) for task in ("addition", "reading")}


def test_one_seed_gives_the_same_lines_and_another_gives_others(tiny: Path, tmp_path: Path) -> None:
    outs = [tmp_path / f"{i}.jsonl" for i in range(3)]
    for out, seed in zip(outs, (4, 4, 5), strict=True):
        assert run(tiny, "--quiet", "--set", f"seed={seed}", "--out", out).returncode == 0
    first, again, other = map(lines, outs)
    assert first == again
    assert first != other


def test_records_can_be_piped(tiny: Path) -> None:
    done = run(tiny, "--quiet", "--out", "-")
    assert done.stderr == ""
    assert [json.loads(line)["round_index"] for line in done.stdout.splitlines()] == [0, 1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_sentence(tiny: Path) -> None:
    done = run(tiny, "--quiet", "--out", "/dev/full")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "/dev/full" in done.stderr


def test_ctrl_c_keeps_the_finished_rounds_and_says_so(tmp_path: Path) -> None:
    file = written(tiny_config(rounds=10_000), tmp_path / "long.toml")
    out = tmp_path / "r.jsonl"
    process = subprocess.Popen(
        command(file, "--out", out),
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
        # A shell that runs the tests in the background makes them, and what they start, deaf to it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        patience = time.monotonic() + PATIENCE_S
        while not (out.exists() and out.read_text(encoding="utf-8").count("\n") >= 2):
            assert process.poll() is None
            assert time.monotonic() < patience
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in said
    kept = lines(out)
    assert f"{len(kept)} of 10000 rounds are finished and kept in {out}" in said
    assert [record["round_index"] for record in kept] == list(range(len(kept)))
