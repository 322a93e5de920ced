"""DeCAF: the mean of products, cut to rank r, against a dense mean and its SVD."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from meshtune.engine.adapters.stack import Adapters
from meshtune.engine.methods.decaf_gossip.config import DecafGossip
from meshtune.engine.methods.decaf_gossip.rules import DecafGossipRules, neighbourhoods, refactored
from meshtune.engine.methods.rules import Heard
from meshtune.engine.weights import metropolis_weights
from tests.support.methods import (
    RANK,
    SHAPES,
    VALUES_A,
    VALUES_B,
    full_mesh,
    line_mesh,
    mesh_of,
    setup_of,
)

OWN = [0, 1, 2, 1]


def method_of(own: list[int], **changes: Any) -> DecafGossipRules:
    return DecafGossipRules(setup_of(own, **({"value_bits": 32} | changes)), DecafGossip())


def noise(method: DecafGossipRules, used_rank: int | None = None, seed: int = 0) -> Adapters:
    """Random factors of all devices; of rank `used_rank` if that is given."""
    generator = torch.Generator().manual_seed(seed)
    start, _ = method.start()

    def drawn(factors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {k: torch.randn(v.shape, generator=generator) for k, v in factors.items()}

    a, b = drawn(start.a), drawn(start.b)
    if used_rank is not None:
        for value in b.values():
            value[:, :, used_rank:] = 0
    return Adapters(a, b)


def combined(method: DecafGossipRules, adapters: Adapters, heard: Heard) -> Adapters:
    return method.combine(adapters, {}, mesh_of(heard), heard, 0)[0]


def dense_means(adapters: Adapters, heard: Heard) -> dict[str, Tensor]:
    """Z_i = sum_j w_ij B_j A_j, written out, in float64."""
    weights = metropolis_weights(heard)
    n = len(weights)
    means = {}
    for name, a in adapters.a.items():
        b = adapters.b[name].double()
        products = [b[j] @ a[j].double() for j in range(n)]
        rows = [sum(weights[i, j] * products[j] for j in range(n)) for i in range(n)]
        means[name] = torch.stack([torch.as_tensor(row) for row in rows])
    return means


def test_t13_on_a_complete_graph_with_rank_to_spare_it_is_the_exact_mean_of_products() -> None:
    """T13: rank 8 holds the sum of four adapters of rank 2; on the k projection 4 is the most."""
    method = method_of(OWN, rank=4 * RANK)
    adapters = noise(method, used_rank=RANK)
    kept = combined(method, adapters, full_mesh(4))
    for name in SHAPES:
        mean = torch.stack([adapters.b[name][j] @ adapters.a[name][j] for j in range(4)]).mean(0)
        for i in range(4):
            assert_close(kept.b[name][i] @ kept.a[name][i], mean, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("heard", [full_mesh(4), line_mesh(4)], ids=["full", "line"])
def test_the_cut_to_rank_r_is_the_best_one(heard: Heard) -> None:
    """Eckart and Young: U S V^T of the dense mean, its r largest singular values."""
    method = method_of(OWN)
    adapters = noise(method)
    kept = combined(method, adapters, heard)
    for name, means in dense_means(adapters, heard).items():
        u, s, vt = torch.linalg.svd(means, full_matrices=False)
        best = u[..., :RANK] * s[:, None, :RANK] @ vt[:, :RANK]
        product = (kept.b[name] @ kept.a[name]).double()
        assert_close(product, best, rtol=1e-4, atol=1e-4)
        error = (product - means).flatten(1).norm(dim=1)
        assert_close(error, s[:, RANK:].norm(dim=1), rtol=1e-4, atol=1e-4)


def test_both_factors_carry_the_root_of_the_singular_values() -> None:
    method = method_of(OWN)
    kept = combined(method, noise(method), full_mesh(4))
    for name in SHAPES:
        a, b = kept.a[name], kept.b[name]
        assert_close(b.mT @ b, a @ a.mT, rtol=1e-4, atol=1e-4)
        off_diagonal = (a @ a.mT)[:, 0, 1]
        assert_close(off_diagonal, torch.zeros(4), rtol=0, atol=1e-4)


def test_devices_with_one_mean_get_the_same_factors() -> None:
    """On a full mesh all means are one: nobody may turn a direction round."""
    method = method_of(OWN)
    kept = combined(method, noise(method), full_mesh(4))
    for value in (*kept.a.values(), *kept.b.values()):
        assert_close(value, value[:1].expand_as(value), rtol=1e-3, atol=1e-4)


def test_a_lost_link_is_left_out_in_both_directions() -> None:
    heard = full_mesh(4)
    heard[0, 1] = False
    method = method_of(OWN)
    adapters = noise(method)
    kept, both = combined(method, adapters, heard), heard & heard.T
    expected = combined(method, adapters, both)
    assert all(torch.equal(kept.b[k], v) for k, v in expected.b.items())


def test_others_come_rounded_and_the_own_adapter_does_not() -> None:
    exact, coarse = method_of([0, 1]), method_of([0, 1], value_bits=8)
    adapters = noise(exact, used_rank=1)
    quiet = Adapters(adapters.a, {k: v.clone() for k, v in adapters.b.items()})
    for value in quiet.b.values():
        value[1] = 0
    # Half of the own product alone is left, to which rounding did nothing.
    for name, value in combined(coarse, quiet, full_mesh(2)).b.items():
        product = value[0] @ combined(coarse, quiet, full_mesh(2)).a[name][0]
        half = quiet.b[name][0] @ quiet.a[name][0] / 2
        assert_close(product, half, rtol=1e-4, atol=1e-5)
    rough, fine = (combined(m, adapters, full_mesh(2)) for m in (coarse, exact))
    assert not torch.allclose(rough.b["layers.0.q_proj"][0], fine.b["layers.0.q_proj"][0])


@pytest.mark.parametrize("value_bits", [32, 16, 4])
def test_nobody_heard_leaves_the_own_adapters_to_the_bit(value_bits: int) -> None:
    method = method_of(OWN, value_bits=value_bits)
    adapters = noise(method)
    kept = combined(method, adapters, np.zeros((4, 4), dtype=bool))
    assert all(torch.equal(kept.a[k], v) for k, v in adapters.a.items())
    assert all(torch.equal(kept.b[k], v) for k, v in adapters.b.items())


def test_at_the_start_a_survives_a_product_of_zero() -> None:
    """B = 0 everywhere: with A <- S^1/2 V^T both factors would be zero and stay so for ever."""
    method = method_of(OWN)
    start, _ = method.start()
    kept = combined(method, start, full_mesh(4))
    assert all(torch.equal(kept.a[k], v) for k, v in start.a.items())
    assert not any(value.any() for value in kept.b.values())


def test_below_rank_r_the_null_part_of_a_keeps_directions_of_the_own_a() -> None:
    """All devices use rank 1 and one A: the mean has rank 1, the second row of A is free."""
    method = method_of([0, 0, 0])
    start, _ = method.start()
    adapters = Adapters(start.a, noise(method, used_rank=1).b)
    kept = combined(method, adapters, full_mesh(3))
    for name, means in dense_means(adapters, full_mesh(3)).items():
        a, b = kept.a[name], kept.b[name]
        assert_close((b @ a).double(), means, rtol=1e-4, atol=1e-5)
        assert not b[:, :, 1:].any()
        # The free row is at right angles to the used one, and with it spans the rows of the own A.
        assert_close((a[:, 0] * a[:, 1]).sum(dim=1), torch.zeros(3), rtol=0, atol=1e-5)
        own = start.a[name][0]
        projector = torch.linalg.pinv(own) @ own
        assert_close(a @ projector, a, rtol=1e-4, atol=1e-5)
        used = own[0] / own[0].norm()
        rest = (own - torch.outer(own @ used, used))[1].norm()
        assert_close(a[:, 1].norm(dim=1), rest.expand(3), rtol=1e-4, atol=1e-5)


def test_products_that_cancel_count_as_zero() -> None:
    method = method_of([0, 0])
    start, _ = method.start()
    b = {k: torch.cat([v[:1], -v[:1]]) for k, v in noise(method).b.items()}
    kept = combined(method, Adapters(start.a, b), full_mesh(2))
    assert all(torch.equal(kept.a[k], v) for k, v in start.a.items())
    assert not any(value.any() for value in kept.b.values())


def test_a_rank_above_the_width_of_a_module_leaves_the_rest_of_b_empty() -> None:
    """The k projection has 4 outputs, so of rank 6 two directions stay without use."""
    method = method_of(OWN, rank=6)
    adapters = noise(method)
    kept = combined(method, adapters, line_mesh(4))
    name = "layers.0.k_proj"
    product = (kept.b[name] @ kept.a[name]).double()
    assert_close(product, dense_means(adapters, line_mesh(4))[name], rtol=1e-4, atol=1e-4)
    assert not kept.b[name][:, :, 4:].any()
    assert (kept.a[name].norm(dim=2) > 0.1).all()


def test_who_hears_what_is_not_finite_diverges_and_the_others_do_not() -> None:
    method = method_of(OWN)
    adapters = noise(method)
    adapters.b["layers.0.q_proj"][3, 0, 0] = torch.inf
    kept = combined(method, adapters, line_mesh(4)).b["layers.0.q_proj"]
    assert kept[:2].isfinite().all()
    assert kept[2:].isnan().all()


def test_the_number_of_devices_at_a_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    method = method_of(OWN)
    adapters = noise(method)
    whole = combined(method, adapters, line_mesh(4))
    monkeypatch.setattr("meshtune.engine.methods.decaf_gossip.rules.DEVICES_AT_ONCE", 1)
    single = combined(method, adapters, line_mesh(4))
    for name, value in whole.b.items():
        assert_close(single.b[name], value)


def test_a_neighbourhood_begins_with_the_device_and_leaves_weight_zero_where_it_ends() -> None:
    who, weight = neighbourhoods(metropolis_weights(line_mesh(4)))
    assert who[:, 0].tolist() == [0, 1, 2, 3]
    assert set(who[1].tolist()) == {0, 1, 2}
    assert weight[0].tolist() == pytest.approx([2 / 3, 1 / 3, 0])
    assert weight.sum(dim=1).tolist() == pytest.approx([1, 1, 1, 1])


def test_refactoring_twice_changes_nothing_more() -> None:
    generator = torch.Generator().manual_seed(1)
    left = torch.randn(3, 7, 6, generator=generator)
    right = torch.randn(3, 6, 9, generator=generator)
    own_a = torch.randn(3, 2, 9, generator=generator)
    b, a = refactored(left, right, own_a)
    again_b, again_a = refactored(b, a, own_a)
    assert_close(again_b, b, rtol=1e-4, atol=1e-5)
    assert_close(again_a, a, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("value_bits", "expected"),
    [
        (32, 32 * (VALUES_A + VALUES_B)),
        (16, 16 * (VALUES_A + VALUES_B)),
        (8, 8 * (VALUES_A + VALUES_B) + 16 * 2 * 3 * RANK),
    ],
)
def test_it_sends_both_factors_like_plain_lora(value_bits: int, expected: int) -> None:
    mesh = mesh_of(line_mesh(4))
    method = method_of(OWN, value_bits=value_bits)
    bits = method.sent({}, mesh, 0).bits
    assert np.array_equal(bits, np.where(mesh.linked, expected, 0))
    apart = replace(mesh, linked=np.zeros_like(mesh.linked))
    assert not method.sent({}, apart, 0).bits.any()
