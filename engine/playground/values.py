"""What the playground is asked and what it tells."""

from dataclasses import dataclass
from typing import Literal

from meshtune.engine.config import TaskName
from meshtune.engine.data.judging import JUDGES, SPOKEN
from meshtune.engine.methods.gates import GateLevel, GateName
from meshtune.engine.methods.rules import Gate
from meshtune.engine.tasks.base import Score

ArmName = Literal["base", "own", "merged", "gated", "oracle", "outside"]


class BadPrompt(ValueError):
    """What was typed cannot be asked; the message is one sentence."""


@dataclass(frozen=True)
class Question:
    """A prompt, and what is known of it: its task and answer if it is a test question."""

    prompt: str
    task: TaskName | None = None
    answer: str | None = None
    choices: tuple[str, ...] = ()
    score: Score = "exact"

    def judged(self, text: str) -> bool | None:
        """Whether a reply is right; None where that is not asked."""
        if self.answer is None or self.score == "loss":
            return None
        if self.score in SPOKEN:
            return JUDGES[self.score](text, self.answer)
        return text == self.answer


@dataclass(frozen=True)
class GateWish:
    """How to gate, where it should differ from the run. `off` names experts of the device."""

    kind: GateName | None = None
    level: GateLevel | None = None
    blend: Literal["hard", "soft"] | None = None
    top_k: int | None = None
    off: frozenset[int] = frozenset()


@dataclass(frozen=True)
class ArmReply:
    """What one arm said.

    `likely` are probabilities of the first answer token, `options` of the offered answers.
    """

    name: ArmName
    text: str
    correct: bool | None
    likely: tuple[tuple[str, float], ...]
    options: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class ExpertShown:
    """An expert that the device holds, in the order of its library."""

    task: TaskName
    on: bool
    weight: float  # mean over modules and prompt tokens


@dataclass(frozen=True)
class Answered:
    """All of it. `gate` holds weights by module, then token (one if alike for all), then expert."""

    tokens: tuple[str, ...]
    arms: tuple[ArmReply, ...]
    missing: dict[ArmName, str]
    experts: tuple[ExpertShown, ...]
    modules: tuple[str, ...]
    gate: tuple[tuple[tuple[float, ...], ...], ...]
    gate_used: Gate
    kinds: tuple[GateName, ...]
    merged_of: str
