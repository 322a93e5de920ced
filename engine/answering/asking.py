"""Asking the questions of an exam: batches, and the threads that work on them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from meshtune.engine.adapters.stack import Adapters, select
from meshtune.engine.answering.exam import Exam, Sheet
from meshtune.engine.answering.gating import blended
from meshtune.engine.answering.library_gate import LibraryGate, TokenGate
from meshtune.engine.backbone.base import Backbone, TopRanks
from meshtune.engine.methods.rules import Bank
from meshtune.engine.threads import side_by_side

# Sequences per forward pass. Every pass has one thread to itself, so it need not be large; the
# shapes depend on nothing but sizes: the machine's threads change no more than how a kernel rounds.
ROWS_AT_ONCE = 128
ROWS_PER_LINE = 32  # of one expert in a pass: few enough that they are of like length
MIXED_ROWS = 64  # each with an adapter of its own, put together from those of its modules
BLENDED_ROWS = 64  # with k experts at once

T = TypeVar("T")


@dataclass(frozen=True)
class Answers:
    """What devices said to every question, and how right it is, from 0 to 1.

    `routed_right` is the share of modules (and of prompt tokens, if the gate decides per token)
    whose best expert is one of the question's task, `routed` the share per task of the best expert.
    `entropy` is the mean over the same of the
    entropy, in nats, of what the gate spreads over the experts, before a hard gate takes the best.
    """

    correct: Float[Tensor, "*n q"]
    loss: Float[Tensor, "*n q"]
    routed_right: Float[Tensor, "*n q"]
    entropy: Float[Tensor, "*n q"]
    routed: Float[Tensor, "*n q tasks"]


def picked_answers(
    backbone: Backbone,
    bank: Bank,
    exam: Exam,
    scaling: float,
    gates: Sequence[LibraryGate],
    check: Callable[[], None],
) -> list[Answers]:
    """Answers under the gates that pick one expert."""
    picking = [gate for gate in gates if gate.picks]
    if not picking:
        return []
    q = len(exam.task)
    chosen = torch.stack([gate.chosen() for gate in picking])
    asked = torch.cat([torch.arange(q).expand(len(picking), q)[:, :, None], chosen], dim=2)
    marks = marks_of(backbone, bank.experts, asked.flatten(0, 1), exam, scaling, check)
    correct, loss = (part.view(len(picking), q) for part in marks)
    everything = torch.arange(q)
    return [
        Answers(correct[i], loss[i], *gate.judged(everything)) for i, gate in enumerate(picking)
    ]


def blended_answers(
    backbone: Backbone,
    exam: Exam,
    scaling: float,
    gates: Sequence[LibraryGate],
    check: Callable[[], None],
) -> list[Answers]:
    """Answers under the gates that do not: all experts of a library at once."""
    blending = [gate for gate in gates if not gate.picks]
    sheet = Sheet.of(exam)
    order = sheet.length.argsort(stable=True)
    parts = order.split(BLENDED_ROWS)
    jobs = [
        partial(_blended_part, backbone, gate, sheet, rows, scaling)
        for gate in blending
        for rows in parts
    ]
    done = _results(jobs, check)
    back = order.argsort()
    given = []
    for first in range(0, len(done), len(parts)):
        columns = zip(*done[first : first + len(parts)], strict=True)
        given.append(Answers(*(torch.cat(column)[back] for column in columns)))
    return given


def _blended_part(
    backbone: Backbone,
    gate: LibraryGate,
    sheet: Sheet,
    rows: Int[Tensor, " m"],
    scaling: float,
) -> tuple[Tensor, ...]:
    part = sheet.part(rows)
    top = gate.gate.top_ranks
    ranks = TopRanks(top, gate.gate.top_ranks_over) if top else None
    fixed = {name: blended(gate.gate, value[rows]) for name, value in gate.scores.items()}
    watched: list[TokenGate] = []  # the first one saw the prompts, others a reply as well

    def ask(tokens: Int[Tensor, "m t"], places: Int[Tensor, "m s"]) -> Float[Tensor, "m s vocab"]:
        width = tokens.shape[1]
        prompt = functional.pad(sheet.exam.prompt[rows, :width], (0, width))[:, :width]
        weights = fixed or TokenGate(gate, gate.right[rows], prompt)
        if isinstance(weights, TokenGate):
            watched.append(weights)
        return backbone.blended(
            tokens, gate.experts, weights, scaling, top_ranks=ranks, places=places
        )

    marks = part.marks(ask)
    judged = watched[0].judged() if watched else gate.judged(rows)
    return *marks, *judged


def marks_of(
    backbone: Backbone,
    experts: Adapters,
    asked: Int[Tensor, "rows columns"],
    exam: Exam,
    scaling: float,
    check: Callable[[], None],
) -> tuple[Float[Tensor, " rows"], Float[Tensor, " rows"]]:
    """How right, and the loss, of every row: a question and the expert of each module."""
    pairs, back = asked.unique(dim=0, return_inverse=True)
    uniform = (pairs[:, 1:] == pairs[:, 1:2]).all(dim=1)
    sheet = Sheet.of(exam)
    length = sheet.length[pairs[:, 0]]
    tables = _one_expert_batches(pairs, uniform, length)
    mixed = (~uniform).nonzero().flatten()
    mixed = mixed[length[mixed].argsort(stable=True)]
    parts = mixed.split(MIXED_ROWS) if len(mixed) else ()  # splitting nothing gives one part
    jobs = [partial(_one_expert_each, backbone, experts, sheet, pairs[x], scaling) for x in tables]
    jobs += [partial(_mixed_experts, backbone, experts, sheet, pairs[x], scaling) for x in parts]
    correct = torch.empty(len(pairs))
    loss = torch.empty(len(pairs))
    for rows, marks in zip([*tables, *parts], _results(jobs, check), strict=True):
        correct[rows.flatten()], loss[rows.flatten()] = marks
    return correct[back], loss[back]


def _one_expert_each(
    backbone: Backbone,
    experts: Adapters,
    sheet: Sheet,
    pairs: Int[Tensor, "e m columns"],
    scaling: float,
) -> tuple[Float[Tensor, " em"], Float[Tensor, " em"]]:
    """Marks of lines of questions with one expert per line."""
    lines = pairs.shape[:2]
    each = select(experts, pairs[:, 0, 1])

    def ask(tokens: Int[Tensor, "m t"], places: Int[Tensor, "m s"]) -> Float[Tensor, "m s vocab"]:
        rows, where = tokens.unflatten(0, lines), places.unflatten(0, lines)
        return backbone.logits(rows, each, scaling, where).flatten(0, 1)

    return sheet.part(pairs[:, :, 0].flatten()).marks(ask)


def _mixed_experts(
    backbone: Backbone,
    experts: Adapters,
    sheet: Sheet,
    pairs: Int[Tensor, "m columns"],
    scaling: float,
) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
    """Marks of questions with an expert of its own for every module."""
    column = {name: 1 + place for place, name in enumerate(experts.b)}
    each = Adapters(
        {name: value[pairs[:, column[name]]] for name, value in experts.a.items()},
        {name: value[pairs[:, column[name]]] for name, value in experts.b.items()},
    )

    def ask(tokens: Int[Tensor, "m t"], places: Int[Tensor, "m s"]) -> Float[Tensor, "m s vocab"]:
        return backbone.logits(tokens[:, None], each, scaling, places[:, None])[:, 0]

    return sheet.part(pairs[:, 0]).marks(ask)


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


def _results(jobs: Sequence[Callable[[], T]], check: Callable[[], None]) -> list[T]:
    """Results of the jobs in order, each worked out by one thread."""
    if not jobs:
        return []

    def run(job: Callable[[], T]) -> T:
        with torch.no_grad():  # of this thread
            return job()

    with side_by_side(len(jobs)) as pool:
        futures = [pool.submit(run, job) for job in jobs]
        results = []
        for future in futures:
            check()
            results.append(future.result())
        return results
