"""The paper's claims as data, and what the runs say to each.

A claim names a quantity per seed, the size that the paper gives it, and a floor. With the 95 %
interval of the quantity over seeds:

- holds: the whole interval lies above the floor and at or above the size;
- holds in part: the whole interval lies above the floor, but not at or above the size;
- does not hold here: the interval touches the floor, or a run never gets where it should;
- not measured: an arm is missing, or one seed gives no interval.

The floor is 0 (no effect) unless the claim is that two arms are close. Where the paper gives a
direction and no size, the size is 0, and such a claim either holds or does not. Shares that the
paper prints in whole percent are met by what rounds to them: 73 % starts at 0.725.
"""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from meshtune.engine.reproduce.arms import CONVERGED, PROPOSED, REFERENCE
from meshtune.engine.reproduce.results import Results
from meshtune.engine.reproduce.statistics import Estimate, differences, estimate
from meshtune.engine.reproduce.summary import (
    accuracies,
    accuracy_gain,
    bits_savings,
    converged_savings,
    equal_bits,
    message_savings,
    trained_savings,
)

Quantity = Callable[[Results], Mapping[int, float | None]]
BEFORE_EXCHANGE = "accuracy_own_before_exchange"


class Verdict(StrEnum):
    """What the runs say to a claim."""

    HOLDS = "holds"
    IN_PART = "holds in part"
    FAILS = "does not hold here"
    UNKNOWN = "not measured"


@dataclass(frozen=True)
class Claim:
    """One sentence of the paper that runs can decide.

    Attributes:
        name: Short, for tables.
        text: The claim.
        paper: What the paper prints for it.
        quantity: Its measure per seed; None for a seed in which it was never reached.
        size: Smallest value that meets the claim.
        floor: Largest value that speaks against it.
        unit: "share", or "points" for a difference of accuracies.
        exact: Whether the quantity is a count that no seed changes, so that one seed is enough.
    """

    name: str
    text: str
    paper: str
    quantity: Quantity
    size: float
    floor: float = 0.0
    unit: Literal["share", "points"] = "points"
    exact: bool = False


@dataclass(frozen=True)
class Judgement:
    """A claim, what was measured for it, and the verdict."""

    claim: Claim
    measured: Estimate | None
    verdict: Verdict
    why: str = ""


def judged(claim: Claim, results: Results) -> Judgement:
    """The verdict on `claim`, by the rules at the top of this file."""
    values = claim.quantity(results)
    if not values:
        return Judgement(claim, None, Verdict.UNKNOWN, "no runs to compare")
    reached = [value for value in values.values() if value is not None]
    if len(reached) < len(values):
        never = len(values) - len(reached)
        return Judgement(
            claim, None, Verdict.FAILS, f"never reached in {never} of {len(values)} seeds"
        )
    measured = estimate(reached)
    if measured.half_width is None and claim.exact:
        measured = Estimate(measured.mean, 0.0, 1)
    if measured.low is None:
        return Judgement(claim, measured, Verdict.UNKNOWN, "one seed gives no interval")
    return Judgement(claim, measured, verdict_of(measured.low, claim.size, claim.floor))


def verdict_of(low: float, size: float, floor: float = 0.0) -> Verdict:
    """Verdict from the lower end of the interval."""
    if low <= floor:
        return Verdict.FAILS
    return Verdict.HOLDS if low >= size else Verdict.IN_PART


def exchange_loss(results: Results, arm: str) -> dict[int, float]:
    """How much of its own task an exchange makes a device forget, per seed.

    Mean over evaluated rounds of own accuracy before the exchange less own accuracy after it.
    """
    losses = {}
    for seed, run in results.get(arm, {}).items():
        drops = [
            point.extra[BEFORE_EXCHANGE] - point.accuracy_own
            for point in run.milestones
            if BEFORE_EXCHANGE in point.extra and point.accuracy_own is not None
        ]
        if drops:
            losses[seed] = statistics.fmean(drops)
    return losses


def _gain(arm: str, other: str) -> Quantity:
    return lambda results: accuracy_gain(results, arm, other)


def _spared(dense: str, sparse: str) -> Quantity:
    return lambda results: differences(
        exchange_loss(results, dense), exchange_loss(results, sparse)
    )


def _gain_at_equal_bits(results: Results, arm: str) -> dict[int, float]:
    reference = equal_bits(results, arm)
    known = {seed: share for seed, share in reference.items() if share is not None}
    return differences(accuracies(results, arm), known)


def _gain_over_best(arm: str, others: tuple[str, ...]) -> Quantity:
    def quantity(results: Results) -> Mapping[int, float]:
        present = [other for other in others if accuracies(results, other)]
        if not present:
            return {}
        best = max(present, key=lambda o: statistics.fmean(accuracies(results, o).values()))
        return accuracy_gain(results, arm, best)

    return quantity


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "parameters",
        "A device trains 73 % fewer parameters than with LoRA.",
        "73.1 % (Table I, 1.5B); 76.0 % (7B)",
        lambda results: trained_savings(results, PROPOSED),
        size=0.725,
        unit="share",
        exact=True,
    ),
    Claim(
        "communication",
        "73 % less communication than LoRA: bits on air at equal rounds, everything counted.",
        "73 % (abstract)",
        lambda results: bits_savings(results, PROPOSED),
        size=0.725,
        unit="share",
    ),
    Claim(
        "communication, per link",
        "73 % less communication over one link: the median message, whatever the mesh.",
        "73 % (abstract)",
        lambda results: message_savings(results, PROPOSED),
        size=0.725,
        unit="share",
        exact=True,
    ),
    Claim(
        "communication, half sent",
        "86 % less communication when half of the trained entries are sent.",
        "86.6 % (Table I, 1.5B); 88.0 % (7B)",
        lambda results: bits_savings(results, "so_lora_quarter"),
        size=0.855,
        unit="share",
    ),
    Claim(
        "bits to converge",
        "LoRA's converged accuracy with 73 % fewer bits on air.",
        "our reading of the abstract; the paper counts no rounds",
        lambda results: converged_savings(results, "so_lora_long"),
        size=0.725,
        unit="share",
    ),
    Claim(
        "accuracy",
        "Mean multi-task accuracy is 5 points above LoRA's at equal rounds.",
        "5 % (abstract); +4.2 points (7B), +10.0 (1.5B)",
        _gain(PROPOSED, REFERENCE),
        size=0.05,
    ),
    Claim(
        "accuracy, converged",
        "Accuracy is above LoRA's as well when both have three times the rounds.",
        "not stated; the paper counts no rounds",
        _gain("so_lora_long", CONVERGED),
        size=0.0,
    ),
    Claim(
        "accuracy, equal bits",
        "Accuracy is 5 points above LoRA's after as many bits on air.",
        "our reading of the abstract; the paper counts no rounds",
        lambda results: _gain_at_equal_bits(results, PROPOSED),
        size=0.05,
    ),
    Claim(
        "LoRI",
        "Accuracy is above LoRI's, the better of LoRI-D and LoRI-S.",
        "+2.8 points (1.5B), +3.0 (7B)",
        _gain_over_best(PROPOSED, ("lori_d", "lori_s")),
        size=0.028,
    ),
    Claim(
        "clusters",
        "Clusters beat the single cluster (mode repaired, where clusters share B as in the paper).",
        "+1.6 points (1.5B), +1.4 (7B)",
        _gain("so_lora_paper", "single_cluster"),
        size=0.014,
    ),
    Claim(
        "clusters, stack",
        "Clusters beat a random mesh where experts stay apart (mode stack).",
        "no figure",
        _gain(PROPOSED, "no_clusters"),
        size=0.0,
    ),
    Claim(
        "oracle experts",
        "Accuracy is as close to full experts that an oracle picks; in part: at most twice as far.",
        "-2.9 points (1.5B), -3.2 (7B)",
        _gain(PROPOSED, "oracle_experts"),
        size=-0.032,
        floor=-0.064,
    ),
    Claim(
        "full fine-tuning",
        "Accuracy is above that of merged full fine-tuning.",
        "+1.1 points (1.5B), +0.8 (7B)",
        _gain(PROPOSED, "full_gossip"),
        size=0.008,
    ),
    Claim(
        "forgetting",
        "An exchange makes a device forget less of its own task than with LoRA.",
        "no figure",
        _spared(REFERENCE, PROPOSED),
        size=0.0,
    ),
    Claim(
        "orthogonality",
        "Experts with an A of their own beat one A for all tasks (no clusters in either).",
        "no figure",
        _gain("no_clusters", "a_common"),
        size=0.0,
    ),
    Claim(
        "orthogonality, exact",
        "Exactly orthogonal A beats Gaussian A, which is only nearly so.",
        "no figure",
        _gain(PROPOSED, "a_task"),
        size=0.0,
    ),
    Claim(
        "sparsity",
        "Sparse B forgets less of the own task at an exchange than dense B.",
        "no figure",
        _spared("dense", PROPOSED),
        size=0.0,
    ),
    Claim(
        "sparsity, shared B",
        "The same where tasks share B: LoRI-S forgets less at an exchange than LoRI-D.",
        "no figure",
        _spared("lori_d", "lori_s"),
        size=0.0,
    ),
    Claim(
        "gate",
        "The implicit mixture of experts beats adding all experts up.",
        "no figure",
        _gain(PROPOSED, "no_gate"),
        size=0.0,
    ),
)


def judgements(results: Results) -> list[Judgement]:
    """Every claim with its verdict."""
    return [judged(claim, results) for claim in CLAIMS]
