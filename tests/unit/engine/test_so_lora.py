"""Sparse-and-orthogonal LoRA: who averages with whom, what it costs, and who answers.

What every method owes is in test_method_matrix.py.
"""

from dataclasses import replace
from itertools import product
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from meshtune.engine.adapters.stack import Adapters
from meshtune.engine.methods.ffa_gossip.config import FfaGossip
from meshtune.engine.methods.ffa_gossip.rules import FfaGossipRules
from meshtune.engine.methods.rules import Heard, Memory
from meshtune.engine.methods.so_lora.config import SoLora
from meshtune.engine.methods.so_lora.rules import SoLoraRules
from meshtune.engine.topology import Mesh
from meshtune.engine.weights import MixingRule
from tests.support.methods import (
    PROTOTYPE_VALUES,
    RANK,
    SHAPES,
    VALUES_A,
    VALUES_B,
    full_mesh,
    line_mesh,
    mesh_of,
    setup_of,
)

MODES = get_args(SoLora.model_fields["mode"].annotation)
KEPT = 16 * VALUES_B // 2  # density 0.5, 16 bits: every module sends half of its r d_out values
FIRST = 64 + VALUES_B + 16 * PROTOTYPE_VALUES
RANKS = RANK * len(SHAPES)


def noise_like(adapters: Adapters, seed: int = 0) -> Adapters:
    """Adapters of the same shape as if training had moved them."""
    generator = torch.Generator().manual_seed(seed)
    return Adapters(
        adapters.a,
        {k: torch.randn(v.shape, generator=generator) for k, v in adapters.b.items()},
    )


def so_lora(own: list[int], changes: dict[str, Any] | None = None, **rule: Any) -> SoLoraRules:
    return SoLoraRules(setup_of(own, **(changes or {})), SoLora(**rule))


def trained(method: SoLoraRules, mesh: Mesh, seed: int = 0) -> tuple[Adapters, Memory]:
    """Adapters and memory as they stand before the first exchange."""
    start, memory = method.start()
    moved = noise_like(start, seed)
    if method.warm_up_steps(0):
        memory = method.after_warm_up(moved, memory, mesh, 0)
    masks = method.masks(memory)
    assert masks is not None
    return Adapters(moved.a, {k: v * masks[k] for k, v in moved.b.items()}), memory


def exchanged(
    method: SoLoraRules,
    state: tuple[Adapters, Memory],
    mesh: Mesh,
    heard: Heard,
    round_index: int,
) -> tuple[Adapters, Memory, np.ndarray]:
    """Adapters, memory and bits per link after a round with all its hops."""
    adapters, memory = state
    bits = method.sent(memory, mesh, round_index).bits
    adapters, memory = method.combine(adapters, memory, mesh, heard, round_index)
    alive = replace(mesh, linked=mesh.linked & heard)
    while (more := method.relayed(memory, alive).bits).any():
        memory = method.relay(memory, alive, heard)
        bits = bits + more
    return adapters, memory, bits


def full(devices: int) -> Mesh:
    return mesh_of(full_mesh(devices))


def nobody(devices: int) -> Heard:
    return np.zeros((devices, devices), dtype=bool)


@pytest.mark.parametrize("mode", MODES)
class TestEveryMode:
    def test_a_device_keeps_to_its_own_mask(self, mode):
        method = so_lora([0, 0, 1], mode=mode)
        adapters, memory = trained(method, full(3))
        masks = method.masks(memory)
        assert masks is not None
        kept, _ = method.combine(adapters, memory, full(3), full_mesh(3), 0)
        for name, value in kept.b.items():
            assert not value[~masks[name]].any()

    def test_everybody_ends_with_an_expert_of_everybody_elses_group(self, mode):
        own, cluster = [0, 0, 1, 1], [0, 0, 1, 1]
        method, mesh = so_lora(own, mode=mode, library_every=3), mesh_of(line_mesh(4), cluster)
        adapters, memory = trained(method, mesh)
        adapters, memory, _ = exchanged(method, (adapters, memory), mesh, line_mesh(4), 2)
        assert method.diagnostics(memory)["library_fraction"] == 1.0
        bank = method.bank(adapters, memory)
        for row in bank.held:
            assert set(bank.task[row[row >= 0]].tolist()) == {0, 1}
        assert not method.sent(memory, mesh, 3).bits[~mesh.inside].any()

    def test_masks_may_be_drawn_again_and_are_told_again(self, mode):
        method = so_lora([0, 0], mode=mode, mask_every=4)
        assert [method.warm_up_steps(t) for t in range(6)] == [20, 0, 0, 0, 20, 0]
        adapters, memory = trained(method, full(2))
        adapters, memory = method.combine(adapters, memory, full(2), full_mesh(2), 0)
        own = method.sent(memory, full(2), 1).bits[0, 1]
        memory = method.after_warm_up(noise_like(adapters, 7), memory, full(2), 4)
        assert method.sent(memory, full(2), 4).bits[0, 1] == own + VALUES_B


class TestBits:
    """Bits by hand."""

    def test_a_link_between_devices_of_one_task_carries_the_kept_values_each_round(self):
        method = so_lora([0, 0])
        adapters, memory = trained(method, full(2))
        assert method.sent(memory, full(2), 0).bits[0, 1] == KEPT + FIRST
        adapters, memory = method.combine(adapters, memory, full(2), full_mesh(2), 0)
        assert method.sent(memory, full(2), 1).bits[0, 1] == KEPT

    def test_in_the_other_modes_every_device_of_the_cluster_is_sent_to(self):
        mesh = mesh_of(full_mesh(3), [0, 0, 1])
        method = so_lora([0, 1, 2], mode="repaired")
        _, memory = trained(method, mesh)
        expected = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]]) * (KEPT + FIRST)
        assert (method.sent(memory, mesh, 0).bits == expected).all()

    def test_a_cluster_mean_is_sent_on_the_union_of_its_masks(self):
        mesh = mesh_of(line_mesh(3), [0, 0, 1])
        method = so_lora([0, 1, 2], mode="literal", library_every=1)
        adapters, memory = trained(method, mesh)
        adapters, memory = method.combine(adapters, memory, mesh, line_mesh(3), 0)
        masks = method.masks(memory)
        assert masks is not None
        union = sum(int((mask[0] | mask[1]).sum()) for mask in masks.values())
        # Device 2 gets the mean of cluster 0 from device 1, and hears of two strangers.
        assert method.relayed(memory, mesh).bits[2, 1] == 16 * union + 2 * 64 + 2 * FIRST

    def test_a_link_between_tasks_is_silent_until_something_is_published(self):
        method = so_lora([0, 1], library_every=3)
        adapters, memory = trained(method, full(2))
        sent = []
        for t in range(6):
            adapters, memory, bits = exchanged(method, (adapters, memory), full(2), full_mesh(2), t)
            sent.append(int(bits[0, 1]))
        assert sent == [0, 0, KEPT + 128 + FIRST, 0, 0, KEPT + 128]

    def test_the_first_contact_is_sent_again_until_it_is_heard(self):
        method = so_lora([0, 0])
        adapters, memory = trained(method, full(2))
        heard = full_mesh(2)
        heard[0, 1] = False
        _, memory = method.combine(adapters, memory, full(2), heard, 0)
        bits = method.sent(memory, full(2), 1).bits
        assert bits[0, 1] == KEPT + FIRST
        assert bits[1, 0] == KEPT

    @pytest.mark.parametrize(
        ("rule", "changes", "expected"),
        [
            ({"density": 1.0}, {}, 16 * VALUES_B + 64 + 16 * PROTOTYPE_VALUES),
            ({"a_sent": "matrix"}, {}, KEPT + FIRST - 64 + 16 * VALUES_A),
            ({}, {"signatures": {}}, KEPT + 64 + VALUES_B),
            ({}, {"value_bits": 4}, KEPT // 4 + 16 * RANKS + FIRST),
            ({}, {"value_bits": 32}, 2 * KEPT + 64 + VALUES_B + 32 * PROTOTYPE_VALUES),
            # A quarter of B now, and which of the kept entries as a bitmap over them.
            ({"density_sent": 0.25}, {}, KEPT // 2 + VALUES_B // 2 + FIRST),
            # So few that naming them one by one, 5 bits each, is less than the bitmap of 20.
            ({"density_sent": 0.05}, {}, 2 * 16 + 2 * 5 + FIRST),
            # One at least, as in training.
            ({"density_sent": 0.001}, {}, 16 + 5 + FIRST),
            # Two entries of 40: their numbers, 6 bits each, are less than the bitmap.
            ({"density": 0.05, "mask": "global"}, {}, 2 * 16 + FIRST - VALUES_B + 2 * 6),
        ],
    )
    def test_what_is_sent_first_depends_on_the_rule(self, rule, changes, expected):
        method = so_lora([0, 0], changes, **rule)
        _, memory = trained(method, full(2))
        assert method.sent(memory, full(2), 0).bits[0, 1] == expected


class TestAveraging:
    def test_stacked_devices_of_one_task_average_and_others_do_not_enter(self):
        method = so_lora([0, 0, 1], {"value_bits": 32}, density=1.0)
        adapters, memory = trained(method, full(3))
        kept, _ = method.combine(adapters, memory, full(3), full_mesh(3), 0)
        for name, value in adapters.b.items():
            both = (value[0] + value[1]) / 2
            assert_close(kept.b[name], torch.stack([both, both, value[2]]))

    def test_averaging_b_of_one_task_averages_the_update(self):
        """T6 of the reference algorithm."""
        method = so_lora([0, 0], {"value_bits": 32}, density=1.0)
        adapters, memory = trained(method, full(2))
        kept, _ = method.combine(adapters, memory, full(2), full_mesh(2), 0)
        for name in adapters.b:
            update = adapters.b[name] @ adapters.a[name]
            assert_close(kept.b[name][0] @ kept.a[name][0], update.mean(dim=0))

    def test_with_an_a_of_its_own_a_stacked_device_averages_with_nobody(self):
        method = so_lora([0, 0], a_init="device")
        adapters, memory = trained(method, full(2))
        assert method.sent(memory, full(2), 0).bits.sum() == 0
        kept, _ = method.combine(adapters, memory, full(2), full_mesh(2), 0)
        for name, value in adapters.b.items():
            assert torch.equal(kept.b[name], value)

    def test_with_one_a_for_all_and_no_masks_it_is_frozen_a_gossip(self):
        """T11 of the reference algorithm: bits too, q nB each round."""
        setup = setup_of([0, 1, 2, 0])
        gossip = FfaGossipRules(setup, FfaGossip())
        method = SoLoraRules(setup, SoLora(a_init="common", density=1.0, library_every=1000))
        mesh = mesh_of(line_mesh(4))
        adapters, memory = trained(method, mesh)
        theirs, _ = gossip.start()
        assert all(torch.equal(theirs.a[k], adapters.a[k]) for k in SHAPES)
        assert (gossip.sent({}, mesh, 0).bits[0, 1]) == 16 * VALUES_B
        for t in range(3):
            wanted, _ = gossip.combine(adapters, {}, mesh, line_mesh(4), t)
            adapters, memory = method.combine(adapters, memory, mesh, line_mesh(4), t)
            for name in SHAPES:
                assert_close(adapters.b[name], wanted.b[name])
        assert method.sent(memory, mesh, 3).bits[0, 1] == 16 * VALUES_B

    def test_literal_divides_by_the_cluster_and_repaired_by_those_that_hold_the_entry(self):
        own, kept = [0, 1, 2], {}
        for mode in ("literal", "repaired"):
            method = so_lora(own, {"value_bits": 32}, mode=mode, mask="disjoint", density=0.3)
            adapters, memory = trained(method, full(3))
            kept[mode], _ = method.combine(adapters, memory, full(3), full_mesh(3), 0)
        for name, value in adapters.b.items():
            assert_close(kept["repaired"].b[name], value)
            assert_close(kept["literal"].b[name], value / 3)

    def test_stacked_devices_weigh_each_other_by_the_rule_of_the_run(self):
        """Device 0 heard 1, and not the other way round: metropolis takes no such link."""
        heard, kept = np.array([[False, True], [False, False]]), {}
        for rule in ("metropolis", "uniform"):
            changes = {"value_bits": 32, "mixing": MixingRule(rule)}
            method = so_lora([0, 0], changes, density=1.0)
            adapters, memory = trained(method, full(2))
            kept[rule], _ = method.combine(adapters, memory, full(2), heard, 0)
        for name, value in adapters.b.items():
            assert_close(kept["metropolis"].b[name], value)
            assert_close(kept["uniform"].b[name], torch.stack([value.mean(dim=0), value[1]]))

    def test_averaging_stops_at_the_border_of_the_cluster(self):
        method = so_lora([0, 0, 0, 0], {"value_bits": 32}, mode="repaired", density=1.0)
        mesh = mesh_of(full_mesh(4), [0, 0, 1, 1])
        adapters, memory = trained(method, mesh)
        kept, _ = method.combine(adapters, memory, mesh, full_mesh(4), 0)
        for name, value in adapters.b.items():
            assert_close(kept.b[name][0], value[:2].mean(dim=0))
            assert_close(kept.b[name][3], value[2:].mean(dim=0))

    def test_what_is_not_sent_waits_and_is_sent_later(self):
        method = so_lora([0, 0], {"value_bits": 32}, density=0.5, density_sent=0.25)
        adapters, memory = trained(method, full(2))
        kept, memory = method.combine(adapters, memory, full(2), full_mesh(2), 0)
        masks, sent = method.masks(memory), {k: memory[f"sent.{k}"] for k in SHAPES}
        assert masks is not None
        went = sum(int((value[0] != 0).sum()) for value in sent.values())
        assert went == VALUES_B // 4
        _, memory = method.combine(adapters, memory, full(2), full_mesh(2), 1)
        for name in SHAPES:
            assert_close(memory[f"sent.{name}"], adapters.b[name])
        # An entry of device 1 that did not go leaves device 0 as it was.
        for name, value in adapters.b.items():
            silent = masks[name][0] & (sent[name][1] == 0)
            assert_close(kept.b[name][0][silent], value[0][silent])


class TestBanks:
    def test_a_copy_is_the_senders_expert_as_it_was_on_air(self):
        method = so_lora([0, 1], library_every=1)
        adapters, memory = trained(method, full(2))
        adapters, memory, _ = exchanged(method, (adapters, memory), full(2), full_mesh(2), 0)
        bank = method.bank(noise_like(adapters, 5), memory)
        assert bank.held[0].tolist() == [0, -1, 3]
        expert = 3
        assert bank.task[expert] == 1
        for name, value in adapters.b.items():
            assert torch.equal(bank.experts.b[name][expert], value[1].half().float())
            assert torch.equal(bank.experts.a[name][expert], adapters.a[name][1])
            told = bank.signatures["mean"][name][expert]
            assert torch.equal(told, method.setup.signatures["mean"][name][1])
        kinds = bank.signatures["mean"]
        assert kinds["layers.0.q_proj"] is kinds["layers.0.k_proj"]

    def test_literal_experts_are_the_cluster_mean_behind_each_members_a(self):
        method = so_lora([0, 1], mode="literal")
        adapters, memory = trained(method, full(2))
        kept, memory = method.combine(adapters, memory, full(2), full_mesh(2), 0)
        bank = method.bank(kept, memory)
        assert bank.held.tolist() == [[0, 1], [1, 0]]
        for name, value in adapters.b.items():
            mean = value.half().float().mean(dim=0)
            assert_close(bank.experts.b[name], torch.stack([mean, mean]))
            assert_close(bank.experts.a[name], adapters.a[name])

    def test_disjoint_masks_put_back_at_inference_leave_each_expert_whole(self):
        """T15: repaired with disjoint masks answers as stack does, nothing is mixed."""
        own = [0, 1, 2]
        banks = []
        for mode in ("repaired", "stack"):
            method = so_lora(
                own, {"value_bits": 32}, mode=mode, mask="disjoint", density=0.3, library_every=1
            )
            adapters, memory = trained(method, full(3))
            adapters, memory, _ = exchanged(method, (adapters, memory), full(3), full_mesh(3), 0)
            banks.append(method.bank(adapters, memory))
        repaired, stack = banks
        assert repaired.task.tolist() == stack.task[:3].tolist() == own
        for name in SHAPES:
            updates = [
                bank.experts.b[name][:3] @ bank.experts.a[name][:3] for bank in (repaired, stack)
            ]
            assert_close(*updates)

    def test_a_mean_that_is_the_same_in_a_cluster_is_stored_once(self):
        method = so_lora([0, 1, 2, 3], mode="repaired")
        adapters, memory = trained(method, full(4))
        kept, memory = method.combine(adapters, memory, full(4), full_mesh(4), 0)
        assert len(method.bank(kept, memory).task) == 4
        heard = full_mesh(4)
        heard[0, 3] = False
        _, memory = trained(method, full(4))
        kept, memory = method.combine(adapters, memory, full(4), heard, 0)
        # Device 0 has another mean, and does not know device 3.
        assert len(method.bank(kept, memory).task) == 3 + 4


@pytest.mark.parametrize(
    ("mode", "mask", "a_init"),
    list(
        product(
            MODES, ("layer", "global", "column", "disjoint"), ("orthonormal", "device", "common")
        )
    ),
)
def test_every_combination_plays_some_rounds(mode, mask, a_init):
    method = so_lora([0, 0, 1, 1], mode=mode, mask=mask, a_init=a_init, library_every=1)
    mesh = mesh_of(line_mesh(4), [0, 0, 1, 1])
    adapters, memory = trained(method, mesh)
    for t in range(3):
        adapters, memory, _ = exchanged(method, (adapters, memory), mesh, line_mesh(4), t)
    bank = method.bank(adapters, memory)
    assert all(value.isfinite().all() for value in bank.experts.b.values())
    assert bank.held.max() < len(bank.task) == len(bank.experts.b["layers.0.q_proj"])
