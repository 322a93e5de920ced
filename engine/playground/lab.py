"""Ask one device of a trained run: what the bare model says, its adapter, a merge, the gate.

All arms answer one prompt in one batch, token by token, always the most likely token. The gated arm
of a test question is right exactly where `evaluate` counts it right.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from meshtune.engine.adapters.stack import Adapters, select
from meshtune.engine.answering.gating import BY_INPUT
from meshtune.engine.backbone.base import Backbone, TopRanks
from meshtune.engine.backbone.tokenizer import Tokenizer
from meshtune.engine.checkpoint import load_state
from meshtune.engine.config import RunConfig, TaskName
from meshtune.engine.methods.rules import Bank, Gate
from meshtune.engine.models.door import facts_of, tokenizer_of
from meshtune.engine.models.loading import read_in_full
from meshtune.engine.playground.gate import Models, Rule, Watched, gate_kinds
from meshtune.engine.playground.values import (
    Answered,
    ArmName,
    ArmReply,
    BadPrompt,
    ExpertShown,
    GateWish,
    Question,
)
from meshtune.engine.samples import held_out
from meshtune.engine.world import State, World, build_world

ANSWER_TOKENS = 40  # at least; longer than any answer of the embedded tasks
# Logits (s, vocab) after each of the last s of the tokens (1, t).
Logits = Callable[[Tensor, int], Tensor]
Weigh = Callable[[Tensor], Tensor]
LIKELY = 8  # next tokens that are told, the most likely ones


@dataclass(frozen=True)
class Lab:
    """A run after a finished round, ready to be asked."""

    world: World
    state: State
    bank: Bank
    probe: Backbone
    tokenizer: Tokenizer

    @staticmethod
    def of(config: RunConfig, checkpoint: Path) -> "Lab":
        """The run as its checkpoint has it.

        Raises:
            CheckpointError: the file is missing, damaged, or of another config.
        """
        world = build_world(config)
        state = load_state(world, checkpoint)
        probe = read_in_full(world.backbone, config.model)
        with torch.no_grad():
            bank = world.method.bank(state.adapters, state.memory)
        return Lab(world, state, bank, probe, tokenizer_of(config.model))

    @property
    def models(self) -> Models:
        """The model that answers, and the one that gates read."""
        return Models(self.world.backbone, self.probe, self.world.rule.scaling)

    @property
    def context(self) -> int:
        """Tokens that the model reads at most."""
        longest = facts_of(self.world.config.model).context
        return min(self.tokenizer.model_max_length, longest)

    def question(self, task: TaskName, number: int) -> Question:
        """Test question `number` (from 0) of a task; the first ones are those of the run's exam."""
        drawn = held_out(self.world.config, task, number + 1)
        one = drawn[number % len(drawn)]  # files have only so many
        return Question(one.prompt, task, one.answer, one.choices, one.score)


def ask(
    lab: Lab,
    question: Question,
    device: int,
    wish: GateWish | None = None,
    outside: Adapters | None = None,
) -> Answered:
    """The answers of all arms of one device, and of an adapter from outside if one is given.

    Raises:
        BadPrompt: the prompt is empty, too long, or has characters that the model does not know.
    """
    with torch.no_grad():
        return _Asking(lab, question, device, wish or GateWish(), outside).answered()


def prompt_tokens(lab: Lab, prompt: str) -> list[int]:
    """Token ids of a prompt, the start token included.

    Raises:
        BadPrompt: it is empty, too long, or has characters that the model does not know.
    """
    if not prompt.strip():
        raise BadPrompt("the prompt is empty; type a question or draw one")
    ids: list[int] = lab.tokenizer(prompt[:10_000], add_special_tokens=False)["input_ids"]
    unknown = lab.tokenizer.unk_token_id
    if unknown in ids:
        known = {*"".join(lab.tokenizer.get_vocab())}
        odd = next((c for c in prompt if c not in known and not c.isspace()), prompt[0])
        raise BadPrompt(f"the model does not know the character {odd!r}; leave it out")
    room = lab.context - ANSWER_TOKENS - 1
    if len(ids) > room:
        raise BadPrompt(f"the prompt has {len(ids)} tokens, and the model reads {room}; shorten it")
    return [int(lab.tokenizer.bos_token_id), *ids]


@dataclass
class _Asking:
    """One question to one device, worked out step by step."""

    lab: Lab
    question: Question
    device: int
    wish: GateWish
    outside: Adapters | None
    tokens: list[int] = field(init=False)
    held: Int[Tensor, " k"] = field(init=False)
    gate: Gate = field(init=False)
    on: Bool[Tensor, " k"] = field(init=False)
    draft: list[int] = field(init=False)  # what an arm will perhaps say

    def __post_init__(self) -> None:
        self.tokens = prompt_tokens(self.lab, self.question.prompt)
        answer, tokenizer = self.question.answer or "", self.lab.tokenizer
        known: list[int] = tokenizer(answer, add_special_tokens=False)["input_ids"]
        self.draft = [*known, int(tokenizer.eos_token_id)] if answer else []
        row = self.lab.bank.held[self.device]
        single = self.lab.bank.gate.kind == "single"
        self.held = row[row >= 0][: 1 if single else None]
        gate, wish = self.lab.bank.gate, self.wish
        if not single:
            kind = wish.kind if wish.kind in gate_kinds(self.lab.bank) else None
            gate = replace(
                gate,
                kind=kind or gate.kind,
                level=wish.level or gate.level,
                blend=wish.blend or gate.blend,
            )
        # These judge whole prompts only.
        self.gate = gate if gate.kind in BY_INPUT else replace(gate, level="prompt")
        self.on = torch.tensor([place not in wish.off for place in range(len(self.held))])

    # The arms

    def answered(self) -> Answered:
        """Ask every arm that makes sense."""
        missing = self._missing()
        rows: dict[ArmName, Adapters] = {"base": self._nothing(), "own": self._own()}
        if self.outside is not None:
            rows["outside"] = self.outside
        replies = {name: self._alone(name, one) for name, one in rows.items()}
        replies["merged"] = self._blend_of("merged", *self._merge())
        weights: dict[str, Tensor] = {}
        if "gated" not in missing:
            replies["gated"], weights = self._gated()
        if "oracle" not in missing:
            replies["oracle"] = self._alone("oracle", select(self.lab.bank.experts, self._oracle()))
        return self._told(replies, missing, weights)

    def _missing(self) -> dict[ArmName, str]:
        missing: dict[ArmName, str] = {}
        bank = self.lab.bank
        if bank.gate.kind == "single":
            missing["gated"] = (
                "This method keeps one adapter per device, so there is nothing to gate."
            )
        elif not bool(self.on.any()):
            missing["gated"] = "All experts are switched off."
        if self.question.task is None:
            missing["oracle"] = "Say which task the prompt belongs to: an oracle is told."
        elif self._oracle().numel() == 0:
            missing["oracle"] = "This device holds no expert of that task."
        return missing

    def _oracle(self) -> Int[Tensor, " _"]:
        """The first expert held of the question's task."""
        world = self.lab.world
        if self.question.task not in world.tasks:
            return self.held[:0]
        right = self.lab.bank.task[self.held] == world.tasks.index(self.question.task)
        return self.held[right][:1]

    def _own(self) -> Adapters:
        return select(self.lab.state.adapters, [self.device])

    def _nothing(self) -> Adapters:
        own = self._own()
        return Adapters(own.a, {name: torch.zeros_like(value) for name, value in own.b.items()})

    def _merge(self) -> tuple[Adapters, Float[Tensor, "1 k"]]:
        """Who is averaged, the library or else the neighbourhood, and equal weights."""
        if len(self.held) > 1:
            members = select(self.lab.bank.experts, self.held)
        else:
            near = self.lab.state.mesh.linked[self.device].nonzero()[0].tolist()
            members = select(self.lab.state.adapters, [self.device, *near])
        count = len(next(iter(members.b.values())))
        return members, torch.full((1, count), 1.0 / count)

    @property
    def _merged_of(self) -> str:
        if len(self.held) > 1:
            return f"mean of the {len(self.held)} experts that the device holds"
        near = int(self.lab.state.mesh.linked[self.device].sum())
        return (
            "the device's own adapter: it has no neighbour"
            if near == 0
            else (f"mean of its own adapter and those of {near} neighbour{'s' if near > 1 else ''}")
        )

    # Asking

    def _alone(self, name: ArmName, adapter: Adapters) -> ArmReply:
        scaling, backbone = self.lab.world.rule.scaling, self.lab.world.backbone

        def logits(tokens: Int[Tensor, "1 t"], count: int) -> Float[Tensor, "s vocab"]:
            places = _last(tokens, count)[None]
            return backbone.logits(tokens[None], adapter, scaling, places)[0, 0]

        return self._spoken(name, logits)

    def _blend_of(
        self, name: ArmName, experts: Adapters, weights: Float[Tensor, "1 k"]
    ) -> ArmReply:
        if experts.a.keys() != experts.b.keys():  # full updates add up as they are
            mean = {
                n: torch.einsum("k,k...->...", weights[0], v)[None] for n, v in experts.b.items()
            }
            return self._alone(name, Adapters({}, mean))
        scaling, backbone = self.lab.world.rule.scaling, self.lab.world.backbone

        def logits(tokens: Int[Tensor, "1 t"], count: int) -> Float[Tensor, "s vocab"]:
            return backbone.blended(tokens, experts, weights, scaling, places=_last(tokens, count))[
                0
            ]

        return self._spoken(name, logits)

    def _gated(self) -> tuple[ArmReply, dict[str, Float[Tensor, "t k"]]]:
        """The reply, and the weights of the experts on the prompt, by module and token."""
        lab, numbers = self.lab, self.held[self.on]
        experts = select(lab.bank.experts, numbers)
        if self.gate.kind == "oracle":
            best = self._right(numbers).float().argmax()  # the first if none is, as in `evaluate`
            weight = torch.eye(len(numbers))[best][None]
            return self._alone("gated", select(experts, best[None])), dict.fromkeys(
                experts.b, weight
            )
        rule = Rule(lab.models, lab.bank, numbers, experts, self.gate, self.wish.top_k)
        gates = rule.gates(torch.tensor([self.tokens]))
        ranks = self.gate.top_ranks
        top = TopRanks(ranks, self.gate.top_ranks_over) if ranks else None

        def logits(tokens: Int[Tensor, "1 t"], count: int) -> Float[Tensor, "s vocab"]:
            return lab.world.backbone.blended(
                tokens,
                experts,
                gates,
                lab.world.rule.scaling,
                top_ranks=top,
                places=_last(tokens, count),
            )[0]

        reply = self._spoken("gated", logits)
        if not isinstance(gates, Watched):
            return reply, gates
        gates.seen.clear()
        logits(torch.tensor([self.tokens]), 1)
        return reply, gates.seen

    def _right(self, numbers: Int[Tensor, " k"]) -> Bool[Tensor, " k"]:
        tasks = self.lab.world.tasks
        if self.question.task not in tasks:
            return torch.zeros(len(numbers), dtype=torch.bool)
        return self.lab.bank.task[numbers] == tasks.index(self.question.task)

    def _spoken(self, name: ArmName, logits: Logits) -> ArmReply:
        """The answer, always the most likely token, until the end or enough of it."""
        first = logits(torch.tensor([self.tokens]), 1)[0]
        probabilities = first.softmax(dim=0)
        options = self._options(logits, probabilities)
        top = probabilities.topk(min(LIKELY, len(probabilities)))
        likely = [
            (self._shown(i), p)
            for p, i in zip(top.values.tolist(), top.indices.tolist(), strict=True)
        ]
        if options:
            text = max(options, key=lambda option: option[1])[0]
        else:
            text = self._text(self._continued(logits, first))
        return ArmReply(
            name,
            text,
            self.question.judged(text),
            tuple(likely),
            options,
        )

    def _continued(self, logits: Logits, first: Float[Tensor, " vocab"]) -> list[int]:
        """The most likely tokens up to the end, in as few passes as the draft allows.

        A draft is what another arm said, or the right answer: one pass tells how much of it this
        arm would say as well, as one pass decides an exact match in the exam.
        """
        said, end = [int(first.argmax())], self.lab.tokenizer.eos_token_id
        most = max(ANSWER_TOKENS, len(self.draft))
        while said[-1] != end and len(said) < most:
            guess = self.draft[len(said) : most - 1]
            tokens = torch.tensor([[*self.tokens, *said, *guess]])
            best = logits(tokens, len(guess) + 1).argmax(dim=1).tolist()
            agreed = next((i for i, g in enumerate(guess) if best[i] != g), len(guess))
            said += best[: agreed + 1]
            if end in said:
                said = said[: said.index(end) + 1]
        self.draft = said
        return [token for token in said if token != end]

    def _options(
        self, logits: Logits, probabilities: Float[Tensor, " vocab"]
    ) -> tuple[tuple[str, float], ...]:
        """The offered answers, and how likely each is among them, per token if any has several."""
        if not self.question.choices:
            return ()
        ids = [
            self.lab.tokenizer.encode(choice, add_special_tokens=False)
            for choice in self.question.choices
        ]
        if all(len(each) == 1 for each in ids):
            likely = probabilities[[each[0] for each in ids]]
        else:
            likely = torch.stack([self._likelihood(logits, each) for each in ids])
        return tuple(zip(self.question.choices, (likely / likely.sum()).tolist(), strict=True))

    def _likelihood(self, logits: Logits, answer: list[int]) -> Float[Tensor, ""]:
        """The geometric mean of the probabilities of the tokens of an answer."""
        said = logits(torch.tensor([[*self.tokens, *answer[:-1]]]), len(answer)).log_softmax(dim=1)
        return said[torch.arange(len(answer)), answer].mean().exp()

    def _shown(self, token: int) -> str:
        end = self.lab.tokenizer.eos_token_id
        return "end of answer" if token == end else self._text([token])

    def _text(self, tokens: list[int]) -> str:
        return str(self.lab.tokenizer.decode(tokens))

    # Telling

    def _told(
        self,
        replies: dict[ArmName, ArmReply],
        missing: dict[ArmName, str],
        weights: dict[str, Tensor],
    ) -> Answered:
        lab, k = self.lab, len(self.held)
        modules = tuple(weights)
        gate = torch.zeros(len(modules), max((len(w) for w in weights.values()), default=0), k)
        places = self.on.nonzero().flatten()
        for number, name in enumerate(modules):
            gate[number][:, places] = weights[name].float()
        prompt = gate[:, 1:] if gate.shape[1] > 1 else gate  # not the start token
        mean = prompt.mean(dim=(0, 1)) if modules else torch.zeros(k)
        tasks = lab.world.tasks
        return Answered(
            tokens=tuple(self._text([token]) for token in self.tokens),
            arms=tuple(replies[name] for name in get_args(ArmName) if name in replies),
            missing=missing,
            experts=tuple(
                ExpertShown(tasks[int(lab.bank.task[e])], bool(on), float(w))
                for e, on, w in zip(self.held, self.on, mean, strict=True)
            ),
            modules=modules,
            gate=tuple(tuple(tuple(row) for row in module) for module in gate.tolist()),
            gate_used=self.gate,
            kinds=gate_kinds(lab.bank),
            merged_of=self._merged_of,
        )


def _last(tokens: Int[Tensor, "1 t"], count: int) -> Int[Tensor, "1 s"]:
    return torch.arange(tokens.shape[1] - count, tokens.shape[1])[None]
