"""The generic path through the protocol, against the hand-written one on a tiny Llama."""

import copy
import threading
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from meshtune.engine.adapters.stack import Adapters, Factor, initial_adapters
from meshtune.engine.backbone.base import Backbone, TopRanks
from meshtune.engine.backbone.choice import chosen_backbone
from meshtune.engine.backbone.generic.fit import generic_backbone
from meshtune.engine.backbone.generic.model import Generic, opened, target_paths
from meshtune.engine.backbone.llama import Llama, backbone_from_llama
from meshtune.engine.backbone.spectral import spectral_entropies
from meshtune.engine.bench.families import tiny_model
from meshtune.engine.errors import ConfigMismatch
from meshtune.engine.fleet import OptimizerState, TrainingRule, train_steps
from tests.support.oracles import random_llama

BOTH: frozenset[Factor] = frozenset(("a", "b"))
VOCAB, DEVICES = 50, 3


@pytest.fixture(scope="module")
def own() -> Llama:
    return backbone_from_llama(random_llama(kv_heads=2))


@pytest.fixture(scope="module")
def generic() -> Generic:
    return generic_backbone(random_llama(kv_heads=2))


@pytest.fixture(scope="module")
def adapters(own: Llama) -> Adapters:
    generator = torch.Generator().manual_seed(1)
    fresh = initial_adapters(own.shapes, DEVICES, 4, generator)
    b = {k: 0.1 * torch.randn(v.shape, generator=generator) for k, v in fresh.b.items()}
    return Adapters(fresh.a, b)


@pytest.fixture(scope="module")
def full(own: Llama) -> Adapters:
    generator = torch.Generator().manual_seed(1)
    shapes = own.shapes.items()
    return Adapters(
        {}, {k: 0.05 * torch.randn(DEVICES, *s, generator=generator) for k, s in shapes}
    )


def drawn_tokens(*shape: int) -> Tensor:
    return torch.randint(VOCAB, shape, generator=torch.Generator().manual_seed(2))


def drawn_targets(tokens: Tensor) -> Tensor:
    """Answers of different length; the last device is asked nothing."""
    targets = tokens.roll(-1, dims=-1)
    targets[0, :, :5] = -100
    targets[1, 1, :7] = -100
    targets[-1] = -100
    return targets


def only(adapters: Adapters, ends: tuple[str, ...]) -> Adapters:
    a, b = (
        {name: value for name, value in factors.items() if name.endswith(ends)}
        for factors in (adapters.a, adapters.b)
    )
    return Adapters(a, b)


def test_both_ways_are_backbones_with_the_same_modules(own: Llama, generic: Generic) -> None:
    assert isinstance(own, Backbone)
    assert isinstance(generic, Backbone)
    assert list(generic.shapes.items()) == list(own.shapes.items())
    assert generic.dtype == own.dtype


@pytest.mark.parametrize("trained", [{"a", "b"}, {"b"}, {"a"}])
def test_losses_and_gradients_agree(
    own: Llama, generic: Generic, adapters: Adapters, trained: set[Factor]
) -> None:
    tokens = drawn_tokens(DEVICES, 2, 9)
    targets = drawn_targets(tokens)
    given = tokens, targets, adapters.a, adapters.b, 2.0
    loss, slopes = generic.gradient(*given, trained=frozenset(trained))
    expected, expected_slopes = own.gradient(*given, trained=frozenset(trained))
    assert loss[-1] == 0
    assert_close(loss, expected)
    assert slopes.keys() == trained
    for kind in trained:
        assert list(slopes[kind]) == list(adapters.a)
        for name, slope in slopes[kind].items():
            assert_close(slope, expected_slopes[kind][name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("ends", [("q_proj", "v_proj"), ("down_proj",)])
def test_adapters_may_cover_some_modules_only(
    own: Llama, generic: Generic, adapters: Adapters, ends: tuple[str, ...]
) -> None:
    few = only(adapters, ends)
    tokens = drawn_tokens(DEVICES, 2, 9)
    given = tokens, drawn_targets(tokens), few.a, few.b, 2.0
    slopes = generic.gradient(*given, trained=BOTH)[1]
    expected = own.gradient(*given, trained=BOTH)[1]
    for kind in sorted(BOTH):
        for name, slope in slopes[kind].items():
            assert_close(slope, expected[kind][name], rtol=1e-4, atol=1e-6)


def test_full_updates_agree(own: Llama, generic: Generic, full: Adapters) -> None:
    tokens = drawn_tokens(DEVICES, 2, 9)
    assert_close(
        generic.logits(tokens, full, 7.0), own.logits(tokens, full, 7.0), rtol=1e-4, atol=1e-4
    )
    given = tokens, drawn_targets(tokens), {}, full.b, 7.0
    loss, slopes = generic.gradient(*given, trained=frozenset({"b"}))
    expected, expected_slopes = own.gradient(*given, trained=frozenset({"b"}))
    assert_close(loss, expected)
    for name, slope in slopes["b"].items():
        assert_close(slope, expected_slopes["b"][name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("adapted", [True, False])
def test_logits_agree_everywhere_and_at_some_places(
    own: Llama, generic: Generic, adapters: Adapters, adapted: bool
) -> None:
    given = drawn_tokens(DEVICES, 2, 9), adapters if adapted else None, 2.0
    places = torch.tensor([[[1, 8], [4, 4]], [[0, 3], [2, 7]], [[8, 0], [5, 6]]])
    for where in (None, places):
        assert_close(generic.logits(*given, where), own.logits(*given, where), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("top_ranks", [None, TopRanks(4), TopRanks(1, "expert")])
@pytest.mark.parametrize("by", ["sequence", "module", "token"])
def test_blends_agree(
    own: Llama, generic: Generic, adapters: Adapters, top_ranks: TopRanks | None, by: str
) -> None:
    tokens = drawn_tokens(2, 9)
    generator = torch.Generator().manual_seed(6)
    tables = {name: torch.rand(2, 3, generator=generator) for name in own.shapes}
    probes = {name: torch.randn(3, s[1], generator=generator) for name, s in own.shapes.items()}

    def gate(names: tuple[str, ...], x: Tensor) -> dict[str, Tensor]:
        return {name: (x @ probes[name].T).tanh() for name in names}

    gates: Any = {"sequence": torch.rand(2, 3), "module": tables, "token": gate}[by]
    places = torch.tensor([[8, 3], [0, 5]])
    for where in (None, places):
        given, expected = (
            way.blended(tokens, adapters, gates, 2.0, top_ranks=top_ranks, places=where)
            for way in (generic, own)
        )
        assert_close(given, expected, rtol=1e-3, atol=1e-3)


def test_a_blend_of_full_updates_is_refused(generic: Generic, full: Adapters) -> None:
    with pytest.raises(ConfigMismatch, match="pick one"):
        generic.blended(drawn_tokens(2, 9), full, torch.ones(2, DEVICES), 1.0)


def test_inputs_agree_and_are_shared(own: Llama, generic: Generic) -> None:
    tokens = drawn_tokens(4, 9)
    mask = torch.rand(4, 9, generator=torch.Generator().manual_seed(4)) < 0.5
    mask[3] = False
    means, expected = (way.prompt_inputs(tokens, mask) for way in (generic, own))
    whole, expected_whole = (way.layer_inputs(tokens) for way in (generic, own))
    assert list(means) == list(whole) == list(own.shapes)
    for name in means:
        assert_close(means[name], expected[name], rtol=1e-4, atol=1e-5)
        assert_close(whole[name], expected_whole[name], rtol=1e-4, atol=1e-5)
    assert means["layers.0.q_proj"] is means["layers.0.v_proj"]
    assert means["layers.0.q_proj"] is not means["layers.0.o_proj"]


def test_spectral_entropies_agree(own: Llama, generic: Generic) -> None:
    tokens = drawn_tokens(2, 3, 9)
    mask = torch.ones_like(tokens, dtype=torch.bool)
    given, expected = (spectral_entropies(way, tokens, mask) for way in (generic, own))
    for name in expected:
        assert_close(given[name], expected[name], rtol=1e-3, atol=1e-3)


def test_the_fleet_trains_either_in_threads(
    own: Llama, generic: Generic, adapters: Adapters
) -> None:
    tokens = drawn_tokens(4, DEVICES, 2, 9)
    targets = tokens.roll(-1, dims=-1)
    targets[..., -1] = -100
    rule = TrainingRule(optimizer="sgd", learning_rate=0.1, scaling=2.0, group_size=1)
    trained, losses = {}, {}
    for way in (own, generic):
        trained[way.dtype, type(way)], _, losses[type(way)] = train_steps(
            way, rule, adapters, OptimizerState(), (tokens, targets)
        )
    assert_close(losses[Generic], losses[Llama], rtol=1e-4, atol=1e-5)
    ours, theirs = trained.values()
    for name, value in theirs.b.items():
        assert_close(value, ours.b[name], rtol=1e-3, atol=1e-5)


def test_threads_do_not_see_each_others_pass(generic: Generic, adapters: Adapters) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def wait(linear: Any, x: Tensor) -> Tensor:
        inside.set()
        go_on.wait(10)
        return torch.zeros(*x.shape[:-1], len(linear.matrix))

    def odd() -> None:
        with generic.running.of(wait, torch.tensor([0])):
            generic.model(input_ids=drawn_tokens(1, 4), use_cache=False)

    tokens = drawn_tokens(DEVICES, 2, 9)
    expected = generic.logits(tokens, adapters, 2.0)
    thread = threading.Thread(target=odd)
    thread.start()
    inside.wait(10)
    during = generic.logits(tokens, adapters, 2.0)
    go_on.set()
    thread.join()
    assert torch.equal(during, expected)


def test_bfloat16_stays_near_float32(generic: Generic, adapters: Adapters) -> None:
    rough = generic_backbone(random_llama(kv_heads=2).to(torch.bfloat16))
    tokens = drawn_tokens(DEVICES, 2, 9)
    given, exact = (way.logits(tokens, adapters, 2.0) for way in (rough, generic))
    assert rough.dtype == torch.bfloat16
    assert given.dtype == torch.float32
    assert (given - exact).abs().max() < 0.05 * exact.abs().max()
    targets = drawn_targets(tokens)
    a, b = ({k: v.bfloat16() for k, v in f.items()} for f in (adapters.a, adapters.b))
    loss, _ = rough.gradient(tokens, targets, a, b, 2.0, trained=BOTH)
    assert_close(
        loss,
        generic.gradient(tokens, targets, adapters.a, adapters.b, 2.0, trained=BOTH)[0],
        rtol=0.02,
        atol=0.02,
    )


# Names


def test_targets_are_chosen_as_in_peft() -> None:
    gpt = tiny_model("gpt2")
    assert target_paths(gpt, ["attn.c_proj"]) == {
        f"layers.{i}.c_proj": f"transformer.h.{i}.attn.c_proj" for i in range(2)
    }
    both = target_paths(gpt, ["c_proj"])
    assert list(both)[:2] == ["layers.0.attn.c_proj", "layers.0.mlp.c_proj"]
    assert "model.decoder.project_in" in target_paths(tiny_model("opt"))
    with pytest.raises(ConfigMismatch, match="'gpt2' has no linear layer named q_proj"):
        opened(gpt, ["q_proj"])


def test_names_are_known_without_weights() -> None:
    with torch.device("meta"):
        names = target_paths(tiny_model("qwen2"))
    assert names == target_paths(tiny_model("qwen2"))


# Which way


def test_a_llama_is_computed_by_hand() -> None:
    chosen = chosen_backbone(random_llama(), ["q_proj"], dtype=torch.bfloat16)
    assert chosen.path == "own"
    assert chosen.why is None
    assert chosen.backbone.dtype == torch.bfloat16
    assert list(chosen.backbone.shapes) == ["layers.0.q_proj", "layers.1.q_proj"]


@pytest.mark.parametrize(
    ("family", "why"),
    [
        ("granite", "from those of a Llama"),
        ("smollm3", "from those of a Llama"),
        ("mistral", "forgets"),
        ("gpt2", "not built like a Llama"),
    ],
)
def test_what_would_be_wrong_by_hand_takes_the_generic_path(family: str, why: str) -> None:
    model = tiny_model(family)
    tokens = drawn_tokens(2, 21)
    with torch.no_grad():
        expected = copy.deepcopy(model)(input_ids=tokens).logits
    chosen = chosen_backbone(model)
    assert chosen.path == "generic"
    assert why in str(chosen.why)
    assert_close(chosen.backbone.logits(tokens[None], None, 1.0)[0], expected)


def test_weights_of_a_generic_model_may_be_cast() -> None:
    chosen = chosen_backbone(tiny_model("qwen2"), dtype=torch.bfloat16)
    assert chosen.backbone.dtype == torch.bfloat16


def test_a_model_of_few_bits_is_not_taken_for_a_llama() -> None:
    chosen = chosen_backbone(random_llama().to(torch.bfloat16))
    assert chosen.path == "generic"
    assert "bfloat16" in str(chosen.why)
