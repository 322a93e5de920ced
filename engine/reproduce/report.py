"""The results for the terminal, as markdown, and as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table

from meshtune.engine.config import RunConfig
from meshtune.engine.reproduce.claims import Judgement, judgements
from meshtune.engine.reproduce.results import Results, RunResult, by_arm
from meshtune.engine.reproduce.sheets import (
    Sheet,
    accuracy_sheet,
    bits_sheet,
    claim_sheet,
    cost_sheet,
    mechanism_sheet,
    paper_figures,
    paper_sheet,
    qwen_sheet,
    task_sheet,
)
from meshtune.engine.reproduce.statistics import Estimate
from meshtune.engine.reproduce.summary import Summary, pareto_front, summaries


@dataclass(frozen=True)
class Report:
    """What a campaign says.

    Attributes:
        sheets: For every reader.
        appendix: Tables that no run changes, for markdown only.
        values: For JSON.
        origin: How many runs, how long they took, what code made them.
    """

    sheets: tuple[Sheet, ...]
    appendix: tuple[Sheet, ...]
    values: dict[str, Any]
    origin: str


def report(runs: Sequence[RunResult], base: RunConfig) -> Report:
    """Everything that the runs measured, and the verdicts."""
    results = by_arm(runs)
    lines = summaries(results)
    return Report(
        sheets=(
            accuracy_sheet(lines),
            task_sheet(lines),
            cost_sheet(lines, base.adapter.value_bits),
            bits_sheet(lines),
            mechanism_sheet(lines),
            claim_sheet(judgements(results)),
        ),
        appendix=(qwen_sheet(), paper_sheet()),
        values=as_json(results, base),
        origin=origin(runs),
    )


def sweep_report(runs: Sequence[RunResult], base: RunConfig) -> Report:
    """The accuracy of every arm at each of its learning rates, the best one marked."""
    names = list(dict.fromkeys(run.arm for run in runs))
    best = {name: best_rate([run for run in runs if run.arm == name]) for name in names}
    rows: list[dict[str, Any]] = [
        {
            "name": run.arm,
            "learning_rate": run.learning_rate,
            "mean_accuracy": run.accuracy,
            "diverged": run.diverged,
            "best": run.learning_rate == best[run.arm],
        }
        for run in runs
    ]
    sheet = Sheet(
        "Learning rates",
        "Accuracy on all tasks at the end, with one seed that no comparison uses.",
        ("arm", "learning rate", "all tasks, %", "best"),
        tuple(
            (
                row["name"],
                f"{row['learning_rate']:g}",
                "diverged" if row["diverged"] else f"{100 * row['mean_accuracy']:.1f}",
                "best" if row["best"] else "",
            )
            for row in rows
        ),
    )
    values = {"base": base.model_dump(mode="json"), "rates": rows, "best": best}
    return Report((sheet,), (), values, origin(runs))


def best_rate(runs: Sequence[RunResult]) -> float:
    """The learning rate of the most accurate run; the lower one of equals."""
    return max(runs, key=lambda run: (run.accuracy, -run.learning_rate)).learning_rate


def as_table(sheet: Sheet) -> Table:
    """The sheet for the terminal."""
    table = Table(
        title=sheet.title, caption=sheet.note, title_justify="left", caption_justify="left",
        box=box.SIMPLE_HEAD, pad_edge=False,
    )  # fmt: skip
    for place, name in enumerate(sheet.header):
        if sheet.words:
            table.add_column(name)
        else:
            table.add_column(name, justify="right" if place else "left", no_wrap=place == 0)
    for row in sheet.rows:
        table.add_row(*(cell.replace("[", r"\[") for cell in row))
    return table


def as_markdown(told: Report) -> str:
    """The report as headings, notes and tables of markdown."""
    sheets = (*told.sheets, *told.appendix)
    return "\n".join([*(_markdown(sheet) for sheet in sheets), told.origin, ""])


def as_json(results: Results, base: RunConfig) -> dict[str, Any]:
    """The comparison as plain values. Accuracies, differences and reductions are shares of 1.

    Intervals are [low, high] at 95 %, null for a single seed.
    """
    runs = [run for by_seed in results.values() for run in by_seed.values()]
    lines = summaries(results)
    return {
        "base": base.model_dump(mode="json"),
        "commits": sorted({_commit(run) for run in runs}),
        "wall_s": sum(run.wall_s for run in runs),
        "arms": [_arm_json(line) for line in lines],
        "pareto_front": sorted(pareto_front(lines)),
        "claims": [_claim_json(judgement) for judgement in judgements(results)],
    }


def origin(runs: Sequence[RunResult]) -> str:
    """One line that says how many runs there are, what they took and what code made them."""
    commits = ", ".join(sorted({_commit(run) for run in runs}))
    threads = ", ".join(sorted({str(run.provenance.threads) for run in runs}))
    minutes = sum(run.wall_s for run in runs) / 60
    return f"{len(runs)} runs, {minutes:.0f} min of computing, {threads} threads, code {commits}"


def _markdown(sheet: Sheet) -> str:
    first = ":--"
    rest = ":--" if sheet.words else "--:"
    lines = [
        f"### {sheet.title}",
        "",
        sheet.note,
        "",
        _piped(sheet.header),
        _piped([first, *(rest for _ in sheet.header[1:])]),
        *(_piped(row) for row in sheet.rows),
        "",
    ]
    return "\n".join(lines)


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _commit(run: RunResult) -> str:
    commit = (run.provenance.commit or f"meshtune {run.provenance.meshtune}")[:12]
    return f"{commit} with changes" if run.provenance.dirty else commit


def _ends(measured: Estimate | None) -> list[float] | None:
    if measured is None or measured.low is None or measured.high is None:
        return None
    return [measured.low, measured.high]


def _mean(measured: Estimate | None) -> float | None:
    return None if measured is None else measured.mean


def _arm_json(line: Summary) -> dict[str, Any]:
    small, large = paper_figures(line)
    return {
        "name": line.arm.name,
        "title": line.arm.title,
        "ablation_of": line.arm.ablation_of,
        "seeds": list(line.seeds),
        "diverged": line.diverged,
        "learning_rate": line.learning_rate,
        "rounds": line.rounds,
        "mean_accuracy": line.accuracy.mean,
        "ci95": _ends(line.accuracy),
        "own_accuracy": _mean(line.own),
        "task_accuracy": line.task_accuracy,
        "difference_to_lora": _mean(line.difference),
        "difference_ci95": _ends(line.difference),
        "trained_values": line.trained_values,
        "trained_reduction": _mean(line.trained_reduction),
        "message_bits": line.message_bits,
        "bits_per_round": line.bits_per_round,
        "bits_reduction": _mean(line.bits_reduction),
        "airtime_s_per_round": line.airtime_s_per_round,
        "energy_j_per_round": line.energy_j_per_round,
        "lora_accuracy_at_equal_bits": _mean(line.reference_at_equal_bits),
        "bits_to_lora_converged": line.bits_to_converged,
        "bits_to_lora_converged_reduction": _mean(line.bits_to_converged_reduction),
        "curve": line.curve,
        "diagnostics": line.diagnostics,
        "paper_accuracy_1_5b": small.average / 100 if small else None,
        "paper_accuracy_7b": large.average / 100 if large else None,
    }


def _claim_json(judgement: Judgement) -> dict[str, Any]:
    claim = judgement.claim
    return {
        "name": claim.name,
        "text": claim.text,
        "paper": claim.paper,
        "unit": claim.unit,
        "size": claim.size,
        "floor": claim.floor,
        "measured": _mean(judgement.measured),
        "ci95": _ends(judgement.measured),
        "verdict": str(judgement.verdict),
        "why": judgement.why,
    }
