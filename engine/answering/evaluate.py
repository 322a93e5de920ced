"""Accuracy of every device on every task: each distinct library answers each question once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from meshtune.engine.adapters.stack import Adapters
from meshtune.engine.answering.asking import Answers, blended_answers, marks_of, picked_answers
from meshtune.engine.answering.exam import Exam
from meshtune.engine.answering.gating import (
    BY_INPUT,
    blended,
)
from meshtune.engine.answering.library_gate import LibraryGate
from meshtune.engine.backbone.base import IGNORED_TARGET, Backbone
from meshtune.engine.methods.rules import Bank


@dataclass(frozen=True)
class Scores:
    """Accuracy and loss (nats per token) of device n on task k, and how the gate did.

    `routed_right` is the share of prompts routed right, over devices that hold an expert of their
    task and others to confuse it with; None unless a blind gate ranks experts. `gate_entropy` is
    in nats; None unless a blind gate has more than one expert. `routes[asked, expert]` is the share
    of decisions on prompts of one task that prefer an expert of another, over devices whose experts
    are of several tasks; None where no blind gate ranks them.
    """

    accuracy: Float[Tensor, "n k"]
    loss: Float[Tensor, "n k"]
    routed_right: float | None
    gate_entropy: float | None
    routes: Float[Tensor, "k k"] | None


def evaluate(
    backbone: Backbone,
    bank: Bank,
    exam: Exam,
    scaling: float,
    check: Callable[[], None] = lambda: None,
) -> Scores:
    """Scores of all devices. Only an oracle gate sees which task a question belongs to.

    `check` is called before every part of the work and ends it by raising.
    """
    given = answers(backbone, bank, exam, scaling, check)
    tasks = int(exam.task.max()) + 1
    member = functional.one_hot(exam.asked, tasks).float()
    share = member / member.sum(dim=0)
    blind = bank.gate.kind not in ("single", "oracle")
    several = ((bank.held >= 0).sum(dim=1) > 1)[:, None].expand_as(given.correct) & blind
    ranked = several & _holds_task(bank, exam) & (bank.gate.kind != "none")
    return Scores(
        (given.correct.float() @ share).clamp(max=1.0),  # 24 times 1/24 is a little more
        given.loss @ share,
        _mean_where(given.routed_right, ranked),
        _mean_where(given.entropy, several),
        _routes(given.routed, exam, bank) if blind and bank.gate.kind != "none" else None,
    )


def _routes(
    routed: Float[Tensor, "n q tasks"], exam: Exam, bank: Bank
) -> Float[Tensor, "tasks tasks"] | None:
    """Mean of `routed` by the task of the question, over devices that hold several tasks."""
    task = torch.where(
        bank.held >= 0, bank.task[bank.held.clamp(min=0)], bank.task[bank.held[:, :1]]
    )
    several = (task != task[:, :1]).any(dim=1)
    if not several.any():
        return None
    mean = routed[several].mean(dim=0)
    member = functional.one_hot(exam.asked, routed.shape[2]).float()
    return (member / member.sum(dim=0)).mT @ mean


def answers(
    backbone: Backbone,
    bank: Bank,
    exam: Exam,
    scaling: float,
    check: Callable[[], None] = lambda: None,
) -> Answers:
    """The answer of every device to every question; devices that hold the same are asked once.

    Where a gate picks one expert per prompt and module, work shrinks further, to the distinct
    pairs of question and experts: with a good gate each expert answers its own task only.
    """
    rows, library_of = _libraries(bank)
    losses = _prompt_losses(backbone, bank, rows, exam, scaling, check)
    gates = [LibraryGate.of(bank, experts, exam, losses) for experts in rows]
    picked = [i for i, gate in enumerate(gates) if gate.picks]
    blended_ones = [i for i, gate in enumerate(gates) if not gate.picks]
    given = dict(
        zip(picked, picked_answers(backbone, bank, exam, scaling, gates, check), strict=True)
    )
    given |= zip(blended_ones, blended_answers(backbone, exam, scaling, gates, check), strict=True)
    given = {i: _settled(each, exam) for i, each in given.items()}
    inverse = torch.tensor(library_of)
    return Answers(
        *(
            torch.stack([getattr(given[i], name) for i in range(len(rows))])[inverse]
            for name in ("correct", "loss", "routed_right", "entropy", "routed")
        )
    )


def _settled(given: Answers, exam: Exam) -> Answers:
    """The answers without the rows of rivals."""
    correct, count = exam.settled(given.correct, given.loss), len(exam.asked)
    rest = (given.loss, given.routed_right, given.entropy, given.routed)
    return Answers(correct, *(each[:count] for each in rest))


def prompt_weights(bank: Bank, exam: Exam) -> dict[str, Float[Tensor, "n q k"]] | None:
    """Weight of each expert held, by module, device and prompt; None for gates without scores."""
    if bank.gate.kind not in BY_INPUT or bank.gate.level == "token":
        return None
    rows, library_of = _libraries(bank)
    n, k = bank.held.shape
    weights = {name: torch.zeros(n, len(exam.task), k) for name in bank.experts.b}
    for number, experts in enumerate(rows):
        scores = LibraryGate.of(bank, experts, exam, None).scores
        for device in (i for i, library in enumerate(library_of) if library == number):
            places = (bank.held[device] >= 0).nonzero().flatten()
            for name, value in scores.items():
                weights[name][device][:, places] = blended(bank.gate, value)
    return weights


def own_accuracy(
    backbone: Backbone,
    adapters: Adapters,
    mixture: Float[Tensor, "n tasks"],
    exam: Exam,
    scaling: float,
) -> float:
    """Mean over devices of the accuracy on what they hold, with the device's own adapter alone."""
    device, row = mixture[:, exam.task].nonzero(as_tuple=True)
    chosen = device[:, None].expand(-1, len(adapters.b))
    asked = torch.cat([row[:, None], chosen], dim=1)
    marks = torch.zeros(2, len(mixture), len(exam.task))
    marks[:, device, row] = torch.stack(
        marks_of(backbone, adapters, asked, exam, scaling, lambda: None)
    )
    weight = mixture[:, exam.asked]
    return float((exam.settled(marks[0], marks[1]) * weight).sum() / weight.sum())


def _libraries(bank: Bank) -> tuple[list[Int[Tensor, " k"]], list[int]]:
    """The distinct lists of experts that devices hold, and which of them each device has."""
    kept = [row[row >= 0][: 1 if bank.gate.kind == "single" else None] for row in bank.held]
    numbers: dict[tuple[int, ...], int] = {}
    library_of = [numbers.setdefault(tuple(row.tolist()), len(numbers)) for row in kept]
    return [torch.tensor(row) for row in numbers], library_of


def _prompt_losses(
    backbone: Backbone,
    bank: Bank,
    libraries: Sequence[Tensor],
    exam: Exam,
    scaling: float,
    check: Callable[[], None],
) -> Float[Tensor, "e q"] | None:
    """G8: -log p(prompt) in nats under every expert that has rivals; None for other gates."""
    if bank.gate.kind != "prompt_loss":
        return None
    rivals = [experts for experts in libraries if len(experts) > 1]
    losses = torch.zeros(len(bank.task), len(exam.task))
    if not rivals:
        return losses
    wanted = torch.cat(rivals).unique()
    targets = torch.full_like(exam.targets, IGNORED_TARGET)
    targets[:, :-1] = exam.tokens[:, 1:].where(exam.prompt[:, 1:], IGNORED_TARGET)
    about_prompt = replace(exam, targets=targets, spoken=None)
    q, modules = len(exam.task), len(bank.experts.b)
    pairs = torch.cartesian_prod(torch.arange(q), wanted)
    asked = pairs[:, [0] + [1] * modules]
    mean = marks_of(backbone, bank.experts, asked, about_prompt, scaling, check)[1]
    total = mean.view(q, -1) * (targets != IGNORED_TARGET).sum(dim=1, keepdim=True)
    losses[wanted] = total.mT
    return losses


def _holds_task(bank: Bank, exam: Exam) -> Bool[Tensor, "n q"]:
    there = (bank.held >= 0)[:, None]
    return (there & (bank.task[bank.held.clamp(min=0)][:, None] == exam.asked[:, None])).any(dim=2)


def _mean_where(values: Float[Tensor, "n q"], wanted: Bool[Tensor, "n q"]) -> float | None:
    return float(values[wanted].mean()) if wanted.any() else None
