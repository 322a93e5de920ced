"""The timing of a model by several ways, on models so small that only its bookkeeping is tested."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from meshtune.engine.bench.families import tiny_model
from meshtune.engine.bench.fleet import Workload
from meshtune.engine.bench.ways import bench_model, way_table
from meshtune.engine.commands.app import app
from tests.support.oracles import random_llama

TINY = Workload(batch=2, tokens=8, answer_tokens=3, rank=2, steps=2, repeats=1)


def test_a_llama_is_timed_in_three_ways_on_the_same_work(tmp_path: Path) -> None:
    """The losses of the second step depend on the first update, so the updates agree too."""
    random_llama().save_pretrained(tmp_path)
    rows = bench_model(tmp_path, TINY, devices=2)
    assert [row.way for row in rows] == ["by hand", "generic", "peft"]
    assert all(row.loss_difference < 1e-5 for row in rows)
    assert all(row.cpu_ms > 0 < row.wall_ms for row in rows)
    assert len(way_table(rows).splitlines()) == 1 + len(rows) + 1
    assert "100%" in way_table(rows)


def test_what_nobody_wrote_by_hand_is_timed_in_two_ways(tmp_path: Path) -> None:
    tiny_model("gpt2").save_pretrained(tmp_path)
    rows = bench_model(tmp_path, TINY, devices=2)
    assert [row.way for row in rows] == ["generic", "peft"]
    assert rows[0].loss_difference < 1e-5
    assert "%" not in way_table(rows)


@pytest.mark.parametrize(("kept", "words"), [(False, "no config.json"), (True, "'mamba'")])
def test_a_folder_that_cannot_be_timed_is_refused(tmp_path: Path, kept: bool, words: str) -> None:
    if kept:
        tiny_model("mamba").save_pretrained(tmp_path)
    result = CliRunner().invoke(app, ["bench", "--model", str(tmp_path)])
    assert result.exit_code != 0
    assert words in str(result.exception) + result.output
