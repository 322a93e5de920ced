"""What is said about results: tables, markdown, JSON, and the command that writes them."""

import json
import sys
from pathlib import Path

import pytest
from rich.console import Console

from meshtune.engine.commands.app import app
from meshtune.engine.commands.console import EXIT_INTERRUPTED, EXIT_REFUSED, answer
from meshtune.engine.reproduce import campaign
from meshtune.engine.reproduce.arms import BASE, arm_named
from meshtune.engine.reproduce.report import (
    Report,
    as_markdown,
    as_table,
    best_rate,
    report,
    sweep_report,
)
from meshtune.engine.reproduce.results import RunResult, by_arm
from meshtune.engine.reproduce.sheets import paper_sheet
from meshtune.engine.reproduce.summary import Summary, pareto_front, summaries
from tests.support.campaigns import FakePlay, run_result

LORA = [
    run_result("lora", seed, [(0, 0.1), (500, 0.3), (1000, 0.50 + 0.02 * seed)])
    for seed in range(3)
]
LONG = [
    run_result("lora_long", seed, [(0, 0.1), (1000, 0.5), (2000, 0.6), (3000, 0.7)])
    for seed in range(3)
]
PROPOSED = [
    run_result(
        "so_lora", seed, [(0, 0.1), (125, 0.4), (250, 0.80 + 0.03 * seed)], trained_values=270
    )
    for seed in range(3)
]
RUNS: list[RunResult] = [*LORA, *LONG, *PROPOSED]


@pytest.fixture(scope="module")
def told() -> Report:
    return report(RUNS, BASE)


def line(name: str) -> Summary:
    (found,) = [s for s in summaries(by_arm(RUNS)) if s.arm.name == name]
    return found


def test_a_summary_by_hand() -> None:
    so_lora = line("so_lora")
    assert so_lora.accuracy.mean == pytest.approx(0.83)
    assert so_lora.difference is not None
    assert so_lora.difference.mean == pytest.approx(0.31)
    # Differences 0.30, 0.31, 0.32: s = 0.01.
    assert so_lora.difference.half_width == pytest.approx(4.3027 * 0.01 / 3**0.5, rel=1e-4)
    assert so_lora.bits_per_round == 125
    assert so_lora.bits_reduction is not None
    assert so_lora.bits_reduction.mean == pytest.approx(0.75)
    assert so_lora.trained_reduction is not None
    assert so_lora.trained_reduction.mean == pytest.approx(0.73)
    # LoRA after 250 bits, on the long run's curve: a quarter of the way from 0.1 to 0.5.
    assert so_lora.reference_at_equal_bits is not None
    assert so_lora.reference_at_equal_bits.mean == pytest.approx(0.2)
    # Seed k reaches 0.7 at 125 + 125 * 0.3 / (0.4 + 0.03 k).
    by_hand = sum(125 + 125 * 0.3 / (0.4 + 0.03 * seed) for seed in range(3)) / 3
    assert so_lora.bits_to_converged == pytest.approx(by_hand)
    assert so_lora.bits_to_converged_reduction is not None
    assert so_lora.bits_to_converged_reduction.mean == pytest.approx(1 - by_hand / 3000)


def test_the_reference_is_no_better_than_itself() -> None:
    lora = line("lora")
    assert lora.difference is not None
    assert lora.difference.mean == lora.difference.half_width == 0.0
    assert lora.bits_reduction is not None
    assert lora.bits_reduction.mean == 0.0
    assert lora.bits_to_converged is None


def test_forgetting_is_the_way_down_from_the_best() -> None:
    up_and_down = run_result("lora", 0, [(0, 0.1), (1, 0.6), (2, 0.4)], losses=[0.1, 0.3])
    (found,) = summaries(by_arm([up_and_down]))
    assert found.diagnostics == {
        "forgetting_all_tasks": pytest.approx(0.2),
        "accuracy_own_before_exchange": pytest.approx(0.7),
    }


def test_the_front_holds_whom_nobody_beats_in_accuracy_and_bits() -> None:
    runs = [
        run_result("lora", 0, [(0, 0.1), (1000, 0.5)]),  # beaten by so_lora
        run_result("so_lora", 0, [(0, 0.1), (300, 0.7)]),
        run_result("lora_long", 0, [(0, 0.1), (3000, 0.8)]),
        run_result("local", 0, [(0, 0.1), (0, 0.2)]),
        run_result("lori_s", 0, [(0, 0.1), (300, 0.7)]),  # as good as so_lora in both
        run_result("lori_d", 0, [(0, 0.1), (300, 0.6)]),  # beaten at equal bits
        run_result("centralised", 0, [(0, 0.1), (0, 0.9)]),  # a bound
    ]
    front = {"so_lora", "lori_s", "lora_long", "local"}
    assert pareto_front(summaries(by_arm(runs))) == front
    assert report(runs, BASE).values["pareto_front"] == sorted(front)


def test_a_curve_is_the_mean_over_seeds_where_all_were_evaluated() -> None:
    runs = [
        run_result("lora", 0, [(0, 0.1), (10, 0.2), (20, 0.5)]),
        run_result("lora", 1, [(0, 0.3), (30, 0.4)]),
    ]
    (found,) = summaries(by_arm(runs))
    assert found.curve == [(0, 0.0, pytest.approx(0.2)), (1, 20.0, pytest.approx(0.3))]


def test_the_json_has_what_the_table_has(told: Report) -> None:
    values = json.loads(json.dumps(told.values))
    assert [arm["name"] for arm in values["arms"]] == ["lora", "lora_long", "so_lora"]
    arm = values["arms"][2]
    assert arm["mean_accuracy"] == pytest.approx(0.83)
    assert arm["ci95"] == pytest.approx([0.83 - 0.0745, 0.83 + 0.0745], abs=1e-4)
    assert arm["bits_per_round"] == 125
    assert arm["difference_to_lora"] == pytest.approx(0.31)
    assert arm["difference_ci95"] == pytest.approx([0.31 - 0.02484, 0.31 + 0.02484], abs=1e-4)
    assert arm["bits_reduction"] == pytest.approx(0.75)
    assert {claim["verdict"] for claim in values["claims"]} == {
        "holds", "not measured",
    }  # fmt: skip
    assert all(claim["text"] for claim in values["claims"])


def test_one_seed_has_null_for_an_interval() -> None:
    arms = report(RUNS[::3], BASE).values["arms"]
    assert {arm["ci95"] for arm in arms} == {None}


def test_markdown_tables_are_whole(told: Report) -> None:
    text = as_markdown(told)
    for heading in ("Accuracy at equal rounds", "Cost", "Claims", "The paper's Table I"):
        assert f"### {heading}" in text
    for block in text.split("\n\n"):
        lines = block.splitlines()
        if lines and lines[0].startswith("|"):
            assert len({row.count("|") for row in lines}) == 1
    assert "83.0 ± 7.5" in text
    assert "+31.0 ± 2.5" in text
    assert "78.00" in text  # the paper's average, beside ours
    assert text.rstrip().endswith(told.origin)


def test_a_table_for_the_terminal_has_every_row(told: Report) -> None:
    console = Console(width=200, record=True, file=sys.stderr)
    for sheet in told.sheets:
        console.print(as_table(sheet))
    text = console.export_text()
    for title in ("LoRA, random mesh", "LoRA, converged", "Proposed (stack)"):
        assert title in text


def test_the_paper_s_averages_are_those_of_its_columns_but_for_two() -> None:
    wrong = []
    for row in paper_sheet().rows:
        columns = [float(cell) for cell in row[4:-1]]
        if abs(sum(columns) / len(columns) - float(row[-1])) > 0.011:
            wrong.append(row[:2])
    assert wrong == [("1.5B", "LoRA"), ("1.5B", "Proposed")]


def test_a_diverged_run_is_named_and_counts_as_nothing() -> None:
    lost = run_result("lora", 1, [(0, 0.1), (10, 0.6)], diverged=True)
    (found,) = summaries(by_arm([LORA[0], lost]))
    assert found.accuracy.mean == pytest.approx(0.25)
    assert "(1 of 2 diverged)" in as_markdown(report([LORA[0], lost], BASE))


def test_the_best_rate_is_the_most_accurate_that_did_not_diverge() -> None:
    runs = [
        run_result("lora", 9, [(0, 0.1), (1, 0.5)], learning_rate=1e-3),
        run_result("lora", 9, [(0, 0.1), (1, 0.6)], learning_rate=3e-3),
        run_result("lora", 9, [(0, 0.1), (1, 0.6)], learning_rate=6e-3),
        run_result("lora", 9, [(0, 0.1), (1, 0.9)], learning_rate=1e-2, diverged=True),
    ]
    assert best_rate(runs) == 3e-3
    found = sweep_report(runs, BASE)
    assert found.values["best"] == {"lora": 3e-3}
    assert [row[2:] for row in found.sheets[0].rows] == [
        ("50.0", ""), ("60.0", "best"), ("60.0", ""), ("diverged", ""),
    ]  # fmt: skip


def called(*argv: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        answer(app, argv=["reproduce", *(str(word) for word in argv)])
    return int(ended.value.code or 0)


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> FakePlay:
    fake = FakePlay()
    monkeypatch.setattr(campaign, "play_run", fake)
    return fake


def test_the_command_writes_json_and_markdown(
    play: FakePlay, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    where = ("--state", tmp_path / "state", "--json", tmp_path / "r.json")
    argv = ("--quick", "--arms", "lora, so_lora", *where, "--markdown", tmp_path / "r.md")
    assert called(*argv) == 0
    assert play.played == [("lora", 0), ("so_lora", 0), ("lora", 1), ("so_lora", 1)]
    values = json.loads((tmp_path / "r.json").read_text())
    assert [arm["name"] for arm in values["arms"]] == ["lora", "so_lora"]
    assert values["base"]["fleet"]["devices"] == 12
    assert "### Claims" in (tmp_path / "r.md").read_text()
    assert "4 runs" in capfd.readouterr().out
    assert called(*argv, "--seeds", 3) == 0
    assert play.played[4:] == [("lora", 2), ("so_lora", 2)]


@pytest.mark.usefixtures("play")
def test_json_on_the_standard_output_is_nothing_but_json(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert called("--arms=lora", "--seeds=1", "--json=-", "--state", tmp_path) == 0
    assert json.loads(capfd.readouterr().out)["arms"][0]["seeds"] == [0]


@pytest.mark.usefixtures("play")
def test_a_sweep_names_the_best_rate(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert called("--sweep", "--arms=lora", "--json=-", "--state", tmp_path) == 0
    assert json.loads(capfd.readouterr().out)["best"] == {
        "lora": min(arm_named("lora").learning_rates)
    }


def test_a_stop_says_what_is_kept(
    play: FakePlay, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    play.stop_after = 1
    assert called("--arms=lora,local", "--seeds=1", "--state", tmp_path) == EXIT_INTERRUPTED
    assert f"1 of 2 runs are kept in {tmp_path}" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["--arms=lara"], "'lara'"),
        (["--set=rounds=0"], "rounds"),
        (["--set=fleet.devise=3"], "no such field"),
        (["--json=/no/such/folder/r.json"], "cannot write"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(
    play: FakePlay, argv: list[str], part: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert called(*argv) == EXIT_REFUSED
    said = capfd.readouterr()
    assert part in said.err
    assert len(said.err.splitlines()) == 1
    assert play.played == []
