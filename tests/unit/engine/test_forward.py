"""The batched forward pass against transformers, and its gradient against finite differences."""

import copy
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from meshtune.engine.adapters.stack import Adapters, initial_adapters, module_shapes, select
from meshtune.engine.backbone.base import TopRanks
from meshtune.engine.backbone.experts import forward_experts, largest_kept
from meshtune.engine.backbone.forward import fleet_gradient, fleet_loss, forward
from meshtune.engine.backbone.llama import Llama, backbone_from_llama
from meshtune.engine.backbone.model import fast_precision
from meshtune.engine.backbone.reading import prompt_inputs
from meshtune.engine.errors import ConfigMismatch
from meshtune.engine.methods.rules import Gate
from tests.support.gates import slow_logits
from tests.support.oracles import hook_inputs, peft_model, random_llama

VOCAB = 50


def drawn_adapters(backbone: Llama, devices: int, rank: int = 3) -> Adapters:
    """Adapters with a B that is not zero, so that every term counts."""
    generator = torch.Generator().manual_seed(1)
    fresh = initial_adapters(module_shapes(backbone), devices, rank, generator)
    b = {k: 0.1 * torch.randn(v.shape, generator=generator) for k, v in fresh.b.items()}
    return Adapters(fresh.a, b)


def drawn_tokens(*shape: int) -> Tensor:
    return torch.randint(VOCAB, shape, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module", params=[4, 2], ids=["as many kv heads", "half the kv heads"])
def llama(request: pytest.FixtureRequest) -> Any:
    return random_llama(kv_heads=request.param)


def test_shapes_name_the_seven_modules_of_every_layer_in_network_order(llama: Any) -> None:
    shapes = module_shapes(backbone_from_llama(llama))
    assert [name.split(".")[2] for name in shapes][:7] == [
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    ]  # fmt: skip
    assert len(shapes) == 14
    assert shapes["layers.1.down_proj"] == (32, 80)


def test_without_adapters_the_logits_are_those_of_transformers(llama: Any) -> None:
    tokens = drawn_tokens(3, 2, 9)
    with torch.no_grad():
        expected = llama(tokens.flatten(0, 1)).logits.view(3, 2, 9, VOCAB)
    logits = forward(backbone_from_llama(llama), tokens, None, 1.0)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


def test_each_device_gets_the_logits_that_peft_gives_it_alone(llama: Any) -> None:
    backbone = backbone_from_llama(llama)
    adapters = drawn_adapters(backbone, 3)
    tokens = drawn_tokens(3, 2, 9)
    logits = forward(backbone, tokens, adapters, 2.0)
    for device in range(3):
        alone = peft_model(copy.deepcopy(llama), adapters, device, 2.0).eval()
        with torch.no_grad():
            expected = alone(input_ids=tokens[device]).logits
        torch.testing.assert_close(logits[device], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kinds", [("q_proj", "v_proj"), ("o_proj", "up_proj"), ("down_proj",)])
def test_adapters_may_cover_some_modules_only(llama: Any, kinds: tuple[str, ...]) -> None:
    backbone = backbone_from_llama(llama)
    every = drawn_adapters(backbone, 2)

    def some(factors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: value for name, value in factors.items() if name.endswith(kinds)}

    few = Adapters(some(every.a), some(every.b))
    padded_b = {k: v if k in few.b else torch.zeros_like(v) for k, v in every.b.items()}
    tokens = drawn_tokens(2, 3, 8)
    targets = tokens.roll(-1, dims=-1)
    expected = forward(backbone, tokens, Adapters(every.a, padded_b), 2.0)
    torch.testing.assert_close(forward(backbone, tokens, few, 2.0), expected)
    both = frozenset(("a", "b"))
    _, gradient = fleet_gradient(backbone, tokens, targets, few.a, few.b, 2.0, trained=both)
    _, full = fleet_gradient(backbone, tokens, targets, every.a, padded_b, 2.0, trained=both)
    assert list(gradient["a"]) == list(few.a)
    for factor in ("a", "b"):
        for name, slope in gradient[factor].items():
            torch.testing.assert_close(slope, full[factor][name], rtol=1e-4, atol=1e-6)


def test_padding_on_the_right_changes_nothing(llama: Any) -> None:
    backbone = backbone_from_llama(llama)
    tokens = drawn_tokens(1, 2, 9)
    padded = torch.cat([tokens, torch.zeros(1, 2, 4, dtype=torch.long)], dim=2)
    torch.testing.assert_close(
        forward(backbone, padded, None, 1.0)[:, :, :9], forward(backbone, tokens, None, 1.0)
    )


def test_loss_is_the_mean_over_scored_tokens(llama: Any) -> None:
    backbone = backbone_from_llama(llama)
    adapters = drawn_adapters(backbone, 3)
    tokens = drawn_tokens(3, 2, 9)
    targets = tokens.roll(-1, dims=-1)
    targets[0, :, :5] = -100
    targets[1, 1] = -100
    targets[2] = -100
    loss = fleet_loss(backbone, tokens, targets, adapters.a, adapters.b, 2.0)
    logits = forward(backbone, tokens, adapters, 2.0)
    for device in range(2):
        expected = torch.nn.functional.cross_entropy(
            logits[device].flatten(0, 1), targets[device].flatten()
        )
        torch.testing.assert_close(loss[device], expected)
    assert loss[2] == 0.0


def test_gradient_is_the_slope_of_the_loss() -> None:
    backbone = backbone_from_llama(random_llama(kv_heads=2))
    adapters = drawn_adapters(backbone, 2)
    tokens = drawn_tokens(2, 3, 7)
    targets = tokens.roll(-1, dims=-1)
    targets[0, :, :3] = -100
    _, gradient = fleet_gradient(
        backbone, tokens, targets, adapters.a, adapters.b, 2.0, trained=frozenset(("a", "b"))
    )
    generator = torch.Generator().manual_seed(5)
    for factor, values in (("a", adapters.a), ("b", adapters.b)):
        direction = {
            name: torch.randn(value.shape, generator=generator) / value[0].numel() ** 0.5
            for name, value in values.items()
        }

        def loss_at(step: float, factor: str = factor, to: dict[str, Tensor] = direction) -> Tensor:
            moved = {"a": adapters.a, "b": adapters.b}
            moved[factor] = {name: moved[factor][name] + step * to[name] for name in to}
            return fleet_loss(backbone, tokens, targets, moved["a"], moved["b"], 2.0)

        slope = (loss_at(0.01) - loss_at(-0.01)) / 0.02
        exact = sum(
            (gradient[factor][name] * to).flatten(1).sum(dim=1) for name, to in direction.items()
        )
        # Central differences in float32: the loss is rounded by 4e-7, over a step of 0.02.
        torch.testing.assert_close(slope, exact, rtol=2e-2, atol=1e-4)


def test_experts_are_a_gated_sum_of_low_rank_terms(llama: Any) -> None:
    """Merging sum_k g[k] B_k A_k into the weights of transformers must give the same logits."""
    backbone = backbone_from_llama(llama)
    experts = drawn_adapters(backbone, 3)
    tokens = drawn_tokens(2, 9)
    generator = torch.Generator().manual_seed(6)
    gates = {name: torch.rand(2, 3, generator=generator) for name in module_shapes(backbone)}
    logits = forward_experts(backbone, tokens, experts, gates, 2.0)
    for sequence in range(2):
        merged = copy.deepcopy(llama)
        with torch.no_grad():
            for name, gate in gates.items():
                delta = torch.einsum(
                    "k,kor,kri->oi", gate[sequence], experts.b[name], experts.a[name]
                )
                _, layer, kind = name.split(".")
                block = merged.model.layers[int(layer)]
                linear = getattr(block.self_attn, kind, None) or getattr(block.mlp, kind)
                linear.weight += 2.0 * delta
            expected = merged(tokens[sequence : sequence + 1]).logits[0]
        torch.testing.assert_close(logits[sequence], expected, rtol=1e-4, atol=1e-5)


def test_one_gate_table_serves_all_modules_and_a_hard_gate_picks_one_adapter(llama: Any) -> None:
    backbone = backbone_from_llama(llama)
    experts = drawn_adapters(backbone, 3)
    tokens = drawn_tokens(4, 9)
    choice = torch.tensor([2, 0, 1, 0])
    gates = torch.nn.functional.one_hot(choice, 3).float()
    logits = forward_experts(backbone, tokens, experts, gates, 2.0)
    alone = forward(backbone, tokens[:, None], select(experts, choice), 2.0)[:, 0]
    torch.testing.assert_close(logits, alone, rtol=1e-4, atol=1e-5)


def test_a_function_gates_every_token_by_the_input_that_hooks_see(llama: Any) -> None:
    backbone = backbone_from_llama(llama)
    experts = drawn_adapters(backbone, 3)
    tokens = drawn_tokens(2, 9)
    generator = torch.Generator().manual_seed(6)
    probes = {
        name: torch.randn(3, d_in, generator=generator)
        for name, (_, d_in) in module_shapes(backbone).items()
    }

    def gate(names: tuple[str, ...], x: Tensor) -> dict[str, Tensor]:
        return {name: (x @ probes[name].T).tanh() for name in names}

    logits = forward_experts(backbone, tokens, experts, gate, 2.0)
    for sequence in range(2):
        expected = slow_logits(
            llama,
            tokens[sequence],
            experts,
            lambda name, x: (probes[name] @ x).tanh().tolist(),
            Gate(),
            2.0,
        )
        torch.testing.assert_close(logits[sequence], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("count", "over"), [(4, "all"), (1, "expert"), (9, "all")])
def test_only_the_largest_coordinates_of_the_gated_projections_are_kept(
    llama: Any, count: int, over: Literal["all", "expert"]
) -> None:
    backbone = backbone_from_llama(llama)
    experts = drawn_adapters(backbone, 3)
    tokens = drawn_tokens(1, 9)
    weights = torch.tensor([[1.0, 0.3, 0.6]])
    logits = forward_experts(
        backbone, tokens, experts, weights, 2.0, top_ranks=TopRanks(count, over)
    )
    gate = Gate(top_ranks=count, top_ranks_over=over)
    expected = slow_logits(
        llama, tokens[0], experts, lambda _name, _x: weights[0].tolist(), gate, 2.0
    )
    torch.testing.assert_close(logits[0], expected, rtol=1e-4, atol=1e-5)


def test_of_equal_coordinates_the_first_are_kept() -> None:
    z = torch.tensor([[1.0, -3.0, 2.0, -2.0, 2.0], [0.0, 0.0, 0.0, 0.0, 1.0]])
    assert largest_kept(z, 3).tolist() == [[0, -3, 2, -2, 0], [0, 0, 0, 0, 1]]
    assert largest_kept(z, 5) is z


def test_logits_may_be_asked_for_at_some_places_only(llama: Any) -> None:
    backbone = backbone_from_llama(llama)
    adapters = drawn_adapters(backbone, 3)
    tokens = drawn_tokens(3, 2, 9)
    places = torch.tensor([[[1, 8], [4, 4]], [[0, 3], [2, 7]], [[8, 0], [5, 6]]])
    every = forward(backbone, tokens, adapters, 2.0)
    wanted = every.gather(2, places[..., None].expand(-1, -1, -1, VOCAB))
    some = forward(backbone, tokens, adapters, 2.0, places)
    torch.testing.assert_close(some, wanted, rtol=1e-5, atol=1e-5)
    gates = torch.rand(2, 3, generator=torch.Generator().manual_seed(6))

    def function(names: tuple[str, ...], _x: Tensor) -> dict[str, Tensor]:
        return dict.fromkeys(names, gates.repeat(9, 1))

    for given in (gates, function):
        mixed = forward_experts(backbone, tokens[1], adapters, given, 2.0)
        few = forward_experts(backbone, tokens[1], adapters, given, 2.0, places=places[1])
        expected = mixed.gather(1, places[1][..., None].expand(-1, -1, VOCAB))
        torch.testing.assert_close(few, expected, rtol=1e-5, atol=1e-5)


def test_prompt_inputs_are_the_means_that_hooks_see(llama: Any) -> None:
    backbone = backbone_from_llama(llama)
    tokens = drawn_tokens(4, 9)
    mask = torch.rand(4, 9, generator=torch.Generator().manual_seed(4)) < 0.5
    mask[:3, 0], mask[3] = True, False
    means = prompt_inputs(backbone, tokens, mask)
    assert list(means) == list(module_shapes(backbone))
    for name, inputs in hook_inputs(llama, tokens).items():
        for row in range(3):
            torch.testing.assert_close(
                means[name][row], inputs[row, mask[row]].mean(dim=0), rtol=1e-4, atol=1e-5
            )
        assert not means[name][3].any()
    assert means["layers.0.q_proj"] is means["layers.0.v_proj"]
    assert means["layers.1.gate_proj"] is means["layers.1.up_proj"]


def test_bfloat16_logits_stay_near_float32(llama: Any) -> None:
    """bfloat16 keeps 8 bits: about 2^-8 per operation, relative to logits of order 1."""
    tokens = drawn_tokens(2, 3, 9)
    exact = forward(backbone_from_llama(llama), tokens, None, 1.0)
    rough = forward(backbone_from_llama(llama, torch.bfloat16), tokens, None, 1.0)
    assert rough.dtype == torch.float32
    assert (rough - exact).abs().max() < 0.05 * exact.abs().max()


def test_fast_precision_is_one_that_the_engine_knows() -> None:
    assert fast_precision() in ("float32", "bfloat16")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("attention_bias", True, "biases"),
        ("mlp_bias", True, "biases"),
        ("hidden_act", "gelu", "'gelu'"),
    ],
)
def test_a_model_that_would_be_computed_wrongly_is_refused(
    field: str, value: object, message: str
) -> None:
    llama = random_llama()
    setattr(llama.config, field, value)
    with pytest.raises(ConfigMismatch, match=message):
        backbone_from_llama(llama)
