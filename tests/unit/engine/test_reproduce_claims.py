"""Verdicts on made-up numbers."""

from collections.abc import Mapping

import pytest

from meshtune.engine.reproduce.arms import ARMS
from meshtune.engine.reproduce.claims import (
    CLAIMS,
    Claim,
    Verdict,
    exchange_loss,
    judged,
    judgements,
    verdict_of,
)
from meshtune.engine.reproduce.results import Results, RunResult, by_arm
from tests.support.campaigns import run_result


def claim(values: Mapping[int, float | None], size: float, **fields: object) -> Claim:
    return Claim("made up", "text", "paper", lambda _: values, size, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("low", "size", "floor", "verdict"),
    [
        (0.06, 0.05, 0.0, Verdict.HOLDS),
        (0.05, 0.05, 0.0, Verdict.HOLDS),
        (0.04, 0.05, 0.0, Verdict.IN_PART),
        (0.0, 0.05, 0.0, Verdict.FAILS),
        (-0.01, 0.05, 0.0, Verdict.FAILS),
        (0.01, 0.0, 0.0, Verdict.HOLDS),
        (0.0, 0.0, 0.0, Verdict.FAILS),
        (-0.02, -0.03, -0.06, Verdict.HOLDS),
        (-0.05, -0.03, -0.06, Verdict.IN_PART),
        (-0.07, -0.03, -0.06, Verdict.FAILS),
    ],
)
def test_the_verdict_follows_from_the_lower_end(
    low: float, size: float, floor: float, verdict: Verdict
) -> None:
    assert verdict_of(low, size, floor) is verdict


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({0: 0.09, 1: 0.10, 2: 0.11}, Verdict.HOLDS),  # 0.10 +- 0.025
        ({0: 0.05, 1: 0.06, 2: 0.07}, Verdict.IN_PART),  # 0.06 +- 0.025
        ({0: 0.01, 1: 0.06, 2: 0.11}, Verdict.FAILS),  # 0.06 +- 0.124: the interval touches 0
        ({0: -0.09, 1: -0.10, 2: -0.11}, Verdict.FAILS),
        ({}, Verdict.UNKNOWN),
        ({0: 0.2}, Verdict.UNKNOWN),
    ],
)
def test_the_interval_decides_and_not_the_mean(
    values: dict[int, float | None], verdict: Verdict
) -> None:
    assert judged(claim(values, 0.05), {}).verdict is verdict


def test_a_count_that_no_seed_changes_needs_one_seed() -> None:
    assert judged(claim({0: 0.73}, 0.725, exact=True), {}).verdict is Verdict.HOLDS


def test_what_is_never_reached_in_some_seed_does_not_hold() -> None:
    found = judged(claim({0: 0.9, 1: None, 2: 0.9}, 0.5), {})
    assert found.verdict is Verdict.FAILS
    assert found.measured is None
    assert found.why == "never reached in 1 of 3 seeds"


def campaign(**arms: list[RunResult]) -> Results:
    return by_arm(run for runs in arms.values() for run in runs)


def three(arm: str, *points: tuple[int, float], **fields: object) -> list[RunResult]:
    """Three seeds that differ by half a point of accuracy."""
    return [
        run_result(
            arm,
            seed,
            [(bits, accuracy + 0.005 * seed) for bits, accuracy in points],
            **fields,  # type: ignore[arg-type]
        )
        for seed in range(3)
    ]


PAPER_LIKE = campaign(
    lora=three("lora", (0, 0.1), (500, 0.3), (1000, 0.5), trained_values=1000, losses=[0.2, 0.21]),
    long=three("lora_long", (0, 0.1), (1000, 0.5), (3000, 0.7), trained_values=1000),
    so=three("so_lora", (0, 0.1), (135, 0.6), (270, 0.8), trained_values=269, losses=[0.0, 0.01]),
    quarter=three("so_lora_quarter", (0, 0.1), (140, 0.7), trained_values=269),
    so_long=three("so_lora_long", (0, 0.1), (135, 0.6), (270, 0.8)),
    repaired=three("so_lora_paper", (0, 0.1), (270, 0.6)),
    single=three("single_cluster", (0, 0.1), (900, 0.5)),
    random=three("no_clusters", (0, 0.1), (270, 0.75)),
    common=three("a_common", (0, 0.1), (900, 0.6)),
    d=three("lori_d", (0, 0.1), (600, 0.5), losses=[0.3]),
    s=three("lori_s", (0, 0.1), (60, 0.76), losses=[0.1]),
    oracle=three("oracle_experts", (0, 0.1), (9000, 0.85)),
    full=three("full_gossip", (0, 0.1), (9000, 0.81)),
    task=three("a_task", (0, 0.1), (270, 0.8)),
    dense=three("dense", (0, 0.1), (540, 0.85), losses=[0.01]),
    gate=three("no_gate", (0, 0.1), (270, 0.2)),
)


@pytest.mark.parametrize(
    ("name", "measured", "verdict"),
    [
        ("parameters", 1 - 269 / 1000, Verdict.HOLDS),
        ("communication", 0.73, Verdict.HOLDS),
        ("communication, per link", 1 - 269 / 1000, Verdict.HOLDS),
        ("communication, half sent", 1 - 140 / 500, Verdict.IN_PART),
        # 0.7 lies halfway between 0.6 and 0.8: 202.5 of 3000 bits.
        ("bits to converge", 1 - 202.5 / 3000, Verdict.HOLDS),
        ("accuracy", 0.3, Verdict.HOLDS),
        ("accuracy, converged", 0.1, Verdict.HOLDS),
        # LoRA has 0.1 + 0.27 * 0.4 after 270 of its first 1000 bits.
        ("accuracy, equal bits", 0.8 - 0.208, Verdict.HOLDS),
        ("LoRI", 0.04, Verdict.HOLDS),  # against LoRI-S, the better one
        ("clusters", 0.1, Verdict.HOLDS),
        ("clusters, stack", 0.05, Verdict.HOLDS),
        ("oracle experts", -0.05, Verdict.IN_PART),
        ("full fine-tuning", -0.01, Verdict.FAILS),
        ("forgetting", 0.2, Verdict.HOLDS),
        ("orthogonality", 0.15, Verdict.HOLDS),
        ("orthogonality, exact", 0.0, Verdict.FAILS),
        ("sparsity", 0.005, Verdict.HOLDS),
        ("sparsity, shared B", 0.2, Verdict.HOLDS),
        ("gate", 0.6, Verdict.HOLDS),
    ],
)
def test_every_claim_on_a_made_up_campaign(name: str, measured: float, verdict: Verdict) -> None:
    (found,) = [j for j in judgements(PAPER_LIKE) if j.claim.name == name]
    assert found.measured is not None
    assert found.measured.mean == pytest.approx(measured, abs=1e-9)
    assert found.verdict is verdict


def test_the_made_up_campaign_covers_every_claim() -> None:
    assert all(j.verdict is not Verdict.UNKNOWN for j in judgements(PAPER_LIKE))
    assert set(PAPER_LIKE) <= {arm.name for arm in ARMS}
    assert len({c.name for c in CLAIMS}) == len(CLAIMS)


def test_without_runs_nothing_is_measured() -> None:
    assert all(j.verdict is Verdict.UNKNOWN for j in judgements({}))


def test_a_proposed_arm_that_never_gets_to_lora_s_end_saves_no_bits() -> None:
    weak = campaign(
        long=three("lora_long", (0, 0.1), (3000, 0.7)),
        so=three("so_lora_long", (0, 0.1), (270, 0.6)),
    )
    (found,) = [j for j in judgements(weak) if j.claim.name == "bits to converge"]
    assert found.verdict is Verdict.FAILS
    assert "never reached in 3 of 3 seeds" in found.why


def test_the_loss_at_an_exchange_is_the_mean_over_evaluated_rounds() -> None:
    runs = campaign(a=[run_result("lora", 4, [(0, 0.1), (1, 0.2), (2, 0.3)], losses=[0.4, 0.1])])
    assert exchange_loss(runs, "lora") == {4: pytest.approx(0.25)}
    assert exchange_loss(runs, "local") == {}
