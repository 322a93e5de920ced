"""Spectral entropies of the frozen model against a plain SVD, and the budget they share out."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from transformers import LlamaForCausalLM

from meshtune.engine.backbone.llama import backbone_from_llama
from meshtune.engine.backbone.reading import layer_inputs
from meshtune.engine.backbone.spectral import (
    layer_densities,
    spectral_entropies,
    spectral_entropy,
    water_fill,
)
from tests.support.oracles import hook_inputs, random_llama


@pytest.fixture(scope="module")
def llama() -> LlamaForCausalLM:
    return random_llama(kv_heads=2)


def drawn_tokens(*shape: int) -> Tensor:
    return torch.randint(50, shape, generator=torch.Generator().manual_seed(2))


def drawn_prompts() -> tuple[Tensor, Tensor]:
    """Three sequences for each of two devices, with prompts of different lengths."""
    mask = torch.arange(9)[None, None] < torch.tensor([[9, 4, 7], [3, 8, 5]])[..., None]
    mask[:, :, 0] = False
    return drawn_tokens(2, 3, 9), mask


def module_weights(llama: LlamaForCausalLM) -> dict[str, Tensor]:
    return {
        f"layers.{name.split('.')[1]}.{name.split('.')[-1]}": linear.weight.detach()
        for name, linear in llama.model.named_modules()
        if isinstance(linear, torch.nn.Linear)
    }


def weighted_spectrum(weight: Tensor, x: Tensor) -> Tensor:
    """Singular values of W0 C with C = sum over the rows of x, by the definition."""
    x = x.double()
    return torch.linalg.svdvals(weight.double() @ (x.T @ x / len(x)))


def test_layer_inputs_are_those_that_hooks_see(llama: LlamaForCausalLM) -> None:
    tokens = drawn_tokens(4, 9)
    inputs = layer_inputs(backbone_from_llama(llama), tokens)
    expected = hook_inputs(llama, tokens)
    assert list(inputs) == list(backbone_from_llama(llama).shapes)
    for name, value in expected.items():
        assert_close(inputs[name], value, rtol=1e-4, atol=1e-5)
    assert inputs["layers.0.q_proj"] is inputs["layers.0.v_proj"]
    assert inputs["layers.1.gate_proj"] is inputs["layers.1.up_proj"]


@pytest.mark.parametrize("limit", [1, 5, 13, 256])
def test_entropies_are_those_of_a_plain_svd_of_the_published_weights(
    llama: LlamaForCausalLM, limit: int
) -> None:
    tokens, mask = drawn_prompts()
    entropies = spectral_entropies(backbone_from_llama(llama), tokens, mask, limit)
    for device in range(2):
        inputs = hook_inputs(llama, tokens[device])
        for name, weight in module_weights(llama).items():
            rows = inputs[name][mask[device]][:limit]
            p = weighted_spectrum(weight, rows)
            p = p / p.sum()
            expected = -sum(float(q) * math.log(float(q)) for q in p if q > 0)
            assert float(entropies[name][device]) == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_entropy_of_a_device_does_not_depend_on_the_fleet(llama: LlamaForCausalLM) -> None:
    backbone = backbone_from_llama(llama)
    tokens, mask = drawn_prompts()
    together = spectral_entropies(backbone, tokens, mask)
    alone = spectral_entropies(backbone, tokens[1:], mask[1:])
    for name, value in together.items():
        assert_close(value[1:], alone[name])


def test_a_norm_gain_of_zero_is_no_division_by_zero() -> None:
    muted = random_llama()
    with torch.no_grad():
        muted.model.layers[0].input_layernorm.weight[:3] = 0.0
    entropies = spectral_entropies(backbone_from_llama(muted), *drawn_prompts())
    assert all(bool((value > 0).all()) for value in entropies.values())


def test_a_device_without_prompts_has_entropy_zero(llama: LlamaForCausalLM) -> None:
    tokens, mask = drawn_prompts()
    entropies = spectral_entropies(backbone_from_llama(llama), tokens, mask & False)
    assert all(not value.any() for value in entropies.values())


def test_e3_t4_a_covariance_of_one_mean_input_has_no_entropy_in_any_layer(
    llama: LlamaForCausalLM,
) -> None:
    """The paper's Eq. 20 as printed, C = h h^T: one singular value, and nothing to share out."""
    tokens, mask = drawn_prompts()
    inputs = hook_inputs(llama, tokens[0])
    literal = {
        name: spectral_entropy(
            weighted_spectrum(weight, inputs[name][mask[0]].mean(dim=0, keepdim=True))
        ).reshape(1)
        for name, weight in module_weights(llama).items()
    }
    assert all(abs(float(value)) < 1e-9 for value in literal.values())
    repaired = spectral_entropies(backbone_from_llama(llama), tokens, mask)
    assert all(float(value[0]) > 0.5 for value in repaired.values())


def test_e3_without_entropy_every_layer_gets_the_same_number_of_entries() -> None:
    shapes = {"small": (10, 8), "large": (30, 8)}
    nothing = {name: torch.zeros(1) for name in shapes}
    densities = layer_densities(nothing, shapes, 2, 0.25)
    assert_close(densities["small"], torch.tensor([0.5], dtype=torch.float64))
    assert_close(densities["large"], torch.tensor([0.5 / 3], dtype=torch.float64))


def test_entropy_is_zero_for_one_direction_and_log_of_the_rank_for_equal_ones() -> None:
    values = torch.tensor([[5.0, 0.0, 0.0], [2.0, 2.0, 2.0], [0.0, 0.0, 0.0]])
    assert_close(spectral_entropy(values), torch.tensor([0.0, math.log(3), 0.0]))


def test_what_a_full_layer_cannot_take_goes_to_the_others_by_weight() -> None:
    need = torch.log(torch.tensor([[4.0, 2.0, 1.0]], dtype=torch.float64))
    capacity = torch.tensor([3.0, 10.0, 10.0], dtype=torch.float64)
    # 14 split 4:2:1 is 8, 4, 2; the first takes 3, and 11 split 2:1 is 22/3 and 11/3.
    expected = torch.tensor([[3.0, 22 / 3, 11 / 3]], dtype=torch.float64)
    assert_close(water_fill(need, capacity, 14.0), expected)


def test_a_budget_above_the_capacity_fills_every_layer() -> None:
    capacity = torch.tensor([3.0, 10.0], dtype=torch.float64)
    filled = water_fill(torch.tensor([[9.0, 0.0]], dtype=torch.float64), capacity, 99.0)
    assert torch.equal(filled[0], capacity)


def test_e4_the_papers_maximum_would_fill_every_layer_whatever_the_budget() -> None:
    """Eq. 22 as printed: max[budget share, capacity] / capacity is never below 1."""
    need = torch.tensor([[3.0, 2.0]], dtype=torch.float64)
    capacity = torch.tensor([40.0, 60.0], dtype=torch.float64)
    literal = torch.maximum(10.0 * torch.softmax(need, dim=1), capacity) / capacity
    assert (literal >= 1).all()
    assert float(water_fill(need, capacity, 10.0).sum()) == pytest.approx(10.0)


def test_a_high_temperature_evens_the_shares_out_and_a_low_one_sharpens_them() -> None:
    need = torch.tensor([[3.0, 2.0]], dtype=torch.float64)
    capacity = torch.tensor([100.0, 100.0], dtype=torch.float64)
    even = water_fill(need, capacity, 10.0, temperature=1e6)
    assert_close(even, torch.full_like(need, 5.0), rtol=0, atol=1e-4)
    sharp = water_fill(need, capacity, 110.0, temperature=1e-3)
    assert_close(sharp, torch.tensor([[100.0, 10.0]], dtype=torch.float64))


@pytest.mark.parametrize("density", [0.05, 0.25, 0.5, 0.9, 1.0])
def test_t2_densities_have_the_asked_total_and_stay_within_one(density: float) -> None:
    shapes = {"q": (10, 8), "k": (5, 8), "down": (30, 8)}
    generator = torch.Generator().manual_seed(0)
    entropies = {name: 3 * torch.rand(4, generator=generator) for name in shapes}
    densities = layer_densities(entropies, shapes, 2, density)
    sizes = {name: 2 * d_out for name, (d_out, _) in shapes.items()}
    for device in range(4):
        shares = {name: float(value[device]) for name, value in densities.items()}
        assert all(0 <= share <= 1 for share in shares.values())
        total = sum(sizes[name] * share for name, share in shares.items())
        assert total == pytest.approx(density * sum(sizes.values()))
