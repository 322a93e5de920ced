"""The test questions of a run, and how an answer to them is marked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from meshtune.engine.backbone.base import IGNORED_TARGET

# Logits (m, s, vocab) at some places (m, s) of some tokens (m, t).
Ask = Callable[[Tensor, Tensor], Tensor]
Judge = Callable[[list[int]], bool]  # whether the tokens of a reply, without its end, are right


@dataclass(frozen=True)
class Spoken:
    """How replies are judged that must be generated: by row, in at most `most` tokens."""

    judges: Mapping[int, Judge]
    end: int
    most: int


@dataclass(frozen=True)
class Exam:
    """The test questions of a run, one row each, and behind them the rivals of their answers.

    `choices` holds the tokens of a multiple-choice answer, padded with -1; a row of -1 is a
    generated answer, judged by exact match. `prompt` marks the tokens of the question itself.
    `inputs` are the frozen model's mean layer inputs over the prompt, by module. `task` is read by
    the oracle and by the marks, by no other gate.

    Attributes:
        rivals: Rows that say a wrong answer to question q, padded with -1; the right one must be
            likelier per token than all of them. None: all rows are questions.
        by_token: Rows whose mark is the share of answer tokens that the model predicts.
        spoken: Rows whose reply is generated.
    """

    tokens: Int[Tensor, "q t"]
    targets: Int[Tensor, "q t"]
    choices: Int[Tensor, "q c"]
    task: Int[Tensor, " q"]
    prompt: Bool[Tensor, "q t"]
    inputs: dict[str, Float[Tensor, "q d_in"]]
    rivals: Int[Tensor, "asked wrong"] | None = None
    by_token: Bool[Tensor, " q"] | None = None
    spoken: Spoken | None = None

    @property
    def asked(self) -> Int[Tensor, " asked"]:
        """Task of each question, rivals left out."""
        return self.task if self.rivals is None else self.task[: len(self.rivals)]

    def settled(
        self, correct: Float[Tensor, "*n q"], loss: Float[Tensor, "*n q"]
    ) -> Float[Tensor, "*n asked"]:
        """Marks of the questions: whether a chosen answer has less loss than its rivals."""
        if self.rivals is None:
            return correct
        theirs = loss[..., self.rivals.clamp(min=0)].masked_fill(self.rivals < 0, torch.inf)
        chosen = (self.rivals >= 0).any(dim=1)
        count = len(chosen)
        likelier = (loss[..., :count] < theirs.min(dim=-1).values).float()
        return torch.where(chosen, likelier, correct[..., :count])


@dataclass(frozen=True)
class Part:
    """Questions of one pass."""

    tokens: Int[Tensor, "m t"]
    places: Int[Tensor, "m s"]
    due: Int[Tensor, "m s"]
    choices: Int[Tensor, "m c"]
    by_token: Bool[Tensor, " m"]
    judges: Mapping[int, Judge]  # by row of the part
    spoken: Spoken | None

    def marks(self, ask: Ask) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
        """How right each answer is, from 0 to 1, and mean loss of the true one.

        The most likely token at every place of the true answer, given the true answer before it,
        equals greedy decoding as long as it is right, so one pass decides an exact match.
        """
        logits: Float[Tensor, "m s vocab"] = ask(self.tokens, self.places)
        scored = self.due != IGNORED_TARGET
        token_loss = functional.cross_entropy(
            logits.mT, self.due, ignore_index=IGNORED_TARGET, reduction="none"
        )
        loss = token_loss.sum(dim=1) / scored.sum(dim=1).clamp(min=1)
        hit = (logits.argmax(dim=2) == self.due) | ~scored
        exact = hit.all(dim=1)
        share = (hit & scored).sum(dim=1) / scored.sum(dim=1).clamp(min=1)
        offered = logits[:, 0].gather(1, self.choices.clamp(min=0))
        best = offered.masked_fill(self.choices < 0, -torch.inf).argmax(dim=1, keepdim=True)
        picked = self.choices.gather(1, best)[:, 0] == self.due[:, 0]
        mark = torch.where(self.choices[:, 0] >= 0, picked, exact).float()
        mark = torch.where(self.by_token, share, mark)
        # What matches to the end is right for every judge, so it need not be said again.
        unsure = {row: judge for row, judge in self.judges.items() if not exact[row]}
        for row, reply in self._replies(ask, list(unsure)).items():
            mark[row] = float(unsure[row](reply))
        return mark, loss

    def _replies(self, ask: Ask, rows: list[int]) -> dict[int, list[int]]:
        """What greedy decoding says in some rows, without the end; all rows are passed along."""
        if not rows or self.spoken is None:
            return {}
        said: dict[int, list[int]] = {row: [] for row in rows}
        going, last, every = set(rows), self.places[:, 0].clone(), torch.arange(len(self.places))
        room = int(last.max()) + 1 + self.spoken.most
        tokens = functional.pad(self.tokens, (0, max(0, room - self.tokens.shape[1])))
        for _ in range(self.spoken.most):
            best = ask(tokens[:, : int(last.max()) + 1], last[:, None])[:, 0].argmax(dim=1)
            going = {row for row in going if int(best[row]) != self.spoken.end}
            if not going:
                break
            for row in going:
                said[row].append(int(best[row]))
            last += 1
            tokens[every, last] = best
        return said


@dataclass(frozen=True)
class Sheet:
    """Where answers stand: `places[q]` are the scored tokens, `due[q]` what to say there.

    Rows with fewer than others repeat their first place, with -100 due. `length` counts the tokens
    up to the last place; what follows is padding or changes nothing.
    """

    exam: Exam
    places: Int[Tensor, "q s"]
    due: Int[Tensor, "q s"]
    length: Int[Tensor, " q"]

    @staticmethod
    def of(exam: Exam) -> "Sheet":
        scored = exam.targets != IGNORED_TARGET
        most = max(1, int(scored.sum(dim=1).max()))
        places = scored.byte().argsort(dim=1, descending=True, stable=True)[:, :most]
        due = exam.targets.gather(1, places)
        places = torch.where(due == IGNORED_TARGET, places[:, :1], places)
        return Sheet(exam, places, due, places.max(dim=1).values + 1)

    def part(self, rows: Int[Tensor, " m"]) -> Part:
        """Some questions, without the padding that none of them needs."""
        due, by_token, spoken = self.due[rows], self.exam.by_token, self.exam.spoken
        judges = {} if spoken is None else spoken.judges
        most = max(1, int((due != IGNORED_TARGET).sum(dim=1).max()))
        return Part(
            self.exam.tokens[rows, : int(self.length[rows].max())],
            self.places[rows, :most],
            due[:, :most],
            self.exam.choices[rows],
            torch.zeros(len(rows), dtype=torch.bool) if by_token is None else by_token[rows],
            {at: judges[row] for at, row in enumerate(rows.tolist()) if row in judges},
            self.exam.spoken,
        )
