"""Arms times seeds, each run stored when done, so that a second call computes what is missing."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from meshtune.engine.adapters.stack import select
from meshtune.engine.answering.evaluate import evaluate
from meshtune.engine.answering.metrics import parameters_trained
from meshtune.engine.config import RunConfig, TaskName, config_hash, with_values
from meshtune.engine.errors import NumericsError
from meshtune.engine.methods.rules import Bank, Gate, Method
from meshtune.engine.records import RoundRecord
from meshtune.engine.reproduce.arms import SWEEP_SEED, Arm, arm_config
from meshtune.engine.reproduce.results import (
    RunResult,
    load_results,
    median_message_bits,
    milestones,
    store_result,
)
from meshtune.engine.simulate import Check, simulate
from meshtune.engine.world import State, World, build_world, initial_state, provenance

Play = Callable[[RunConfig, Check], RunResult]
Watch = Callable[["Job", float], None]  # the job at hand and the number of jobs done


@dataclass(frozen=True)
class Job:
    """One run that the comparison needs."""

    arm: Arm
    config: RunConfig


def nobody_watches(job: Job, done: float) -> None:
    """The `watch` of runs without an audience."""


def comparison_jobs(arms: Iterable[Arm], base: RunConfig, seeds: int) -> list[Job]:
    """Every arm with seeds 0 to `seeds` - 1; seed by seed, so that a stop leaves whole seeds."""
    arms = tuple(arms)
    return [Job(arm, arm_config(base, arm, seed)) for seed in range(seeds) for arm in arms]


def sweep_jobs(arms: Iterable[Arm], base: RunConfig) -> list[Job]:
    """Every arm at each of its learning rates, with one seed that no comparison uses."""
    return [
        Job(arm, with_values(arm_config(base, arm, SWEEP_SEED), {"training.learning_rate": rate}))
        for arm in arms
        for rate in arm.learning_rates
    ]


def finished_jobs(
    jobs: Sequence[Job], folder: Path, play: Play, watch: Watch = nobody_watches
) -> list[RunResult]:
    """The results of all jobs, in order: those in `folder`, and the others after playing them.

    A stored result counts if its config is the one that is wanted now, up to the last field;
    results of other configs stay in the file and are ignored.

    Args:
        jobs: What is wanted.
        folder: Where results are kept.
        play: Computes one run.
        watch: Called with the job at hand and the number of jobs that are done, in parts.
    """
    stored = {(found.arm, found.seed, found.config_hash): found for found in load_results(folder)}
    results = []
    for done, job in enumerate(jobs):
        key = (job.arm.name, job.config.seed, config_hash(job.config))
        if key not in stored:
            watch(job, float(done))
            stored[key] = play(job.config, _share_of_all(watch, job, done))
            store_result(folder, stored[key])
        results.append(stored[key])
    return results


def play_run(config: RunConfig, check: Check) -> RunResult:
    """Simulate one run to its end, or to where it diverges.

    Args:
        config: The run; its name is the arm's.
        check: Called often with the share of the run that is done; ends the run by raising.
    """
    began = time.monotonic()
    world = build_world(config)
    state = initial_state(world)
    untrained = untrained_accuracy(world, state)
    records: list[RoundRecord] = []
    diverged = False
    try:
        for after, record in simulate(
            world, state, check=lambda share: check((len(records) + share) / config.rounds)
        ):
            state = after
            records.append(record)
    except NumericsError:
        diverged = True
    return RunResult(
        arm=config.name,
        seed=config.seed,
        config_hash=config_hash(config),
        learning_rate=config.training.learning_rate,
        rounds=len(records),
        diverged=diverged,
        milestones=milestones(records, untrained),
        bits=sum(record.sent_bits for record in records),
        airtime_s=sum(record.airtime_s for record in records),
        energy_j=sum(record.energy_j for record in records),
        trained_values=trained_values(world.method, state) if records else 0,
        message_bits=median_message_bits(records),
        wall_s=time.monotonic() - began,
        provenance=provenance(world),
    )


def untrained_accuracy(world: World, state: State) -> dict[TaskName, float]:
    """Accuracy per task of the model before the first round, when every device answers alike."""
    one = select(state.adapters, [0])
    first = torch.zeros(1, 1, dtype=torch.int64)
    bank = Bank(one, first, first[0], Gate(), {})
    shares = evaluate(world.backbone, bank, world.exam, world.rule.scaling).accuracy[0]
    return dict(zip(world.tasks, shares.tolist(), strict=True))


def trained_values(method: Method, state: State) -> int:
    """Values that a device trains, mean over devices."""
    counts = parameters_trained(state.adapters, method.masks(state.memory), method.trained)
    return round(float(counts.mean()))


def _share_of_all(watch: Watch, job: Job, done: int) -> Check:
    return lambda share: watch(job, done + share)
