"""What the runs of one arm say together, and beside the reference."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from meshtune.engine.config import TaskName
from meshtune.engine.reproduce.arms import ARMS, CONVERGED, REFERENCE, Arm
from meshtune.engine.reproduce.results import Results, RunResult
from meshtune.engine.reproduce.statistics import (
    Estimate,
    accuracy_at,
    bits_to_reach,
    differences,
    estimate,
    reductions,
)


@dataclass(frozen=True)
class Summary:
    """One arm over its seeds. Accuracies are shares; costs are means over seeds.

    Attributes:
        arm: Which.
        seeds: Finished ones.
        diverged: How many of them left the finite numbers; they count as accuracy 0.
        accuracy: Mean over devices and tasks.
        own: Mean over devices, each on its own task.
        task_accuracy: Mean over devices, per task.
        difference: Accuracy less that of the reference, paired by seed; None without pairs.
        learning_rate: What the runs used.
        rounds: What the runs lasted.
        trained_values: Per device.
        message_bits: Median message.
        bits_per_round: On air, sum over all links.
        airtime_s_per_round: What a round waits for.
        energy_j_per_round: All devices.
        trained_reduction: Trained values against the reference; None without it.
        bits_reduction: Bits per round against the reference.
        reference_at_equal_bits: Accuracy that the reference has after as many bits as these runs.
        bits_to_converged: Bits until the accuracy with which the converged reference ends; None
            if one seed never gets there.
        bits_to_converged_reduction: The same against what the reference needs for it.
        diagnostics: Of the last evaluated round, mean over seeds, and `forgetting_all_tasks`.
        curve: Rounds done, bits on air and accuracy at every evaluation.
    """

    arm: Arm
    seeds: tuple[int, ...]
    diverged: int
    accuracy: Estimate
    own: Estimate | None
    task_accuracy: dict[TaskName, float]
    difference: Estimate | None
    learning_rate: float
    rounds: int
    trained_values: float
    message_bits: float
    bits_per_round: float
    airtime_s_per_round: float
    energy_j_per_round: float
    trained_reduction: Estimate | None
    bits_reduction: Estimate | None
    reference_at_equal_bits: Estimate | None
    bits_to_converged: float | None
    bits_to_converged_reduction: Estimate | None
    diagnostics: dict[str, float]
    curve: list[tuple[int, float, float]]


def summaries(results: Results) -> list[Summary]:
    """One summary per arm that has results, in the order of the table."""
    return [summary(arm, results) for arm in ARMS if results.get(arm.name)]


def summary(arm: Arm, results: Results) -> Summary:
    """What all finished runs of `arm` say."""
    runs = [run for _, run in sorted(results[arm.name].items())]
    own = [run.milestones[-1].accuracy_own for run in runs]
    savings = converged_savings(results, arm.name)
    needed = bits_until_converged(results, arm.name)
    reached = [bits for bits in needed.values() if bits is not None]
    at_equal_bits = [share for share in equal_bits(results, arm.name).values() if share is not None]
    whole = len(reached) == len(needed) == len(runs)
    return Summary(
        arm=arm,
        seeds=tuple(run.seed for run in runs),
        diverged=sum(run.diverged for run in runs),
        accuracy=estimate([run.accuracy for run in runs]),
        own=estimate([share for share in own if share is not None]) if any(own) else None,
        task_accuracy={
            task: statistics.fmean(run.task_accuracy[task] for run in runs)
            for task in runs[0].task_accuracy
        },
        difference=_estimate(accuracy_gain(results, arm.name, REFERENCE)),
        learning_rate=runs[0].learning_rate,
        rounds=max(run.rounds for run in runs),
        trained_values=statistics.fmean(run.trained_values for run in runs),
        message_bits=statistics.fmean(run.message_bits for run in runs),
        bits_per_round=statistics.fmean(_bits_per_round(run) for run in runs),
        airtime_s_per_round=statistics.fmean(_per_round(run, run.airtime_s) for run in runs),
        energy_j_per_round=statistics.fmean(_per_round(run, run.energy_j) for run in runs),
        trained_reduction=_estimate(trained_savings(results, arm.name)),
        bits_reduction=_estimate(bits_savings(results, arm.name)),
        reference_at_equal_bits=(
            estimate(at_equal_bits) if len(at_equal_bits) == len(runs) else None
        ),
        bits_to_converged=statistics.fmean(reached) if whole else None,
        bits_to_converged_reduction=(
            estimate([share for share in savings.values() if share is not None])
            if whole and savings
            else None
        ),
        diagnostics=diagnostics(runs),
        curve=mean_curve(runs),
    )


def diagnostics(runs: Sequence[RunResult]) -> dict[str, float]:
    """Every diagnostic of the last evaluated round that all runs have, mean over runs.

    With `forgetting_all_tasks`: best accuracy so far less the accuracy at the end, mean over tasks
    of the mean over devices.
    """
    last = [
        {**run.milestones[-1].extra, "forgetting_all_tasks": forgetting_all_tasks(run)}
        for run in runs
    ]
    shared = [key for key in last[0] if all(key in extra for extra in last)]
    return {key: statistics.fmean(extra[key] for extra in last) for key in shared}


def forgetting_all_tasks(run: RunResult) -> float:
    """Best accuracy of a task so far less its accuracy at the end, mean over tasks.

    Not the forgetting of a screen (M13), which is each device's on its own task.
    """
    end = run.milestones[-1].accuracy
    return statistics.fmean(
        max(point.accuracy[task] for point in run.milestones) - end[task] for task in end
    )


def pareto_front(lines: Sequence[Summary]) -> frozenset[str]:
    """Names of the contenders that no other contender beats in both accuracy and bits.

    An arm is beaten by one that is as accurate with as few bits, and better in one of the two.
    """
    points = {
        line.arm.name: (line.accuracy.mean, -line.bits_per_round * line.rounds)
        for line in lines
        if not line.arm.bound
    }
    return frozenset(
        name
        for name, (accuracy, thrift) in points.items()
        if not any(
            other != (accuracy, thrift) and other[0] >= accuracy and other[1] >= thrift
            for other in points.values()
        )
    )


def mean_curve(runs: Sequence[RunResult]) -> list[tuple[int, float, float]]:
    """Rounds done, bits on air and accuracy at every evaluation that all runs have, mean."""
    by_round = [{point.rounds_done: point for point in run.milestones} for run in runs]
    shared = [done for done in by_round[0] if all(done in points for points in by_round)]
    return [
        (
            done,
            statistics.fmean(points[done].bits for points in by_round),
            statistics.fmean(points[done].accuracy_all for points in by_round),
        )
        for done in shared
    ]


def accuracies(results: Results, arm: str) -> dict[int, float]:
    """Mean multi-task accuracy at the end, per seed; empty for an arm without runs."""
    return {seed: run.accuracy for seed, run in results.get(arm, {}).items()}


def accuracy_gain(results: Results, arm: str, other: str) -> dict[int, float]:
    """Accuracy of `arm` less that of `other`, per seed that both have."""
    return differences(accuracies(results, arm), accuracies(results, other))


def trained_savings(results: Results, arm: str) -> dict[int, float]:
    """1 - trained values / trained values of the reference, per seed."""
    return reductions(*(_each(results, name, _trained) for name in (arm, REFERENCE)))


def bits_savings(results: Results, arm: str) -> dict[int, float]:
    """1 - bits per round / bits per round of the reference, per seed.

    Shorter messages and fewer links both count.
    """
    return reductions(*(_each(results, name, _bits_per_round) for name in (arm, REFERENCE)))


def message_savings(results: Results, arm: str) -> dict[int, float]:
    """1 - median message / median message of the reference, per seed: links do not count."""
    return reductions(*(_each(results, name, _message) for name in (arm, REFERENCE)))


def equal_bits(results: Results, arm: str) -> dict[int, float | None]:
    """Accuracy of the reference after as many bits as `arm` spent, per seed.

    Read off the converged reference where it ran, as it goes further.
    """
    reference = results.get(CONVERGED) or results.get(REFERENCE) or {}
    return {
        seed: accuracy_at(reference[seed].curve, float(run.bits))
        for seed, run in results.get(arm, {}).items()
        if seed in reference
    }


def bits_until_converged(results: Results, arm: str) -> dict[int, float | None]:
    """Bits of `arm` until it first has the final accuracy of the converged reference, per seed."""
    converged = results.get(CONVERGED, {})
    return {
        seed: bits_to_reach(run.curve, converged[seed].accuracy)
        for seed, run in results.get(arm, {}).items()
        if seed in converged
    }


def converged_savings(results: Results, arm: str) -> dict[int, float | None]:
    """1 - bits of `arm` / bits of the converged reference, both until its final accuracy.

    None for a seed in which `arm` never gets there. The reference is charged only up to where it
    first has that accuracy, not for the rounds after.
    """
    needed = bits_until_converged(results, arm)
    theirs = bits_until_converged(results, CONVERGED)
    return {
        seed: None if bits is None else 1.0 - bits / reference
        for seed, bits in needed.items()
        if (reference := theirs[seed])
    }


def _per_round(run: RunResult, value: float) -> float:
    return value / run.rounds if run.rounds else 0.0


def _trained(run: RunResult) -> float:
    return float(run.trained_values)


def _bits_per_round(run: RunResult) -> float:
    return _per_round(run, float(run.bits))


def _message(run: RunResult) -> float:
    return run.message_bits


def _each(results: Results, arm: str, measure: Callable[[RunResult], float]) -> dict[int, float]:
    return {seed: measure(run) for seed, run in results.get(arm, {}).items()}


def _estimate(by_seed: dict[int, float]) -> Estimate | None:
    return estimate(list(by_seed.values())) if by_seed else None
