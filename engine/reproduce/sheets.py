"""The results as tables of words."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from meshtune.engine.reproduce.arms import CONVERGED, REFERENCE
from meshtune.engine.reproduce.claims import Judgement
from meshtune.engine.reproduce.paper import DATASETS, TABLE_1, Figures
from meshtune.engine.reproduce.qwen import (
    QWEN_1_5B,
    QWEN_7B,
    SENT_DENSITY,
    TRAINED_DENSITY,
    ModelShape,
    factor_counts,
    reduction,
)
from meshtune.engine.reproduce.statistics import Estimate
from meshtune.engine.reproduce.summary import Summary, pareto_front

NOTHING = "-"


@dataclass(frozen=True)
class Sheet:
    """A table of words; all columns but the first are numbers unless `words` is set."""

    title: str
    note: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: bool = False


def accuracy_sheet(lines: Sequence[Summary]) -> Sheet:
    """Mean accuracy of every arm beside the paper's."""
    return Sheet(
        "Accuracy at equal rounds",
        "Mean over devices, tasks and seeds, ± half of the 95 % interval over seeds. Differences "
        "are paired by seed, in points. The paper's figures are of its own models and tasks.",
        (
            "arm", "all tasks, %", "own task, %", "against LoRA", "learning rate", "rounds",
            "seeds", "paper 1.5B / 7B, %",
        ),
        tuple(
            (
                _arm(line),
                _percent(line.accuracy),
                _percent(line.own),
                NOTHING if line.arm.name == REFERENCE else _points(line.difference),
                f"{line.learning_rate:g}",
                str(line.rounds),
                str(len(line.seeds)),
                " / ".join(f"{of.average:.2f}" for of in paper_figures(line) if of) or NOTHING,
            )
            for line in lines
        ),
    )  # fmt: skip


def task_sheet(lines: Sequence[Summary]) -> Sheet:
    """Accuracy of every arm on every task."""
    tasks = list(dict.fromkeys(task for line in lines for task in line.task_accuracy))
    return Sheet(
        "Accuracy per task, %",
        "Mean over devices and seeds at the end of the run.",
        ("arm", *tasks),
        tuple(
            (
                _arm(line),
                *(f"{100 * line.task_accuracy[t]:.1f}" if t in line.task_accuracy else NOTHING
                  for t in tasks),
            )
            for line in lines
        ),
    )  # fmt: skip


def cost_sheet(lines: Sequence[Summary], value_bits: int) -> Sheet:
    """What every arm trains and puts on air, against plain LoRA."""
    return Sheet(
        "Cost",
        "Trained values per device. A message is the median one, in values. Bits, airtime and "
        "transmit energy are those of a mean round, with everything on air: masks, signatures, "
        "copies for inference, lost messages. Savings are against plain LoRA; the paper's count "
        "values only.",
        (
            "arm", "trained", "saved, %", "paper, %", "message", "Mbit/round", "saved, %",
            "paper, %", "airtime, s/round", "transmit energy, J/round",
        ),
        tuple(
            (
                _arm(line),
                f"{line.trained_values:,.0f}",
                _share(line.trained_reduction),
                _paper_saving(line, "trained_percent"),
                f"{line.message_bits / value_bits:,.0f}",
                f"{line.bits_per_round / 1e6:.3g}",
                _share(line.bits_reduction),
                _paper_saving(line, "sent_percent"),
                f"{line.airtime_s_per_round:.3g}",
                f"{line.energy_j_per_round:.3g}",
            )
            for line in lines
        ),
    )  # fmt: skip


def bits_sheet(lines: Sequence[Summary]) -> Sheet:
    """Equal bits, bits to an accuracy, and who is on the front of the two."""
    front = pareto_front(lines)
    return Sheet(
        "Accuracy against bits on air",
        "Plain LoRA after as many bits as the arm spent in all, and the bits until the accuracy "
        "with which the long LoRA run ends; linear between evaluations; '-' if not reached. "
        "On the front: no other arm is as accurate with as few bits; bounds are no contenders.",
        ("arm", "Mbit in all", "all tasks, %", "LoRA at equal bits, %",
         "Mbit to LoRA's end", "saved, %", "front"),
        tuple(
            (
                _arm(line),
                f"{line.bits_per_round * line.rounds / 1e6:.4g}",
                _percent(line.accuracy),
                _percent(line.reference_at_equal_bits),
                NOTHING if line.bits_to_converged is None
                else f"{line.bits_to_converged / 1e6:.4g}",
                NOTHING if line.arm.name == CONVERGED
                else _share(line.bits_to_converged_reduction),
                "bound" if line.arm.bound else "on" if line.arm.name in front else "",
            )
            for line in lines
        ),
    )  # fmt: skip


MECHANISMS = {  # keys of RoundRecord.extra, explained in docs/metrics.md
    "collision_own_fraction": "own entries collided",
    "update_retention_fraction": "update kept",
    "forgetting_all_tasks": "forgotten, all tasks",
    "update_cosine_other_task": "cosine to other tasks",
    "output_interference_ungated": "interference",
    "output_interference_gated": "interference, gated",
    "routed_right_fraction": "routed right",
}


def mechanism_sheet(lines: Sequence[Summary]) -> Sheet:
    """What the three mechanisms do: collisions, interference, routing."""
    return Sheet(
        "Mechanisms",
        "Diagnostics of the last round as shares and ratios (docs/metrics.md), mean over seeds; "
        '"-" where one has no meaning.',
        ("arm", *MECHANISMS.values()),
        tuple(
            (
                _arm(line),
                *(
                    f"{line.diagnostics[key]:.3f}" if key in line.diagnostics else NOTHING
                    for key in MECHANISMS
                ),
            )
            for line in lines
        ),
    )


def claim_sheet(judged: Iterable[Judgement]) -> Sheet:
    """The paper's claims and what came of them here."""
    return Sheet(
        "Claims",
        "Holds: the 95 % interval lies wholly at or above the claimed size. In part: wholly on the "
        "claimed side, but smaller.",
        ("claim", "paper", "measured", "verdict"),
        tuple((j.claim.text, j.claim.paper, _measured(j), str(j.verdict)) for j in judged),
        words=True,
    )


def qwen_sheet() -> Sheet:
    """The paper's headline on the true shapes of its models."""
    return Sheet(
        "Parameters on the paper's own models",
        "LoRA of rank 32 on all seven linear layers. The paper's ratios follow from half of B "
        "trained and a quarter of B sent; its absolute counts (65.5M, 362M) do not.",
        ("model", "A", "B", "A + B", "B at s = 0.5", "saved, %", "paper trained, %",
         "B at s = 0.25", "saved, %", "paper sent, %"),
        tuple(_qwen_row(model) for model in (QWEN_1_5B, QWEN_7B)),
    )  # fmt: skip


def paper_sheet() -> Sheet:
    """The paper's Table I, as printed."""
    return Sheet(
        "The paper's Table I, %",
        "arXiv 2602.20492, 10 devices, rank 32. Shares of parameters are of the whole model.",
        ("model", "method", "trained", "sent", *DATASETS, "average"),
        tuple(
            (
                model,
                row,
                f"{figures.trained_percent:g}",
                f"{figures.sent_percent:g}",
                *(f"{accuracy:.2f}" for accuracy in figures.accuracies),
                f"{figures.average:.2f}",
            )
            for place, model in enumerate(("1.5B", "7B"))
            for row, both in TABLE_1.items()
            for figures in [both[place]]
        ),
    )


def _arm(line: Summary) -> str:
    lost = f" ({line.diverged} of {len(line.seeds)} diverged)" if line.diverged else ""
    return f"{line.arm.title}{lost}"


def paper_figures(line: Summary) -> tuple[Figures | None, Figures | None]:
    return TABLE_1[line.arm.paper_row] if line.arm.paper_row else (None, None)


def _paper_saving(line: Summary, field: str) -> str:
    if line.arm.paper_row is None:
        return NOTHING
    ours, lora = TABLE_1[line.arm.paper_row], TABLE_1["LoRA"]
    shares = [1 - getattr(o, field) / getattr(r, field) for o, r in zip(ours, lora, strict=True)]
    return " / ".join(f"{100 * share:.1f}" if share > -1 else NOTHING for share in shares)


def _qwen_row(model: ModelShape) -> tuple[str, ...]:
    a, b = factor_counts(model)
    return (
        model.name,
        f"{a / 1e6:.2f}M",
        f"{b / 1e6:.2f}M",
        f"{(a + b) / 1e6:.2f}M",
        f"{TRAINED_DENSITY * b / 1e6:.2f}M",
        f"{100 * reduction(model, TRAINED_DENSITY):.1f}",
        f"{100 * model.paper_trained:.1f}",
        f"{SENT_DENSITY * b / 1e6:.2f}M",
        f"{100 * reduction(model, SENT_DENSITY):.1f}",
        f"{100 * model.paper_sent:.1f}",
    )


def _percent(measured: Estimate | None) -> str:
    return _with_interval(measured, "{:.1f}")


def _points(measured: Estimate | None) -> str:
    return _with_interval(measured, "{:+.1f}")


def _with_interval(measured: Estimate | None, form: str) -> str:
    if measured is None:
        return NOTHING
    half = "" if measured.half_width is None else f" ± {100 * measured.half_width:.1f}"
    return form.format(100 * measured.mean) + half


def _share(measured: Estimate | None) -> str:
    return NOTHING if measured is None else f"{100 * measured.mean:.1f}"


def _measured(judgement: Judgement) -> str:
    if judgement.measured is None:
        return judgement.why
    if judgement.claim.unit == "points":
        said = f"{_points(judgement.measured)} points"
    else:
        said = f"{_percent(judgement.measured)} %"
    return f"{said}; {judgement.why}" if judgement.why else said
