"""How the playground weighs the experts of one device: the run's gate, or another in its place."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshtune.engine.adapters.stack import Adapters
from meshtune.engine.answering.gating import (
    BY_INPUT,
    Score,
    blended,
    hard_weights,
    one_for_all,
    score_of,
)
from meshtune.engine.answering.library_gate import prompt_scores
from meshtune.engine.backbone.base import Backbone
from meshtune.engine.methods.gates import SIGNATURES, GateName
from meshtune.engine.methods.rules import Bank, Gate

Weigh = Callable[[Tensor], Tensor]  # (s, k) scores to weights


@dataclass(frozen=True)
class Models:
    """The frozen model twice: as the run computes, and in float32 for gates, which need it."""

    backbone: Backbone
    probe: Backbone
    scaling: float


def gate_kinds(bank: Bank) -> tuple[GateName, ...]:
    """The gates that can judge with what the experts of this bank told of themselves."""
    if bank.gate.kind == "single":
        return ()
    if bank.experts.a.keys() != bank.experts.b.keys():  # full updates cannot be blended
        return ("oracle",)
    told = bank.signatures
    return tuple(
        kind
        for kind in get_args(GateName)
        if all(what in told for what in SIGNATURES.get(kind, ()))
    )


@dataclass(frozen=True)
class Rule:
    """How some experts of a library are weighed."""

    models: Models
    bank: Bank
    numbers: Int[Tensor, " k"]
    experts: Adapters
    gate: Gate
    top_k: int | None

    def gates(self, tokens: Int[Tensor, "1 t"]) -> "dict[str, Tensor] | Watched":
        """Weights by module for a prompt, or what weighs every token anew."""
        modules = list(self.experts.b)
        if self.gate.kind not in BY_INPUT or len(self.numbers) < 2:
            scores = self._one_score(tokens)
            return dict.fromkeys(modules, self.weights(scores))
        told = {
            what: {name: value[self.numbers] for name, value in by_module.items()}
            for what, by_module in self.bank.signatures.items()
        }
        judges = {name: score_of(self.gate.kind, name, self.experts, told) for name in modules}
        if self.gate.level == "token":
            return Watched(judges, self.weights)
        mask = torch.ones_like(tokens, dtype=torch.bool)
        mask[:, 0] = False  # the start token is the same for all
        inputs = self.models.probe.prompt_inputs(tokens, mask)
        each = prompt_scores(self.gate.kind, judges, inputs)
        if self.gate.level == "network":
            each = one_for_all(each)
        return {name: self.weights(value) for name, value in each.items()}

    def weights(self, scores: Float[Tensor, "s k"]) -> Float[Tensor, "s k"]:
        """The weights of the gate, of the `top_k` best experts only."""
        weights = blended(self.gate, scores)
        if self.top_k is None or self.top_k >= scores.shape[1]:
            return weights
        if self.top_k == 1:
            return weights * hard_weights(scores)
        kept = torch.zeros_like(weights).scatter(1, scores.topk(self.top_k, dim=1).indices, 1.0)
        return weights * kept

    def _one_score(self, tokens: Int[Tensor, "1 t"]) -> Float[Tensor, "1 k"]:
        """One score for all modules: minus the loss on the prompt, or none at all."""
        if self.gate.kind != "prompt_loss" or len(self.numbers) < 2:
            return torch.zeros(1, len(self.numbers))
        k, t = len(self.numbers), tokens.shape[1]
        logits = self.models.backbone.logits(
            tokens.expand(k, 1, t),
            self.experts,
            self.models.scaling,
        )[:, 0]
        told = logits[:, :-1].log_softmax(dim=2).gather(2, tokens[0, 1:].expand(k, -1)[..., None])
        return told[..., 0].sum(dim=1)[None]


@dataclass
class Watched:
    """Weighs every token, and remembers the weights of the last pass, by module."""

    judges: dict[str, Score]
    weights: Weigh
    seen: dict[str, Float[Tensor, "t k"]] = field(default_factory=dict)

    def __call__(self, names: tuple[str, ...], x: Float[Tensor, "s d_in"]) -> dict[str, Tensor]:
        given = {name: self.weights(self.judges[name](x)) for name in names}
        self.seen.update(given)
        return given
