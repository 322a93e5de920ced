"""The test questions of a run, and how an answer to them is marked."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from meshtune.engine.backbone.base import IGNORED_TARGET


@dataclass(frozen=True)
class Exam:
    """The test questions of a run, one row each.

    `choices` holds the tokens of a multiple-choice answer, padded with -1; a row of -1 is a
    generated answer, judged by exact match. `prompt` marks the tokens of the question itself.
    `inputs` are the frozen model's mean layer inputs over the prompt, by module. `task` is read by
    the oracle and by the marks, by no other gate.
    """

    tokens: Int[Tensor, "q t"]
    targets: Int[Tensor, "q t"]
    choices: Int[Tensor, "q c"]
    task: Int[Tensor, " q"]
    prompt: Bool[Tensor, "q t"]
    inputs: dict[str, Float[Tensor, "q d_in"]]


@dataclass(frozen=True)
class Part:
    """Questions of one pass."""

    tokens: Int[Tensor, "m t"]
    places: Int[Tensor, "m s"]
    due: Int[Tensor, "m s"]
    choices: Int[Tensor, "m c"]

    def marks(
        self, logits: Float[Tensor, "m s vocab"]
    ) -> tuple[Bool[Tensor, " m"], Float[Tensor, " m"]]:
        """Right or wrong, and mean loss of the true answer, from the logits at `places`.

        The most likely token at every place of the true answer, given the true answer before it,
        equals greedy decoding as long as it is right, so one pass decides an exact match.
        """
        scored = self.due != IGNORED_TARGET
        token_loss = functional.cross_entropy(
            logits.mT, self.due, ignore_index=IGNORED_TARGET, reduction="none"
        )
        loss = token_loss.sum(dim=1) / scored.sum(dim=1).clamp(min=1)
        exact = ((logits.argmax(dim=2) == self.due) | ~scored).all(dim=1)
        offered = logits[:, 0].gather(1, self.choices.clamp(min=0))
        best = offered.masked_fill(self.choices < 0, -torch.inf).argmax(dim=1, keepdim=True)
        picked = self.choices.gather(1, best)[:, 0] == self.due[:, 0]
        return torch.where(self.choices[:, 0] >= 0, picked, exact), loss


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
        due = self.due[rows]
        most = max(1, int((due != IGNORED_TARGET).sum(dim=1).max()))
        return Part(
            self.exam.tokens[rows, : int(self.length[rows].max())],
            self.places[rows, :most],
            due[:, :most],
            self.exam.choices[rows],
        )
