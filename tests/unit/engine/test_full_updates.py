"""A full update as an adapter without A: forward, gradient and training against other ways."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from meshtune.engine.adapters.stack import Adapters, flatten
from meshtune.engine.backbone.forward import fleet_gradient, fleet_loss, forward
from meshtune.engine.backbone.llama import Llama, backbone_from_llama
from meshtune.engine.fleet import OptimizerState, TrainingRule, train_steps
from meshtune.engine.methods.full_gossip.config import FullGossip
from meshtune.engine.methods.full_gossip.rules import FullGossipRules
from tests.support.methods import setup_of
from tests.support.oracles import random_llama


@pytest.fixture(scope="module")
def backbone() -> Llama:
    return backbone_from_llama(random_llama(kv_heads=2))


@pytest.fixture(scope="module")
def full(backbone: Llama) -> Adapters:
    generator = torch.Generator().manual_seed(1)
    return Adapters(
        {},
        {k: 0.05 * torch.randn(3, *s, generator=generator) for k, s in backbone.shapes.items()},
    )


def with_identity(full: Adapters) -> Adapters:
    """The same update as a product: A = I of rank d_in."""
    return Adapters(
        {k: torch.eye(v.shape[2]).repeat(len(v), 1, 1) for k, v in full.b.items()}, full.b
    )


def questions(steps: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(50, (steps, 3, 2, 9), generator=generator)
    targets = tokens.roll(-1, dims=-1)
    targets[..., -1] = -100
    targets[..., :3] = -100
    return tokens, targets


def test_a_full_update_gives_the_logits_of_the_model_with_changed_weights(full: Adapters) -> None:
    llama = random_llama(kv_heads=2)
    tokens = questions(1)[0][0]
    logits = forward(backbone_from_llama(llama), tokens, full, scaling=7.0)
    for device in range(3):
        changed = copy.deepcopy(llama)
        with torch.no_grad():
            for name, value in full.b.items():
                _, layer, kind = name.split(".")
                block = changed.model.layers[int(layer)]
                part = block.mlp if hasattr(block.mlp, kind) else block.self_attn
                getattr(part, kind).weight.add_(value[device])
            expected = changed(input_ids=tokens[device]).logits
        assert_close(logits[device], expected, rtol=1e-4, atol=1e-4)


def test_a_full_update_is_an_adapter_whose_a_is_the_identity(
    backbone: Llama, full: Adapters
) -> None:
    tokens, targets = (part[0] for part in questions(1))
    product = with_identity(full)
    b_alone = frozenset({"b"})
    loss, gradient = fleet_gradient(backbone, tokens, targets, {}, full.b, 7.0, trained=b_alone)
    expected, slopes = fleet_gradient(
        backbone, tokens, targets, product.a, product.b, 1.0, trained=b_alone
    )
    assert_close(loss, expected)
    assert list(gradient) == ["b"]
    assert list(gradient["b"]) == list(backbone.shapes)
    assert_close(flatten(gradient["b"]), flatten(slopes["b"]), rtol=1e-4, atol=1e-6)
    assert_close(fleet_loss(backbone, tokens, targets, {}, full.b, 7.0), expected)


def test_full_updates_train_like_products_with_the_identity(
    backbone: Llama, full: Adapters
) -> None:
    rule = TrainingRule(optimizer="sgd", learning_rate=0.3, clip_norm=0.5, scaling=7.0)
    batches = questions(4)
    result, optimizer, losses = train_steps(
        backbone, rule, full, OptimizerState(), batches, trained=frozenset({"b"})
    )
    expected, _, expected_losses = train_steps(
        backbone,
        replace(rule, scaling=1.0),
        with_identity(full),
        OptimizerState(),
        batches,
        trained=frozenset({"b"}),
    )
    assert result.a == {}
    assert optimizer.step == 4
    assert_close(losses, expected_losses)
    assert_close(flatten(result.b), flatten(expected.b), rtol=1e-4, atol=1e-5)
    assert not torch.equal(flatten(result.b), flatten(full.b))


def test_adamw_lowers_the_loss_of_full_updates_and_resumes_to_the_bit(backbone: Llama) -> None:
    setup = replace(setup_of([0, 1, 2]), shapes=dict(backbone.shapes))
    method = FullGossipRules(setup, FullGossip())
    start, _ = method.start()
    tokens, targets = (part.expand(12, -1, -1, -1) for part in questions(1))
    rule = TrainingRule(learning_rate=1e-3)
    whole, _, losses = train_steps(
        backbone, rule, start, OptimizerState(), (tokens, targets), trained=method.trained
    )
    assert (losses[-1] < 0.9 * losses[0]).all()
    half, memory, _ = train_steps(
        backbone, rule, start, OptimizerState(), (tokens[:6], targets[:6]), trained=method.trained
    )
    rest, _, _ = train_steps(
        backbone, rule, half, memory, (tokens[6:], targets[6:]), trained=method.trained
    )
    assert torch.equal(flatten(rest.b), flatten(whole.b))
