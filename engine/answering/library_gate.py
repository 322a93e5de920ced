"""Gates of one library, for whole prompts and for each token."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from meshtune.engine.adapters.stack import Adapters, select
from meshtune.engine.answering.exam import Exam
from meshtune.engine.answering.gating import (
    BY_INPUT,
    GateKind,
    Score,
    blended,
    entropies,
    one_for_all,
    picks_one,
    score_of,
    shares_inputs,
    spread_weights,
)
from meshtune.engine.methods.rules import Bank, Gate


@dataclass(frozen=True)
class LibraryGate:
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
    ) -> "LibraryGate":
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
            if bank.gate.level != "token":
                scores = prompt_scores(kind, judges, exam.inputs)
            if bank.gate.level == "network":
                scores = one_for_all(scores)
        else:
            one = right.float() if kind == "oracle" else torch.zeros(right.shape)
            one = one if losses is None else -losses[numbers].mT
            scores = dict.fromkeys(modules, one)
        tasks = int(exam.task.max()) + 1
        kinds = functional.one_hot(bank.task[numbers], tasks).float()
        rest = {} if scores else judges
        return LibraryGate(bank.gate, numbers, experts, right, kinds, scores, rest)

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


def prompt_scores(
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
class TokenGate:
    """Weighs experts for the tokens of a batch, and remembers how that went on the prompts.

    Tokens count slowest, then sequences, as the hidden states do.
    """

    of: LibraryGate
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
