"""Accuracy of every device on every task, each expert asked each question at most once."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from engine.adapters import Adapters, select
from engine.backbone.forward import IGNORED_TARGET, Backbone, forward, forward_experts
from engine.gating import nearest_prototype
from engine.methods import Bank

ROWS_AT_ONCE = 256  # sequences per forward pass: fills the matrix units, stays in tens of MB
ROWS_PER_LINE = 32  # of one expert in a pass: few enough that they are of like length


@dataclass(frozen=True)
class Exam:
    """The test questions of a run, one row each.

    `choices` holds the tokens of a multiple-choice answer, padded with -1; a row of -1 is a
    generated answer, judged by exact match. `inputs` are the frozen model's mean layer inputs over
    the prompt, by module; only the prototype gate needs them.
    """

    tokens: Int[Tensor, "q t"]
    targets: Int[Tensor, "q t"]
    choices: Int[Tensor, "q c"]
    task: Int[Tensor, " q"]
    inputs: dict[str, Float[Tensor, "q d_in"]]


@dataclass(frozen=True)
class Scores:
    """Accuracy and loss (nats per token) of device n on task k; share of prompts routed right."""

    accuracy: Float[Tensor, "n k"]
    loss: Float[Tensor, "n k"]
    routed_right: float | None


def evaluate(
    backbone: Backbone,
    bank: Bank,
    exam: Exam,
    scaling: float,
    check: Callable[[], None] = lambda: None,
) -> Scores:
    """Scores of all devices. Only an oracle gate sees which task a question belongs to.

    Work shrinks to the pairs of expert and question that some device needs: with a good gate each
    expert answers its own task only.
    """
    bank = _summed(bank) if bank.gate == "none" else bank
    chosen = choose_experts(bank, exam)
    n, q, modules = chosen.shape
    asked = torch.cat([torch.arange(q).expand(n, q)[:, :, None], chosen], dim=2)
    answers = _answers(backbone, bank.experts, asked.view(n * q, modules + 1), exam, scaling, check)
    correct, loss = (marks.view(n, q) for marks in answers)
    tasks = int(exam.task.max()) + 1
    member = functional.one_hot(exam.task, tasks).float()
    share = member / member.sum(dim=0)
    return Scores(correct.float() @ share, loss @ share, _routed_right(bank, chosen, exam))


def own_accuracy(
    backbone: Backbone, adapters: Adapters, own: Int[Tensor, " n"], exam: Exam, scaling: float
) -> float:
    """Mean over devices of the accuracy on task `own` with the device's own adapter alone."""
    device, question = (exam.task[None, :] == own[:, None]).nonzero(as_tuple=True)
    chosen = device[:, None].expand(-1, len(adapters.b))
    asked = torch.cat([question[:, None], chosen], dim=1)
    correct, _ = _answers(backbone, adapters, asked, exam, scaling, lambda: None)
    return float(correct.float().mean())


def choose_experts(bank: Bank, exam: Exam) -> Int[Tensor, "n q modules"]:
    """The expert that answers question q on device n, in every adapted module."""
    n, q = len(bank.held), len(exam.task)
    modules = list(bank.experts.b)
    if bank.gate in ("single", "none"):
        return bank.held[:, :1, None].expand(n, q, len(modules))
    if bank.gate == "oracle":
        own = bank.held.max(dim=1, keepdim=True).values  # what to answer with when it has none
        told = bank.held[:, exam.task]
        return torch.where(told < 0, own, told)[:, :, None].expand(n, q, len(modules))
    chosen = torch.empty(n, q, len(modules), dtype=torch.int64)
    by_library: dict[tuple[int, ...], Tensor] = {}
    for device, row in enumerate(bank.held):
        experts = row[row >= 0]
        key = tuple(experts.tolist())
        if key not in by_library:
            by_library[key] = _nearest(bank, exam, experts, modules)
        chosen[device] = by_library[key]
    return chosen


def _nearest(bank: Bank, exam: Exam, experts: Tensor, modules: list[str]) -> Tensor:
    picks: dict[int, Tensor] = {}  # modules that share an input share the choice
    columns = []
    for name in modules:
        shared = id(exam.inputs[name])
        if shared not in picks:
            prototypes = bank.prototypes[name][experts]
            picks[shared] = experts[nearest_prototype(exam.inputs[name], prototypes)]
        columns.append(picks[shared])
    return torch.stack(columns, dim=1)


def _summed(bank: Bank) -> Bank:
    """One wide expert per device, the sum of all it holds: ranks side by side."""
    n = len(bank.held)
    held = bank.held.clamp(min=0)
    there = (bank.held >= 0).float()
    a, b = {}, {}
    for name, value in bank.experts.a.items():
        a[name] = value[held].flatten(1, 2)
        expanded = bank.experts.b[name][held] * there[:, :, None, None]
        b[name] = expanded.movedim(1, 2).flatten(2)
    return Bank(Adapters(a, b), torch.arange(n)[:, None], "none", {})


def _answers(
    backbone: Backbone,
    experts: Adapters,
    asked: Int[Tensor, "rows columns"],
    exam: Exam,
    scaling: float,
    check: Callable[[], None],
) -> tuple[Bool[Tensor, " rows"], Float[Tensor, " rows"]]:
    """Right or wrong, and the loss, of every row: a question and the expert of each module."""
    pairs, back = asked.unique(dim=0, return_inverse=True)
    uniform = (pairs[:, 1:] == pairs[:, 1:2]).all(dim=1)
    correct = torch.empty(len(pairs), dtype=torch.bool)
    loss = torch.empty(len(pairs))
    with torch.no_grad():
        length = _lengths(exam)[pairs[:, 0]]
        for rows in _one_expert_batches(pairs, uniform, length):
            check()
            each = select(experts, pairs[rows[:, 0], 1])
            used = exam.tokens[pairs[rows, 0], : int(length[rows].max())]
            logits = forward(backbone, used, each, scaling)
            marks = _marks(logits.flatten(0, 1), exam, pairs[rows.flatten(), 0])
            correct[rows.flatten()], loss[rows.flatten()] = marks
        for mixed in (~uniform).nonzero().flatten().split(ROWS_AT_ONCE):
            if len(mixed) == 0:
                break  # splitting nothing gives one empty part
            check()
            used, gates = _mixed_gates(pairs[mixed, 1:], list(experts.b))
            asked_now = pairs[mixed, 0]
            logits = forward_experts(
                backbone, exam.tokens[asked_now], select(experts, used), gates, scaling
            )
            correct[mixed], loss[mixed] = _marks(logits, exam, asked_now)
    return correct[back], loss[back]


def _lengths(exam: Exam) -> Int[Tensor, " q"]:
    """Tokens of every question up to its last scored place; what follows is padding."""
    place = torch.arange(1, exam.targets.shape[1] + 1)
    return ((exam.targets != IGNORED_TARGET) * place).max(dim=1).values


def _one_expert_batches(
    pairs: Tensor, uniform: Tensor, length: Int[Tensor, " rows"]
) -> list[Int[Tensor, "e m"]]:
    """Rows of `pairs` with one expert throughout, as tables with one expert per line.

    Questions of like length come together, so that a batch holds little padding. Lines are padded
    to equal count by repeating their first row, which is harmless: the same answer is written
    twice.
    """
    rows = uniform.nonzero().flatten()
    if len(rows) == 0:
        return []
    rows = rows[length[rows].argsort(stable=True)]
    rows = rows[pairs[rows, 1].argsort(stable=True)]
    lines = rows.split(pairs[rows, 1].unique_consecutive(return_counts=True)[1].tolist())
    lines = [part for line in lines for part in line.split(ROWS_PER_LINE)]
    lines.sort(key=lambda line: (int(length[line[-1]]), len(line)))
    batches = []
    for first in range(0, len(lines), ROWS_AT_ONCE // ROWS_PER_LINE):
        group = lines[first : first + ROWS_AT_ONCE // ROWS_PER_LINE]
        width = max(map(len, group))
        batches.append(torch.stack([torch.cat([x, x[:1].expand(width - len(x))]) for x in group]))
    return batches


def _mixed_gates(
    chosen: Int[Tensor, "m modules"], modules: list[str]
) -> tuple[Tensor, dict[str, Tensor]]:
    used, place = chosen.unique(return_inverse=True)
    gates = functional.one_hot(place, len(used)).float()
    return used, {name: gates[:, column] for column, name in enumerate(modules)}


def _marks(
    logits: Float[Tensor, "m t vocab"], exam: Exam, asked: Int[Tensor, " m"]
) -> tuple[Bool[Tensor, " m"], Float[Tensor, " m"]]:
    """Right or wrong, and mean loss of the true answer, per sequence.

    The most likely token at every place of the true answer, given the true answer before it,
    equals greedy decoding as long as it is right, so one pass decides an exact match.
    """
    targets, choices = exam.targets[asked, : logits.shape[1]], exam.choices[asked]
    scored = targets != IGNORED_TARGET
    token_loss = functional.cross_entropy(
        logits.mT, targets, ignore_index=IGNORED_TARGET, reduction="none"
    )
    loss = token_loss.sum(dim=1) / scored.sum(dim=1)
    exact = ((logits.argmax(dim=2) == targets) | ~scored).all(dim=1)
    place = scored.int().argmax(dim=1)
    lines = torch.arange(len(asked))
    offered = logits[lines, place].gather(1, choices.clamp(min=0))
    best = offered.masked_fill(choices < 0, -torch.inf).argmax(dim=1)
    picked = choices[lines, best] == targets[lines, place]
    return torch.where(choices[:, 0] >= 0, picked, exact), loss


def _routed_right(bank: Bank, chosen: Tensor, exam: Exam) -> float | None:
    """Share of prompts, over devices that hold their task, whose every module chose that task."""
    if bank.gate != "prototype":
        return None
    right = bank.held[:, exam.task]
    known = right >= 0
    hit = (chosen == right[:, :, None]).float().mean(dim=2)
    return float(hit[known].mean()) if known.any() else None
