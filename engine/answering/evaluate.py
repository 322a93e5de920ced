"""Accuracy of every device on every task: each distinct library answers each question once."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from meshtune.engine.adapters.stack import Adapters, select
from meshtune.engine.answering.exam import Exam, Sheet
from meshtune.engine.answering.gating import (
    BY_INPUT,
    GateKind,
    Score,
    blended,
    entropies,
    picks_one,
    score_of,
    shares_inputs,
    spread_weights,
)
from meshtune.engine.backbone.experts import TopRanks, forward_experts
from meshtune.engine.backbone.forward import forward
from meshtune.engine.backbone.model import Backbone
from meshtune.engine.backbone.walk import IGNORED_TARGET
from meshtune.engine.methods.base import Bank, Gate

# Sequences per forward pass. Every pass has one thread to itself, so it need not be large; the
# shapes depend on nothing but sizes: the machine's threads change no more than how a kernel rounds.
ROWS_AT_ONCE = 128
ROWS_PER_LINE = 32  # of one expert in a pass: few enough that they are of like length
MIXED_ROWS = 64  # each with an adapter of its own, put together from those of its modules
BLENDED_ROWS = 64  # with k experts at once

T = TypeVar("T")


@dataclass(frozen=True)
class Answers:
    """What devices said to every question.

    `routed_right` is the share of modules (and of prompt tokens, if the gate decides per token)
    whose best expert is one of the question's task, `routed` the share per task of the best expert.
    `entropy` is the mean over the same of the
    entropy, in nats, of what the gate spreads over the experts, before a hard gate takes the best.
    """

    correct: Bool[Tensor, "*n q"]
    loss: Float[Tensor, "*n q"]
    routed_right: Float[Tensor, "*n q"]
    entropy: Float[Tensor, "*n q"]
    routed: Float[Tensor, "*n q tasks"]


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
    member = functional.one_hot(exam.task, tasks).float()
    share = member / member.sum(dim=0)
    blind = bank.gate.kind not in ("single", "oracle")
    several = ((bank.held >= 0).sum(dim=1) > 1)[:, None].expand_as(given.correct) & blind
    ranked = several & _holds_task(bank, exam) & (bank.gate.kind != "none")
    return Scores(
        given.correct.float() @ share,
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
    member = functional.one_hot(exam.task, routed.shape[2]).float()
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
    gates = [_LibraryGate.of(bank, experts, exam, losses) for experts in rows]
    picked = [i for i, gate in enumerate(gates) if gate.picks]
    blended_ones = [i for i, gate in enumerate(gates) if not gate.picks]
    given = dict(zip(picked, _picked(backbone, bank, exam, scaling, gates, check), strict=True))
    given |= zip(blended_ones, _blended(backbone, exam, scaling, gates, check), strict=True)
    inverse = torch.tensor(library_of)
    return Answers(
        *(
            torch.stack([getattr(given[i], name) for i in range(len(rows))])[inverse]
            for name in ("correct", "loss", "routed_right", "entropy", "routed")
        )
    )


def prompt_weights(bank: Bank, exam: Exam) -> dict[str, Float[Tensor, "n q k"]] | None:
    """Weight of each expert held, by module, device and prompt; None for gates without scores."""
    if bank.gate.kind not in BY_INPUT or bank.gate.level != "prompt":
        return None
    rows, library_of = _libraries(bank)
    n, k = bank.held.shape
    weights = {name: torch.zeros(n, len(exam.task), k) for name in bank.experts.b}
    for number, experts in enumerate(rows):
        scores = _LibraryGate.of(bank, experts, exam, None).scores
        for device in (i for i, library in enumerate(library_of) if library == number):
            places = (bank.held[device] >= 0).nonzero().flatten()
            for name, value in scores.items():
                weights[name][device][:, places] = blended(bank.gate, value)
    return weights


def own_accuracy(
    backbone: Backbone, adapters: Adapters, own: Int[Tensor, " n"], exam: Exam, scaling: float
) -> float:
    """Mean over devices of the accuracy on task `own` with the device's own adapter alone."""
    device, question = (exam.task[None, :] == own[:, None]).nonzero(as_tuple=True)
    chosen = device[:, None].expand(-1, len(adapters.b))
    asked = torch.cat([question[:, None], chosen], dim=1)
    correct, _ = _ask(backbone, adapters, asked, exam, scaling, lambda: None)
    return float(correct.float().mean())


def _libraries(bank: Bank) -> tuple[list[Int[Tensor, " k"]], list[int]]:
    """The distinct lists of experts that devices hold, and which of them each device has."""
    kept = [row[row >= 0][: 1 if bank.gate.kind == "single" else None] for row in bank.held]
    numbers: dict[tuple[int, ...], int] = {}
    library_of = [numbers.setdefault(tuple(row.tolist()), len(numbers)) for row in kept]
    return [torch.tensor(row) for row in numbers], library_of


# Gates of one library.


@dataclass(frozen=True)
class _LibraryGate:
    """The gate of the devices that hold `experts` (numbers in the bank).

    It has either `scores` of every question, by module, or functions that score the inputs of a
    module as they come. `right[q, k]` tells which experts are of question q's task, `kinds` is one
    hot for the task of each expert; only the counts of routes read them.
    """

    gate: Gate
    numbers: Int[Tensor, " k"]
    experts: Adapters
    right: Bool[Tensor, "q k"]
    kinds: Float[Tensor, "k tasks"]
    scores: dict[str, Float[Tensor, "q k"]]
    token_scores: dict[str, Score]

    @staticmethod
    def of(
        bank: Bank, numbers: Int[Tensor, " k"], exam: Exam, losses: Float[Tensor, "e q"] | None
    ) -> "_LibraryGate":
        experts = select(bank.experts, numbers)
        right = bank.task[numbers] == exam.task[:, None]
        modules = list(bank.experts.b)
        kind = bank.gate.kind
        scores: dict[str, Tensor] = {}
        judges: dict[str, Score] = {}
        if kind in BY_INPUT and len(numbers) > 1:
            told = {
                what: {name: value[numbers] for name, value in by_module.items()}
                for what, by_module in bank.signatures.items()
            }
            judges = {name: score_of(kind, name, experts, told) for name in modules}
            if bank.gate.level == "prompt":
                scores = _prompt_scores(kind, judges, exam.inputs)
        else:
            one = right.float() if kind == "oracle" else torch.zeros(right.shape)
            one = one if losses is None else -losses[numbers].mT
            scores = dict.fromkeys(modules, one)
        tasks = int(exam.task.max()) + 1
        kinds = functional.one_hot(bank.task[numbers], tasks).float()
        rest = {} if scores else judges
        return _LibraryGate(bank.gate, numbers, experts, right, kinds, scores, rest)

    @property
    def picks(self) -> bool:
        """Whether one expert answers a question alone, which saves most of the work."""
        alone = picks_one(self.gate) or len(self.numbers) == 1
        return alone and bool(self.scores) and self.gate.top_ranks == 0

    def chosen(self) -> Int[Tensor, "q modules"]:
        """The expert that answers, in every module."""
        columns = [self.numbers[scores.argmax(dim=1)] for scores in self.scores.values()]
        return torch.stack(columns, dim=1)

    def judged(
        self, rows: Int[Tensor, " m"]
    ) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"], Float[Tensor, "m tasks"]]:
        """Share of modules routed right, mean entropy, and shares by task, of some questions."""
        right = [_hits(self.right[rows], scores[rows]) for scores in self.scores.values()]
        doubt = [entropies(spread_weights(self.gate, s[rows])) for s in self.scores.values()]
        best = [self.kinds[scores[rows].argmax(dim=1)] for scores in self.scores.values()]
        hits, doubts, kinds = (torch.stack(part).mean(dim=0) for part in (right, doubt, best))
        return hits, doubts, kinds


def _prompt_scores(
    kind: GateKind, judges: dict[str, Score], inputs: dict[str, Float[Tensor, "q d_in"]]
) -> dict[str, Float[Tensor, "q k"]]:
    """Scores of every module; those that must be equal are computed once."""
    done: dict[object, Tensor] = {}
    scores = {}
    for name, judge in judges.items():
        key = id(inputs[name]) if shares_inputs(kind) else name
        if key not in done:
            done[key] = judge(inputs[name])
        scores[name] = done[key]
    return scores


@dataclass
class _TokenGate:
    """Weighs experts for the tokens of a batch, and remembers how that went on the prompts.

    Tokens count slowest, then sequences, as the hidden states do.
    """

    of: _LibraryGate
    right: Bool[Tensor, "m k"]
    prompt: Bool[Tensor, "m t"]
    hits: list[Float[Tensor, " m"]] = field(default_factory=list)
    doubts: list[Float[Tensor, " m"]] = field(default_factory=list)
    best: list[Float[Tensor, "m tasks"]] = field(default_factory=list)

    def __call__(self, names: tuple[str, ...], x: Float[Tensor, "s d_in"]) -> dict[str, Tensor]:
        gate, judges = self.of.gate, self.of.token_scores
        scores: dict[str, Tensor] = {}
        for name in names:
            shared = scores and shares_inputs(gate.kind)
            scores[name] = scores[names[0]] if shared else judges[name](x)
            right = self.right.repeat(self.prompt.shape[1], 1)
            self.hits.append(self._mean(_hits(right, scores[name])))
            self.doubts.append(self._mean(entropies(spread_weights(gate, scores[name]))))
            kinds = self.of.kinds[scores[name].argmax(dim=1)]
            self.best.append(torch.stack([self._mean(kind) for kind in kinds.mT], dim=1))
        return {name: blended(gate, value) for name, value in scores.items()}

    def judged(self) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"], Float[Tensor, "m tasks"]]:
        """Share of modules and prompt tokens routed right, and the like, by sequence."""
        parts = (self.hits, self.doubts, self.best)
        hits, doubts, kinds = (torch.stack(part).mean(dim=0) for part in parts)
        return hits, doubts, kinds

    def _mean(self, by_token: Float[Tensor, " s"]) -> Float[Tensor, " m"]:
        m, t = self.prompt.shape
        told = by_token.view(t, m).mT * self.prompt
        return told.sum(dim=1) / self.prompt.sum(dim=1).clamp(min=1)


def _hits(right: Bool[Tensor, "s k"], scores: Float[Tensor, "s k"]) -> Float[Tensor, " s"]:
    return right.gather(1, scores.argmax(dim=1, keepdim=True))[:, 0].float()


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
    about_prompt = replace(exam, targets=targets)
    q, modules = len(exam.task), len(bank.experts.b)
    pairs = torch.cartesian_prod(torch.arange(q), wanted)
    asked = pairs[:, [0] + [1] * modules]
    mean = _ask(backbone, bank.experts, asked, about_prompt, scaling, check)[1]
    total = mean.view(q, -1) * (targets != IGNORED_TARGET).sum(dim=1, keepdim=True)
    losses[wanted] = total.mT
    return losses


# Asking.


def _picked(
    backbone: Backbone,
    bank: Bank,
    exam: Exam,
    scaling: float,
    gates: Sequence[_LibraryGate],
    check: Callable[[], None],
) -> list[Answers]:
    """Answers under the gates that pick one expert."""
    picking = [gate for gate in gates if gate.picks]
    if not picking:
        return []
    q = len(exam.task)
    chosen = torch.stack([gate.chosen() for gate in picking])
    asked = torch.cat([torch.arange(q).expand(len(picking), q)[:, :, None], chosen], dim=2)
    marks = _ask(backbone, bank.experts, asked.flatten(0, 1), exam, scaling, check)
    correct, loss = (part.view(len(picking), q) for part in marks)
    everything = torch.arange(q)
    return [
        Answers(correct[i], loss[i], *gate.judged(everything)) for i, gate in enumerate(picking)
    ]


def _blended(
    backbone: Backbone,
    exam: Exam,
    scaling: float,
    gates: Sequence[_LibraryGate],
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
    done = _side_by_side(jobs, check)
    back = order.argsort()
    given = []
    for first in range(0, len(done), len(parts)):
        columns = zip(*done[first : first + len(parts)], strict=True)
        given.append(Answers(*(torch.cat(column)[back] for column in columns)))
    return given


def _blended_part(
    backbone: Backbone,
    gate: _LibraryGate,
    sheet: Sheet,
    rows: Int[Tensor, " m"],
    scaling: float,
) -> tuple[Tensor, ...]:
    part = sheet.part(rows)
    top = gate.gate.top_ranks
    ranks = TopRanks(top, gate.gate.top_ranks_over) if top else None
    weights: _TokenGate | dict[str, Tensor]
    if gate.scores:
        weights = {name: blended(gate.gate, value[rows]) for name, value in gate.scores.items()}
    else:
        prompt = sheet.exam.prompt[rows, : part.tokens.shape[1]]
        weights = _TokenGate(gate, gate.right[rows], prompt)
    logits = forward_experts(
        backbone,
        part.tokens,
        gate.experts,
        weights,
        scaling,
        top_ranks=ranks,
        places=part.places,
    )
    judged = weights.judged() if isinstance(weights, _TokenGate) else gate.judged(rows)
    return *part.marks(logits), *judged


def _ask(
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
    sheet = Sheet.of(exam)
    length = sheet.length[pairs[:, 0]]
    tables = _one_expert_batches(pairs, uniform, length)
    mixed = (~uniform).nonzero().flatten()
    mixed = mixed[length[mixed].argsort(stable=True)]
    parts = mixed.split(MIXED_ROWS) if len(mixed) else ()  # splitting nothing gives one part
    jobs = [partial(_one_expert_each, backbone, experts, sheet, pairs[x], scaling) for x in tables]
    jobs += [partial(_mixed_experts, backbone, experts, sheet, pairs[x], scaling) for x in parts]
    correct = torch.empty(len(pairs), dtype=torch.bool)
    loss = torch.empty(len(pairs))
    for rows, marks in zip([*tables, *parts], _side_by_side(jobs, check), strict=True):
        correct[rows.flatten()], loss[rows.flatten()] = marks
    return correct[back], loss[back]


def _one_expert_each(
    backbone: Backbone,
    experts: Adapters,
    sheet: Sheet,
    pairs: Int[Tensor, "e m columns"],
    scaling: float,
) -> tuple[Bool[Tensor, " em"], Float[Tensor, " em"]]:
    """Marks of lines of questions with one expert per line."""
    part = sheet.part(pairs[:, :, 0].flatten())
    lines = pairs.shape[:2]
    logits = forward(
        backbone,
        part.tokens.unflatten(0, lines),
        select(experts, pairs[:, 0, 1]),
        scaling,
        part.places.unflatten(0, lines),
    )
    return part.marks(logits.flatten(0, 1))


def _mixed_experts(
    backbone: Backbone,
    experts: Adapters,
    sheet: Sheet,
    pairs: Int[Tensor, "m columns"],
    scaling: float,
) -> tuple[Bool[Tensor, " m"], Float[Tensor, " m"]]:
    """Marks of questions with an expert of its own for every module."""
    part = sheet.part(pairs[:, 0])
    column = {name: 1 + place for place, name in enumerate(experts.b)}
    each = Adapters(
        {name: value[pairs[:, column[name]]] for name, value in experts.a.items()},
        {name: value[pairs[:, column[name]]] for name, value in experts.b.items()},
    )
    logits = forward(backbone, part.tokens[:, None], each, scaling, part.places[:, None])
    return part.marks(logits[:, 0])


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


def _side_by_side(jobs: Sequence[Callable[[], T]], check: Callable[[], None]) -> list[T]:
    """Results of the jobs in order, each worked out by one thread that does its products alone.

    As in training, splitting every short operation over the processors costs more than it gains.
    """
    if not jobs:
        return []
    threads = torch.get_num_threads()
    workers = min(threads, len(jobs))

    def run(job: Callable[[], T]) -> T:
        with torch.no_grad():  # of this thread
            return job()

    pool = ThreadPoolExecutor(workers, "evaluate", torch.set_num_threads, (threads // workers,))
    try:
        futures = [pool.submit(run, job) for job in jobs]
        results = []
        for future in futures:
            check()
            results.append(future.result())
        return results
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def _holds_task(bank: Bank, exam: Exam) -> Bool[Tensor, "n q"]:
    there = (bank.held >= 0)[:, None]
    return (there & (bank.task[bank.held.clamp(min=0)][:, None] == exam.task[:, None])).any(dim=2)


def _mean_where(values: Float[Tensor, "n q"], wanted: Bool[Tensor, "n q"]) -> float | None:
    return float(values[wanted].mean()) if wanted.any() else None
