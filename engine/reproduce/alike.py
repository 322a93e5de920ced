"""What the model of Alike can do and how far its tasks are told apart: the tables of its card.

`python -m meshtune.engine.reproduce.alike` prints them; with `--card` it writes them there.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from meshtune.engine.adapters.stack import Adapters, mean, select
from meshtune.engine.answering.evaluate import answers, evaluate
from meshtune.engine.answering.gating import centred_cosines, log_densities
from meshtune.engine.backbone.embedded import embedded_backbone, embedded_folder, embedded_tokenizer
from meshtune.engine.backbone.encode import encode
from meshtune.engine.backbone.pretrain import TABLE_END, TABLE_START
from meshtune.engine.config import RunConfig, with_values
from meshtune.engine.methods.gates import GateName
from meshtune.engine.methods.rules import Bank, Gate
from meshtune.engine.methods.shared.signatures import by_device, signatures
from meshtune.engine.reproduce.surface import FEATURES, by_centroid, by_training
from meshtune.engine.simulate import local_training, nobody_asks
from meshtune.engine.tasks import WORLD_TASKS, Task, dialled
from meshtune.engine.tasks.base import Sample, test_samples, train_samples
from meshtune.engine.world import World, build_world, initial_state

NAMES = WORLD_TASKS["alike"]
LEARNED, ASKED = 500, 300  # prompts of each task that are learned from, and asked about
FIXED_INPUT = "layers.3.gate_proj"  # chosen on another seed than those of the card
DIALS = (0.0, 0.25, 0.5, 0.75, 1.0)
AT_ONCE = 400
Inputs = dict[str, Float[Tensor, "s d_in"]]  # means over prompts, by module
Scores = dict[str, Float[Tensor, "q k"]]  # by module, once for those that read one input


@dataclass(frozen=True)
class Setup:
    """Eight devices, one task each, that talk to nobody."""

    steps: int = 300
    learning_rate: float = 3e-3
    train_samples: int = 2000
    seed: int = 0

    @property
    def config(self) -> RunConfig:
        """The run, as any other."""
        return with_values(
            RunConfig(),
            {
                "model.source": "alike",
                "seed": self.seed,
                "rounds": 1,
                "fleet.devices": len(NAMES),
                "fleet.tasks": list(NAMES),
                "fleet.train_samples": self.train_samples,
                "topology.kind": "full",
                "channel.kind": "ideal",
                "method.kind": "local",
                "training.local_steps": self.steps,
                "training.learning_rate": self.learning_rate,
                "evaluation.samples_per_task": ASKED,
            },
        )


def prompts(declined: float, seed: int) -> tuple[list[list[str]], list[list[str]]]:
    """Prompts to learn from and prompts to be asked about, task by task."""
    tasks = _tasks(declined)
    learned = [[s.prompt for s in train_samples(task, seed, 0, LEARNED)] for task in tasks]
    asked = [[s.prompt for s in test_samples(task, seed, ASKED)] for task in tasks]
    return learned, asked


def surface_lines(seed: int) -> Iterator[str]:
    """What counts of the surface route right."""
    learned, asked = prompts(1.0, seed)
    yield "| counted | nearest centroid | trained classifier |"
    yield "| --- | --- | --- |"
    for name, features in FEATURES.items():
        told = (each(features, learned, asked) for each in (by_centroid, by_training))
        yield f"| {name} | {_percents(told)} |"


def dial_lines(seed: int) -> Iterator[str]:
    """What is routed right, by the share of prompts that decline a second request."""
    yield "| `fleet.declined` | words | pairs of words | prototypes | Gaussians |"
    yield "| --- | --- | --- | --- | --- |"
    for dial in DIALS:
        learned, asked = prompts(dial, seed)
        features = (FEATURES["words"], FEATURES["pairs of words"])
        counts = [by_centroid(each, learned, asked) for each in features]
        gates = [pooled(scores) for scores in gate_scores(dial, seed)]
        yield f"| {dial:g} | {_percents((*counts, *gates))} |"


def gate_scores(declined: float, seed: int) -> tuple[Scores, Scores]:
    """Scores of prototypes and of Gaussians, by the input that modules share."""
    seen = asked_inputs(declined, seed)
    told = signatures("gaussian", by_device(learned_inputs(declined, seed), len(NAMES)))
    means, spreads = told["mean"], told["variance"]
    once = [name for name in seen if not name.endswith(("k_proj", "v_proj", "up_proj"))]
    return (
        {name: centred_cosines(seen[name], means[name]) for name in once},
        {name: log_densities(seen[name], means[name], spreads[name]) for name in once},
    )


def learned_inputs(declined: float, seed: int) -> Inputs:
    """Of the prompts that a gate learns from."""
    return _inputs([train_samples(task, seed, 0, LEARNED) for task in _tasks(declined)])


def asked_inputs(declined: float, seed: int) -> Inputs:
    """Of the prompts that it has not seen."""
    return _inputs([test_samples(task, seed, ASKED) for task in _tasks(declined)])


def _tasks(declined: float) -> list[Task]:
    return [dialled(name, declined) for name in NAMES]


def _inputs(drawn: Sequence[Sequence[Sample]]) -> Inputs:
    probe, tokenizer = embedded_backbone(world="alike"), embedded_tokenizer("alike")
    encoded = encode([sample for task in drawn for sample in task], tokenizer)
    parts = [
        probe.prompt_inputs(encoded.tokens[rows], encoded.prompt_mask[rows])
        for rows in torch.arange(len(encoded.tokens)).split(AT_ONCE)
    ]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def pooled(scores: Scores) -> float:
    """Share routed right by the mean of the scores over all inputs."""
    return right(torch.stack(list(scores.values())).mean(dim=0))


def right(scores: Float[Tensor, "q k"]) -> float:
    """Share of the prompts whose best score is that of their task, tasks one after another."""
    task = torch.arange(scores.shape[1]).repeat_interleave(len(scores) // scores.shape[1])
    return float((scores.argmax(dim=1) == task).float().mean())


def gate_lines(seed: int) -> Iterator[str]:
    """What gates route right on the frozen model."""
    yield "| input of | prototypes | Gaussians |"
    yield "| --- | --- | --- |"
    both = gate_scores(1.0, seed)
    rows = {"all, mean of the scores": [pooled(each) for each in both]}
    rows |= {
        f"`{name}`" + (" (fixed beforehand)" if name == FIXED_INPUT else ""): [
            right(each[name]) for each in both
        ]
        for name in both[0]
    }
    for name, shares in rows.items():
        yield f"| {name} | {_percents(shares)} |"


@dataclass(frozen=True)
class Specialists:
    """Adapters of devices with one task each, and which prompts of the exam each gets right."""

    world: World
    adapters: Adapters
    correct: Bool[Tensor, "k q"]

    @staticmethod
    def trained(setup: Setup) -> "Specialists":
        """The devices after their steps alone."""
        world = build_world(setup.config)
        adapters, _, _ = local_training(world, initial_state(world), nobody_asks)
        return Specialists(world, adapters, _correct(world, adapters))

    @property
    def by_task(self) -> Float[Tensor, "k k"]:
        """Accuracy of each adapter on each task."""
        return _by_task(self.correct)


def _correct(world: World, adapters: Adapters) -> Bool[Tensor, "k q"]:
    """Whether each adapter, alone, answers each prompt of the exam rightly."""
    numbers = torch.arange(len(next(iter(adapters.b.values()))))
    bank = Bank(adapters, numbers[:, None], torch.zeros_like(numbers), Gate(), {})
    return answers(world.backbone, bank, world.exam, world.rule.scaling).correct > 0


def _by_task(correct: Bool[Tensor, "k q"]) -> Float[Tensor, "k tasks"]:
    share: Tensor = correct.float().view(len(correct), len(NAMES), -1).mean(dim=2)
    return share


def adapter_lines(found: Specialists) -> Iterator[str]:
    """Exact answers per task: of the model alone, of own adapters, and of their mean."""
    world = found.world
    untrained = select(initial_state(world).adapters, [0])
    alone, together = (
        _by_task(_correct(world, each))[0] for each in (untrained, mean(found.adapters))
    )
    heads = ("task", "model alone", "own adapter", "mean of all adapters")
    yield f"| {' | '.join(heads)} |"
    yield "|" + " --- |" * len(heads)
    columns = torch.stack((alone, found.by_task.diagonal(), together), dim=1)
    for name, row in zip((*NAMES, "mean"), (*columns, columns.mean(dim=0)), strict=True):
        yield f"| `{name}` | {_percents(row.tolist())} |"


def expert_lines(found: Specialists) -> Iterator[str]:
    """Exact answers where a gate chooses among the adapters of all tasks."""
    own = found.by_task.diagonal()
    others = (found.by_task.sum() - own.sum()) / (len(NAMES) * (len(NAMES) - 1))
    seed = found.world.config.seed
    rows = {"told the task": (1.0, float(own.mean())), "never the right one": (0.0, float(others))}
    for name, scores in zip(("prototypes", "Gaussians"), gate_scores(1.0, seed), strict=True):
        kind: GateName = "prototype" if name == "prototypes" else "gaussian"
        rows[f"{name}, each module for itself"] = _gated(found, kind)
        summed = torch.stack(list(scores.values())).mean(dim=0)
        exact = found.correct.gather(0, summed.argmax(dim=1)[None]).float().mean()
        rows[f"{name}, one choice by the mean of the scores"] = right(summed), float(exact)
    yield "| who chooses the adapter | choices right | exact answers |"
    yield "| --- | --- | --- |"
    for name, shares in rows.items():
        yield f"| {name} | {_percents(shares)} |"


def _gated(found: Specialists, kind: GateName) -> tuple[float, float]:
    """Share of choices that are right, and accuracy, of the gate as methods use it."""
    world, experts = found.world, torch.arange(len(NAMES))
    told = signatures(kind, by_device(learned_inputs(1.0, world.config.seed), len(NAMES)))
    bank = Bank(found.adapters, experts[None], experts, Gate(kind), told)
    scores = evaluate(world.backbone, bank, world.exam, world.rule.scaling)
    return scores.routed_right or 0.0, float(scores.accuracy.mean())


def _percents(shares: Iterable[float]) -> str:
    return " | ".join(f"{100 * share:.1f} %" for share in shares)


def card_lines(setup: Setup) -> Iterator[str]:
    """All tables, each under its heading."""
    found = Specialists.trained(setup)
    parts = {
        "Own adapters and their mean": adapter_lines(found),
        "Adapters behind a gate": expert_lines(found),
        "Gates on the frozen model": gate_lines(setup.seed),
        "The surface": surface_lines(setup.seed),
        "The dial": dial_lines(setup.seed),
    }
    for heading, lines in parts.items():
        yield from ("", f"### {heading}", "", *lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=Setup.steps)
    parser.add_argument("--lr", type=float, default=Setup.learning_rate)
    parser.add_argument("--seed", type=int, default=Setup.seed)
    parser.add_argument("--card", action="store_true", help="put the tables into the model card")
    wish = parser.parse_args()
    lines: list[str] = []
    for line in card_lines(Setup(steps=wish.steps, learning_rate=wish.lr, seed=wish.seed)):
        lines.append(line)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    if wish.card:
        card = embedded_folder("alike") / "README.md"
        before, _, after = card.read_text().partition(TABLE_START)
        after = after.partition(TABLE_END)[2]
        tables = "\n".join(lines)
        card.write_text(f"{before}{TABLE_START}\n{tables}\n{TABLE_END}{after}")


if __name__ == "__main__":
    main()
