"""The rival methods: their bits by hand, their limits, and what averaging destroys.

What every method owes is in test_method_matrix.py.
"""

from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from meshtune.engine import config as c
from meshtune.engine.adapters.stack import Adapters, flatten, mean
from meshtune.engine.adapters.static_a import static_a
from meshtune.engine.methods.centralised.config import Centralised
from meshtune.engine.methods.choco_gossip.config import ChocoGossip
from meshtune.engine.methods.decaf_gossip.config import DecafGossip
from meshtune.engine.methods.ffa_gossip.config import FfaGossip
from meshtune.engine.methods.ffa_gossip.rules import FfaGossipRules
from meshtune.engine.methods.full_gossip.config import FullGossip
from meshtune.engine.methods.full_gossip.rules import FullGossipRules
from meshtune.engine.methods.local.config import Local
from meshtune.engine.methods.lora_gossip.config import LoraGossip
from meshtune.engine.methods.lora_gossip.rules import LoraGossipRules
from meshtune.engine.methods.lori.config import Lori
from meshtune.engine.methods.lori.rules import LoriRules
from meshtune.engine.methods.oracle_experts.config import OracleExperts
from meshtune.engine.methods.oracle_experts.rules import OracleExpertsRules
from meshtune.engine.methods.oracle_experts.trees import breadth_first
from meshtune.engine.methods.rules import Bits, Heard, Method, Setup, build_method
from meshtune.engine.methods.shared.averaging import neighbour_average
from meshtune.engine.topology import Mesh
from meshtune.engine.weights import metropolis_weights
from tests.support.methods import (
    RANK,
    SHAPES,
    VALUES_A,
    VALUES_B,
    all_values,
    full_mesh,
    line_mesh,
    mesh_of,
    moved,
    setup_of,
    silence,
    trained,
)

OWN = [0, 1, 2, 1]
VALUES_FULL = 6 * 80 + 4 * 80 + 10 * 72
WIDTHS = 80 + 80 + 72
SENDERS = [LoraGossip(), FfaGossip(), Lori(), Lori(density=0.25), FullGossip()]


def bits_of(method: Method, mesh: Mesh, round_index: int = 0) -> Bits:
    return method.sent(trained(method, mesh)[1], mesh, round_index).bits


# Averaging.


@pytest.mark.parametrize("chosen", SENDERS[:3] + SENDERS[4:], ids=lambda chosen: chosen.kind)
def test_averaging_keeps_the_mean_over_devices_when_links_fail(chosen: c.Method) -> None:
    mesh = mesh_of(full_mesh(4))
    method = build_method(chosen, setup_of(OWN, value_bits=32))
    adapters, memory = trained(method, mesh)
    heard = mesh.linked.copy()
    heard[0, 1] = heard[2, 3] = heard[3, 2] = False
    kept, _ = method.combine(adapters, memory, mesh, heard, 0)
    assert_close(flatten(mean(kept).b), flatten(mean(adapters).b), rtol=1e-5, atol=1e-6)


def test_a_device_does_not_round_what_it_keeps_itself() -> None:
    method = build_method(FfaGossip(), setup_of([0, 0], value_bits=4))
    adapters, memory = trained(method, mesh_of(full_mesh(2)))
    kept, _ = method.combine(adapters, memory, mesh_of(full_mesh(2)), full_mesh(2), 0)
    for name, value in adapters.b.items():
        scale = value[1].abs().amax(dim=0).half().float()
        rounded = (value[1] / scale * 7).round().clamp(-7, 7) * scale / 7
        assert_close(kept.b[name][0], 0.5 * value[0] + 0.5 * rounded)


# Bits by hand: the tiny fleet has three modules of rank 2.


@pytest.mark.parametrize(
    ("chosen", "value_bits", "expected"),
    [
        (LoraGossip(), 32, 32 * (VALUES_A + VALUES_B)),
        (LoraGossip(), 16, 16 * (VALUES_A + VALUES_B)),
        (LoraGossip(), 8, 8 * (VALUES_A + VALUES_B) + 16 * 2 * 3 * RANK),
        (FfaGossip(), 16, 16 * VALUES_B),
        (FfaGossip(), 4, 4 * VALUES_B + 16 * 3 * RANK),
        (DecafGossip(), 16, 16 * (VALUES_A + VALUES_B)),
        (ChocoGossip(), 16, 16 * (VALUES_A + VALUES_B) // 4 + VALUES_A + VALUES_B),
        (FullGossip(), 16, 16 * VALUES_FULL),
        (FullGossip(), 8, 8 * VALUES_FULL + 16 * WIDTHS),
        (Lori(), 16, 16 * VALUES_B + 64),
        (Lori(density=0.25), 16, 16 * 10 + 64 + VALUES_B),
        (Lori(density=0.25), 4, 4 * 10 + 16 * 3 * RANK + 64 + VALUES_B),
    ],
    ids=lambda value: getattr(value, "kind", str(value)),
)
def test_bits_per_link_in_the_first_round(chosen: Any, value_bits: int, expected: int) -> None:
    assert VALUES_B == 40  # a quarter of it is 10
    mesh = mesh_of(line_mesh(4))
    bits = bits_of(build_method(chosen, setup_of(OWN, value_bits=value_bits)), mesh)
    assert np.array_equal(bits, np.where(mesh.linked, expected, 0))


@pytest.mark.parametrize("chosen", [Local(), Centralised()], ids=lambda chosen: chosen.kind)
def test_the_bounds_send_nothing_in_any_round(chosen: c.Method) -> None:
    method = build_method(chosen, setup_of(OWN, rounds=3))
    assert not any(bits_of(method, mesh_of(full_mesh(4)), t).any() for t in range(3))


def test_lori_introduces_itself_until_it_was_heard() -> None:
    mesh = mesh_of(full_mesh(3))
    method = build_method(Lori(density=0.5), setup_of([0, 1, 2]))
    adapters, memory = trained(method, mesh)
    values, identity = 16 * 20, 64 + VALUES_B
    heard = mesh.linked.copy()
    heard[0, 1] = False
    _, memory = method.combine(adapters, memory, mesh, heard, 0)
    bits = method.sent(memory, mesh, 1).bits
    assert bits[0, 1] == values + identity
    assert bits[1, 0] == values
    _, memory = method.combine(adapters, memory, mesh, mesh.linked, 1)
    assert np.array_equal(method.sent(memory, mesh, 2).bits, np.where(mesh.linked, values, 0))


# LoRI.


def test_lori_without_a_mask_needs_no_warm_up_and_has_none() -> None:
    method = build_method(Lori(density=1.0, mask_warmup_steps=7), setup_of(OWN))
    assert method.warm_up_steps(0) == 0
    assert method.masks(method.start()[1]) is None


def test_lori_warms_up_once_and_keeps_the_largest_entries_over_all_layers() -> None:
    mesh = mesh_of(full_mesh(4))
    method = build_method(Lori(density=0.25, mask_warmup_steps=7), setup_of(OWN))
    assert [method.warm_up_steps(t) for t in range(3)] == [7, 0, 0]
    start, memory = method.start()
    assert method.masks(memory) is None
    warmed = moved(start, method)
    # A layer with large values takes the whole budget, which a density per layer would forbid.
    warmed.b["layers.0.q_proj"][0] *= 1000
    masks = method.masks(method.after_warm_up(warmed, memory, mesh, 0))
    assert masks is not None
    assert int(masks["layers.0.q_proj"][0].sum()) == 10
    rows, kept = flatten(warmed.b).abs(), flatten(masks)
    for row, chosen in zip(rows, kept, strict=True):
        assert int(chosen.sum()) == 10
        assert row[chosen].min() > row[~chosen].max()


def test_lori_keeps_its_own_entries_of_the_mean() -> None:
    mesh = mesh_of(full_mesh(4))
    method = build_method(Lori(density=0.25), setup_of(OWN, value_bits=32))
    adapters, memory = trained(method, mesh)
    masks = method.masks(memory)
    assert masks is not None
    kept, _ = method.combine(adapters, memory, mesh, mesh.linked, 0)
    for name, mask in masks.items():
        for i in range(4):
            expected = mask[i] * sum(mask[j] * adapters.b[name][j] for j in range(4)) / 4
            assert_close(kept.b[name][i], expected)


def test_lori_gives_one_a_to_devices_of_one_task_and_another_to_others() -> None:
    a = build_method(Lori(), setup_of(OWN)).start()[0].a["layers.0.q_proj"]
    assert torch.equal(a[1], a[3])
    cosine = torch.nn.functional.cosine_similarity(a[0], a[1], dim=1)
    assert cosine.abs().max() < 0.5
    assert abs(float(a.var()) * 80 - 1) < 0.2


def test_dense_lori_with_a_common_a_is_ffa_gossip_up_to_the_first_contact() -> None:
    mesh = mesh_of(line_mesh(4))
    lori = build_method(Lori(density=1.0, a_init="common"), setup_of(OWN))
    ffa = build_method(FfaGossip(), setup_of(OWN))
    (x, lori_memory), (y, ffa_memory) = trained(lori, mesh), trained(ffa, mesh)
    for t in range(3):
        first = 64 * mesh.linked if t == 0 else 0
        assert np.array_equal(
            lori.sent(lori_memory, mesh, t).bits,
            ffa.sent(ffa_memory, mesh, t).bits + first,
        )
        assert torch.equal(all_values(x), all_values(y))
        x, lori_memory = lori.combine(moved(x, lori, t), lori_memory, mesh, mesh.linked, t)
        y, ffa_memory = ffa.combine(moved(y, ffa, t), ffa_memory, mesh, mesh.linked, t)
    assert torch.equal(all_values(x), all_values(y))


# Frozen-A gossip.


def test_ffa_gossip_is_lora_gossip_whose_a_nobody_moves() -> None:
    mesh, setup = mesh_of(line_mesh(4)), setup_of(OWN, value_bits=32)
    ffa, lora = (
        FfaGossipRules(setup, FfaGossip()),
        LoraGossipRules(setup, LoraGossip(), trained=frozenset({"b"})),
    )
    x, _ = ffa.start()
    y = x
    for t in range(3):
        x, _ = ffa.combine(moved(x, ffa, t), {}, mesh, mesh.linked, t)
        y, _ = lora.combine(moved(y, lora, t), {}, mesh, mesh.linked, t)
    assert_close(all_values(x), all_values(y))


def test_with_a_common_a_the_mean_of_factors_is_the_mean_of_updates() -> None:
    mesh = mesh_of(full_mesh(4))
    method = FfaGossipRules(setup_of(OWN, value_bits=32), FfaGossip())
    adapters, memory = trained(method, mesh)
    kept, _ = method.combine(adapters, memory, mesh, mesh.linked, 0)
    for name in SHAPES:
        update = (adapters.b[name] @ adapters.a[name]).mean(dim=0)
        assert_close(kept.b[name][2] @ kept.a[name][2], update, rtol=1e-4, atol=1e-5)


# Plain LoRA and full fine-tuning against a slow loop.


def test_lora_gossip_mixes_both_factors_by_metropolis_weights() -> None:
    mesh = mesh_of(line_mesh(4))
    method = LoraGossipRules(setup_of(OWN, value_bits=32), LoraGossip())
    adapters, memory = trained(method, mesh)
    kept, _ = method.combine(adapters, memory, mesh, mesh.linked, 0)
    # Ends of the line have degree 1, the others 2: every link has weight 1/3.
    neighbours = {0: [1], 1: [0, 2], 2: [1, 3], 3: [2]}
    for before, after in ((adapters.a, kept.a), (adapters.b, kept.b)):
        for name, value in before.items():
            for i, near in neighbours.items():
                own = (1 - len(near) / 3) * value[i]
                assert_close(after[name][i], own + sum(value[j] for j in near) / 3)


def test_full_gossip_has_no_a_and_averages_whole_updates() -> None:
    mesh = mesh_of(full_mesh(4))
    method = FullGossipRules(setup_of(OWN, value_bits=32), FullGossip())
    adapters, memory = trained(method, mesh)
    assert adapters.a == {}
    assert {k: tuple(v.shape[1:]) for k, v in adapters.b.items()} == SHAPES
    kept, _ = method.combine(adapters, memory, mesh, mesh.linked, 0)
    for name, value in adapters.b.items():
        assert_close(kept.b[name][3], value.mean(dim=0))


def test_both_full_methods_start_at_the_frozen_model() -> None:
    for method in (
        FullGossipRules(setup_of(OWN), FullGossip()),
        OracleExpertsRules(setup_of(OWN), OracleExperts()),
    ):
        assert not all_values(method.start()[0]).any()
        assert method.trained == {"b"}


# Experts under an oracle.


def oracle(own: list[int], **changes: Any) -> OracleExpertsRules:
    return OracleExpertsRules(setup_of(own, rounds=2, **changes), OracleExperts())


def last_bank(method: OracleExpertsRules, mesh: Mesh, heard: Heard) -> tuple[Adapters, Any]:
    adapters, memory = trained(method, mesh)
    adapters, memory = method.combine(adapters, memory, mesh, mesh.linked, 0)
    assert not memory["copied"].any()
    adapters, memory = method.combine(adapters, memory, mesh, heard, 1)
    return adapters, method.bank(adapters, memory)


def test_oracle_experts_are_sent_in_the_last_round_once_per_device_and_task() -> None:
    """On a full mesh every device hears each foreign expert from its source, in one hop."""
    method, mesh = oracle([0, 1, 2, 1]), mesh_of(full_mesh(4))
    assert not bits_of(method, mesh, 0).any()
    one = 16 * VALUES_FULL
    expected = np.zeros((4, 4), dtype=np.int64)
    for sender, receivers in {0: (1, 2, 3), 1: (0, 2), 2: (0, 1, 3)}.items():
        expected[list(receivers), sender] = one
    assert np.array_equal(bits_of(method, mesh, 1), expected)


def test_oracle_experts_are_forwarded_hop_by_hop() -> None:
    """The line 0-1-2-3 with tasks 0, 1, 2, 1, by hand.

    Expert 0 goes right over all three links; expert 1 goes from device 1 to 0 and to 2; expert 2
    goes from device 2 to 3 and, through 1, to 0.
    """
    experts = np.zeros((4, 4), dtype=np.int64)
    experts[1, 0] = experts[1, 2] = 1
    experts[0, 1] = experts[2, 1] = experts[3, 2] = 2
    expected = experts * 16 * VALUES_FULL
    assert np.array_equal(bits_of(oracle([0, 1, 2, 1]), mesh_of(line_mesh(4)), 1), expected)


def test_an_oracle_bank_holds_everybodys_own_expert_and_one_of_each_other_task() -> None:
    method, mesh = oracle([0, 1, 2, 1]), mesh_of(line_mesh(4))
    adapters, bank = last_bank(method, mesh, mesh.linked)
    own = [0, 1, 2, 1]
    assert bank.gate.kind == "oracle"
    for i in range(4):
        mine, *copies = (expert for expert in bank.held[i].tolist() if expert >= 0)
        assert int(bank.task[mine]) == own[i]
        assert sorted([own[i], *bank.task[copies].tolist()]) == [0, 1, 2]
        for name, value in adapters.b.items():
            assert torch.equal(bank.experts.b[name][mine], value[i])
            for expert in copies:
                source = own.index(int(bank.task[expert]))  # the lowest-numbered of the task
                assert torch.equal(bank.experts.b[name][expert], value[source].half().float())


def test_behind_a_failed_link_nobody_gets_the_expert() -> None:
    method, mesh = oracle([0, 1, 2, 1]), mesh_of(line_mesh(4))
    heard = mesh.linked.copy()
    heard[2, 1] = False  # the only way right: expert 0 misses 2 and 3, expert 1 misses 2
    _, bank = last_bank(method, mesh, heard)
    known = [sorted(bank.task[row[row >= 0]].tolist()) for row in bank.held]
    assert known == [[0, 1, 2], [0, 1, 2], [2], [1, 2]]
    assert bank.held[:, 0].tolist() == [0, 1, 2, 3]


def test_an_oracle_knows_the_share_of_the_foreign_experts_that_arrived() -> None:
    method, mesh = oracle([0, 1, 2, 1]), mesh_of(line_mesh(4))
    adapters, memory = trained(method, mesh)
    assert method.diagnostics(memory) == {"library_fraction": 0.0}
    heard = mesh.linked.copy()
    heard[2, 1] = False
    _, cut = method.combine(adapters, memory, mesh, heard, 1)
    assert method.diagnostics(cut) == {"library_fraction": 5 / 8}
    _, whole = method.combine(adapters, memory, mesh, mesh.linked, 1)
    assert method.diagnostics(whole) == {"library_fraction": 1.0}


def test_before_the_last_round_and_without_links_an_oracle_has_only_own_experts() -> None:
    method = oracle([0, 1, 2, 1])
    adapters, memory = trained(method, mesh_of(full_mesh(4)))
    assert method.bank(adapters, memory).held.tolist() == [[0], [1], [2], [3]]
    assert not bits_of(method, mesh_of(silence(4)), 1).any()


def test_breadth_first_takes_shortest_ways() -> None:
    """A ring of five with a device apart."""
    linked = np.zeros((6, 6), dtype=bool)
    for i in range(5):
        linked[i, (i + 1) % 5] = linked[(i + 1) % 5, i] = True
    parent, reached = breadth_first(linked, 0)
    assert parent.tolist() == [0, 0, 1, 4, 0, 5]
    assert reached.tolist() == [True] * 5 + [False]


# What averaging destroys.


def relative_error(kept: Adapters, own: Adapters, device: int) -> float:
    """|B' A - B A| / |B A| over all modules, with the device's own A on both sides."""
    wrong = whole = 0.0
    for name, a in own.a.items():
        update = own.b[name][device] @ a[device]
        wrong += float((kept.b[name][device] @ a[device] - update).square().sum())
        whole += float(update.square().sum())
    return (wrong / whole) ** 0.5


def test_e8_averaging_b_over_tasks_leaves_almost_nothing_of_the_own_update() -> None:
    """Four tasks, each with its A; random B, of which each device keeps the mean of four.

    E|mean - B|^2 / E|B|^2 = (3/4)^2 + 3/16 = 3/4: a relative error near 0.87, with the own A.
    """
    method = LoriRules(setup_of([0, 1, 2, 3], value_bits=32), Lori(density=1.0))
    mesh = mesh_of(full_mesh(4))
    adapters, memory = trained(method, mesh)
    kept, _ = method.combine(adapters, memory, mesh, mesh.linked, 0)
    errors = [relative_error(kept, adapters, device) for device in range(4)]
    assert min(errors) > 0.8
    assert abs(sum(errors) / 4 - 0.75**0.5) < 0.05


def test_e5_the_plain_mean_divides_an_entry_of_one_device_by_all_devices() -> None:
    """Disjoint masks: nobody collides, and still each round divides an own entry by n = 4."""
    b = torch.zeros(4, 4, 1)
    b[range(4), range(4), 0] = torch.tensor([1.0, -2.0, 3.0, 4.0])
    mask = b != 0
    kept = Adapters({}, {"one": b})
    for rounds in range(1, 4):
        mixed = neighbour_average(kept, metropolis_weights(full_mesh(4)), 32)
        kept = Adapters({}, {"one": mixed.b["one"] * mask})
        assert_close(kept.b["one"], b * 0.25**rounds)


def test_metropolis_weights_of_a_full_mesh_are_the_plain_mean() -> None:
    assert np.allclose(metropolis_weights(full_mesh(4)), 0.25)


def test_static_a_is_drawn_for_the_setup_of_the_fleet() -> None:
    setup: Setup = setup_of(OWN)
    expected = static_a("common", setup.seed, setup.shapes, setup.rank, setup.tasks, setup.own)
    for name, value in FfaGossipRules(setup, FfaGossip()).start()[0].a.items():
        assert torch.equal(value, expected[name])
        assert torch.equal(value[0], value[3])
