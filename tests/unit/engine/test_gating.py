"""Gates against their definitions, one expert and one input at a time."""

from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from meshtune.engine.adapters.stack import Adapters
from meshtune.engine.answering.gating import (
    BY_INPUT,
    arrow_directions,
    blended,
    centred_cosines,
    entropies,
    hard_weights,
    log_densities,
    projection_norms,
    score_of,
    soft_weights,
    subspace_shares,
)
from meshtune.engine.methods.gates import GateName
from meshtune.engine.methods.rules import Gate
from meshtune.engine.methods.shared.signatures import signatures
from tests.support.gates import slow_score, slow_weights

EXPERTS, RANK, WIDTH, OUT, PROMPTS = 4, 3, 20, 11, 12


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def drawn_experts() -> Adapters:
    return Adapters(
        {"m": drawn(EXPERTS, RANK, WIDTH, seed=1)}, {"m": drawn(EXPERTS, OUT, RANK, seed=2)}
    )


@pytest.mark.parametrize("kind", sorted(BY_INPUT))
def test_every_score_is_its_definition(kind):
    prompts = drawn(EXPERTS, PROMPTS, WIDTH, seed=3) + 3 * drawn(EXPERTS, 1, WIDTH, seed=4) + 20
    told, experts = signatures(kind, {"m": prompts}), drawn_experts()
    inputs = prompts[:, :2].flatten(0, 1) + drawn(2 * EXPERTS, WIDTH, seed=5)
    scores = score_of(kind, "m", experts, told)(inputs)
    expected = torch.tensor([slow_score(kind, x, "m", experts, told) for x in inputs])
    assert_close(scores, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["none", "oracle", "prompt_loss", "single"])
def test_a_gate_that_judges_no_inputs_says_so(kind):
    with pytest.raises(ValueError, match=kind):
        score_of(kind, "m", drawn_experts(), {})


@pytest.mark.parametrize("blend", ["hard", "soft"])
@pytest.mark.parametrize("kind", get_args(GateName))
def test_weights_are_in_the_unit_interval_and_the_best_is_at_full_strength(kind, blend):
    gate, scores = Gate(kind, blend=blend), drawn(30, EXPERTS) + 0.5
    weights = blended(gate, scores)
    assert weights.max(dim=1).values.tolist() == [1.0] * 30
    assert (weights >= 0).all()
    for row, given in zip(weights.tolist(), scores.tolist(), strict=True):
        if max(given) > 0 or kind in ("gaussian", "prompt_loss") or blend == "hard":
            assert row == pytest.approx(slow_weights(gate, given), abs=1e-6)


def test_ties_go_to_the_first():
    assert hard_weights(torch.tensor([[1.0, 2.0, 2.0]])).tolist() == [[0, 1, 0]]


def test_where_no_score_is_positive_the_best_expert_answers_alone():
    weights = soft_weights(Gate("prototype"), torch.tensor([[-0.3, -0.1, -0.2], [0.0, 0.0, 0.0]]))
    assert weights.tolist() == [[0, 1, 0], [1, 0, 0]]


def test_one_expert_takes_every_prompt_at_full_strength():
    scores = centred_cosines(drawn(3, 4), drawn(1, 4))
    for blend in ("hard", "soft"):
        assert blended(Gate("prototype", blend=blend), scores).tolist() == [[1.0]] * 3


def test_each_prototype_is_nearest_to_itself():
    prototypes = drawn(5, 12)
    assert centred_cosines(prototypes, prototypes).argmax(dim=1).tolist() == [0, 1, 2, 3, 4]


def test_at_a_mean_the_subspace_share_is_one_and_the_density_the_highest():
    means = drawn(EXPERTS, WIDTH) + 50
    bases = torch.linalg.qr(drawn(EXPERTS, WIDTH, 2, seed=1)).Q.mT.contiguous()
    assert_close(subspace_shares(means, means, bases).diag(), torch.ones(EXPERTS))
    density = log_densities(means, means, drawn(EXPERTS, WIDTH, seed=2).square())
    assert density.argmax(dim=1).tolist() == list(range(EXPERTS))
    assert not density.diag().any()


def test_an_arrow_is_the_direction_that_its_expert_amplifies_most():
    experts = drawn_experts()
    a, b = experts.a["m"], experts.b["m"]
    directions = arrow_directions(a, b)
    for k in range(EXPERTS):
        _, size, rows = torch.linalg.svd(b[k] @ a[k])
        assert_close((b[k] @ a[k] @ directions[k]).norm(), size[0])
        assert abs(float(rows[0] @ directions[k])) == pytest.approx(1.0, abs=1e-5)


def test_entropy_is_zero_for_one_expert_and_log_k_for_all():
    weights = torch.tensor([[0.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [1.0, 0.5, 0.5, 0.0]])
    expected = [
        0.0,
        torch.tensor(4.0).log(),
        0.5 * torch.tensor(2.0).log() + 0.5 * torch.tensor(4.0).log(),
    ]
    assert_close(entropies(weights), torch.tensor(expected))


# Defects of the paper's equations (spec E9, E10): why the default gate is what it is.


def routed_right(scores: Tensor, right: Tensor) -> float:
    return float((scores.argmax(dim=1) == right).float().mean())


def test_e9_a_random_projection_does_not_route_but_prototypes_do():
    """The norm of A_k x says nothing of the task if A_k is random: near the chance of 1 / 8."""
    tasks, width, each = 8, 64, 200
    means = drawn(tasks, width, seed=1)
    right = torch.arange(tasks).repeat(each)
    x = means[right] + 0.5 * drawn(tasks * each, width, seed=2)
    rates = [
        routed_right(projection_norms(x, drawn(tasks, 8, width, seed=seed)), right)
        for seed in range(10, 30)
    ]
    assert sum(rates) / len(rates) == pytest.approx(1 / tasks, abs=0.08)
    assert routed_right(centred_cosines(x, means), right) > 0.99


def test_e10_a_common_mean_makes_plain_cosines_alike_and_centred_ones_not():
    """With a soft gate every expert then answers at nearly full strength: isolation is lost."""
    tasks, width, each = 4, 64, 50
    means = drawn(tasks, width, seed=1) + 40
    right = torch.arange(tasks).repeat(each)
    x = means[right] + 0.3 * drawn(tasks * each, width, seed=2)
    plain = torch.nn.functional.cosine_similarity(x[:, None], means[None], dim=2)
    gate = Gate("prototype", blend="soft")
    wrong = torch.nn.functional.one_hot(right, tasks) == 0
    assert soft_weights(gate, plain)[wrong].min() > 0.99
    centred = centred_cosines(x, means)
    assert soft_weights(gate, centred)[wrong].mean() < 0.1
    assert routed_right(centred, right) > 0.99


def test_moving_everything_by_a_common_mean_changes_no_centred_score():
    x, means, variances = drawn(9, 16), drawn(4, 16, seed=1), drawn(4, 16, seed=2).square()
    bases = torch.linalg.qr(drawn(4, 16, 3, seed=3)).Q.mT.contiguous()
    for score in (
        lambda x, h: centred_cosines(x, h),
        lambda x, h: subspace_shares(x, h, bases),
        lambda x, h: log_densities(x, h, variances),
    ):
        assert_close(score(x + 40, means + 40), score(x, means), rtol=1e-3, atol=1e-3)
