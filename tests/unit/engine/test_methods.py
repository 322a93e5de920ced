from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from engine.adapters import Adapters, mean
from engine.config import Local, LoraGossip, SoLora
from engine.errors import ConfigMismatch
from engine.methods import Memory, Method, build_method
from engine.methods.so_lora import SoLoraMethod, orthonormal_a
from tests.support.methods import (
    PROTOTYPE_VALUES,
    VALUES_A,
    VALUES_B,
    full_mesh,
    line_mesh,
    setup_of,
)

KINDS = [Local(), LoraGossip(), SoLora(density=0.5, library_every=3)]


def noise_like(adapters: Adapters, seed: int = 0) -> Adapters:
    """Adapters of the same shape as if training had moved them."""
    generator = torch.Generator().manual_seed(seed)
    return Adapters(
        adapters.a,
        {k: torch.randn(v.shape, generator=generator) for k, v in adapters.b.items()},
    )


def trained(method: Method, seed: int = 0) -> tuple[Adapters, Memory]:
    """Adapters and memory as they stand before the first exchange."""
    start, memory = method.start()
    moved = noise_like(start, seed)
    memory = method.after_warm_up(moved, memory)
    masks = method.masks(memory)
    if masks is not None:
        moved = Adapters(moved.a, {k: v * masks[k] for k, v in moved.b.items()})
    return moved, memory


def so_lora(own: list[int], **changes: object) -> SoLoraMethod:
    method = build_method(SoLora(library_every=3), setup_of(own))
    assert isinstance(method, SoLoraMethod)
    return replace(method, **changes)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
class TestEveryMethod:
    def test_nobody_heard_leaves_everybody_with_their_own_adapter(self, kind):
        method = build_method(kind, setup_of([0, 0, 1, 1]))
        adapters, memory = trained(method)
        kept, _ = method.combine(adapters, memory, np.zeros((4, 4), dtype=bool), 0)
        for name, value in adapters.b.items():
            assert_close(kept.b[name], value)

    def test_combine_changes_none_of_its_inputs(self, kind):
        method = build_method(kind, setup_of([0, 0, 1, 1]))
        adapters, memory = trained(method)
        before = {k: v.clone() for k, v in adapters.b.items()}
        remembered = {k: v.clone() for k, v in memory.items()}
        method.combine(adapters, memory, full_mesh(4), 2)
        assert all(torch.equal(adapters.b[k], v) for k, v in before.items())
        assert all(torch.equal(memory[k], v) for k, v in remembered.items())

    def test_a_device_alone_sends_nothing_and_still_answers(self, kind):
        method = build_method(kind, setup_of([0], linked=np.zeros((1, 1), dtype=bool)))
        adapters, memory = trained(method)
        assert method.payload_bits(memory, 0).sum() == 0
        assert method.bank(adapters, memory).held.max() >= 0

    def test_only_links_of_the_mesh_carry_bits(self, kind):
        method = build_method(kind, setup_of([0, 1, 0, 1], linked=line_mesh(4)))
        adapters, memory = trained(method)
        for t in range(6):
            assert not method.payload_bits(memory, t)[~line_mesh(4)].any()
            adapters, memory = method.combine(adapters, memory, line_mesh(4), t)


def test_gossip_bits_are_both_factors_of_every_module_on_every_link():
    method = build_method(LoraGossip(), setup_of([0, 1, 0]))
    bits = method.payload_bits({}, 0)
    assert (bits[full_mesh(3)] == 16 * (VALUES_A + VALUES_B)).all()
    assert np.diag(bits).sum() == 0


def test_gossip_on_a_full_mesh_reaches_the_mean_in_one_round():
    method = build_method(LoraGossip(), setup_of([0, 1, 2], value_bits=32))
    adapters, memory = trained(method)
    kept, _ = method.combine(adapters, memory, full_mesh(3), 0)
    for name, value in mean(adapters).b.items():
        assert_close(kept.b[name], value.expand_as(kept.b[name]))


def test_gossip_rounds_what_others_hear_but_not_what_a_device_keeps():
    method = build_method(LoraGossip(), setup_of([0, 1]))
    adapters, memory = trained(method)
    kept, _ = method.combine(adapters, memory, full_mesh(2), 0)
    for name, value in adapters.b.items():
        expected = 0.5 * value[0] + 0.5 * value[1].half().float()
        assert_close(kept.b[name][0], expected, rtol=0, atol=1e-7)


def test_all_devices_of_gossip_start_equal():
    start, _ = build_method(LoraGossip(), setup_of([0, 1, 2])).start()
    for value in start.a.values():
        assert torch.equal(value[0], value[2])


class TestSparseExperts:
    """Bits by hand. q = 16, density 0.5, so every module sends half of its r d_out values."""

    KEPT = 16 * VALUES_B // 2
    FIRST = 64 + VALUES_B + 16 * PROTOTYPE_VALUES

    def test_a_link_between_devices_of_one_task_carries_the_kept_values_each_round(self):
        method = so_lora([0, 0])
        adapters, memory = trained(method)
        assert method.payload_bits(memory, 0)[0, 1] == self.KEPT + self.FIRST
        adapters, memory = method.combine(adapters, memory, full_mesh(2), 0)
        assert method.payload_bits(memory, 1)[0, 1] == self.KEPT

    def test_a_link_between_tasks_is_silent_until_the_library_is_due(self):
        method = so_lora([0, 1])
        adapters, memory = trained(method)
        for t in range(2):
            assert method.payload_bits(memory, t).sum() == 0
            adapters, memory = method.combine(adapters, memory, full_mesh(2) & False, t)
        assert method.payload_bits(memory, 2)[0, 1] == self.KEPT + self.FIRST
        adapters, memory = method.combine(adapters, memory, full_mesh(2), 2)
        assert method.payload_bits(memory, 5)[0, 1] == self.KEPT

    def test_the_first_contact_is_sent_again_until_it_is_heard(self):
        method = so_lora([0, 0])
        adapters, memory = trained(method)
        heard = full_mesh(2)
        heard[0, 1] = False
        _, memory = method.combine(adapters, memory, heard, 0)
        bits = method.payload_bits(memory, 1)
        assert bits[0, 1] == self.KEPT + self.FIRST
        assert bits[1, 0] == self.KEPT

    def test_without_a_prototype_gate_no_prototype_is_sent(self):
        method = so_lora([0, 0], gate="none")
        _, memory = trained(method)
        assert method.payload_bits(memory, 0)[0, 1] == self.KEPT + 64 + VALUES_B

    def test_the_ledger_splits_the_bits_of_the_round(self):
        method = so_lora([0, 0, 1])
        adapters, memory = trained(method)
        bits = method.payload_bits(memory, 2)
        _, memory = method.combine(adapters, memory, full_mesh(3), 2)
        parts = method.diagnostics(memory)
        assert parts["own_bits"] == 2 * self.KEPT
        assert parts["library_bits"] == 4 * self.KEPT
        assert parts["first_contact_bits"] == 6 * self.FIRST
        assert parts["own_bits"] + parts["library_bits"] + parts["first_contact_bits"] == bits.sum()

    def test_devices_of_one_task_average_and_others_do_not_enter(self):
        method = so_lora([0, 0, 1], setup=setup_of([0, 0, 1], value_bits=32), density=1.0)
        adapters, memory = trained(method)
        kept, _ = method.combine(adapters, memory, full_mesh(3), 0)
        for name, value in adapters.b.items():
            both = (value[0] + value[1]) / 2
            assert_close(kept.b[name], torch.stack([both, both, value[2]]))

    def test_devices_of_one_task_share_a_so_averaging_b_averages_the_update(self):
        method = so_lora([0, 0], density=1.0, setup=setup_of([0, 0], value_bits=32))
        adapters, memory = trained(method)
        kept, _ = method.combine(adapters, memory, full_mesh(2), 0)
        for name in adapters.b:
            update = adapters.b[name] @ adapters.a[name]
            assert_close(kept.b[name][0] @ kept.a[name][0], update.mean(dim=0))

    def test_a_device_keeps_to_its_own_mask(self):
        method = so_lora([0, 0, 0])
        adapters, memory = trained(method)
        masks = method.masks(memory)
        assert masks is not None
        kept, _ = method.combine(adapters, memory, full_mesh(3), 0)
        for name, value in kept.b.items():
            assert not value[~masks[name]].any()


class TestLibrary:
    def test_experts_of_other_tasks_arrive_hop_by_hop(self):
        own = [0, 1, 2, 3]
        method = so_lora(own, setup=setup_of(own, linked=line_mesh(4)), library_every=1)
        adapters, memory = trained(method)
        known = []
        for t in range(3):
            adapters, memory = method.combine(adapters, memory, line_mesh(4), t)
            known.append((memory["held"][0] >= 0).tolist())
        assert known == [
            [False, True, False, False],
            [False, True, True, False],
            [False, True, True, True],
        ]
        assert method.diagnostics(memory)["library_fraction"] == 1.0

    def test_a_copy_is_the_senders_expert_as_it_was_on_air(self):
        method = so_lora([0, 1], library_every=1)
        adapters, memory = trained(method)
        kept, memory = method.combine(adapters, memory, full_mesh(2), 0)
        bank = method.bank(kept, memory)
        expert = int(bank.held[0, 1])
        for name, value in adapters.b.items():
            assert torch.equal(bank.experts.b[name][expert], value[1].half().float())
            assert torch.equal(bank.experts.a[name][expert], adapters.a[name][1])
            assert torch.equal(bank.prototypes[name][expert], method.setup.prototypes[name][1])

    def test_a_lost_message_leaves_the_older_copy(self):
        method = so_lora([0, 1], library_every=1)
        adapters, memory = trained(method)
        _, memory = method.combine(adapters, memory, full_mesh(2), 0)
        newer = noise_like(adapters, seed=9)
        _, memory = method.combine(newer, memory, full_mesh(2) & False, 1)
        assert memory["copy_round"].tolist() == [0, 0]
        _, memory = method.combine(newer, memory, full_mesh(2), 2)
        assert memory["copy_round"].tolist() == [2, 2]

    def test_nothing_is_told_twice_nor_back_to_where_it_came_from(self):
        own = [0, 1, 2]
        method = so_lora(own, setup=setup_of(own, linked=line_mesh(3)), library_every=1)
        adapters, memory = trained(method)
        heard = line_mesh(3)
        _, memory = method.combine(adapters, memory, heard, 0)
        # Round 1: device 1 forwards 2's expert to 0 and 0's to 2, besides its own; the ends only
        # send their own, since what they know they know from device 1.
        sent = {(i, j): items for i, j, items in method._messages(memory, 1)}
        assert [item.source for item in sent[0, 1]] == [1, 2]
        assert [item.source for item in sent[2, 1]] == [1, 0]
        assert [item.source for item in sent[1, 0]] == [0]
        assert [item.source for item in sent[1, 2]] == [2]

    def test_copies_nobody_holds_are_dropped(self):
        method = so_lora([0, 1], library_every=1)
        adapters, memory = trained(method)
        for t in range(4):
            adapters, memory = method.combine(adapters, memory, full_mesh(2), t)
        assert len(memory["copy_source"]) == 2

    def test_the_last_round_exchanges_even_if_it_is_not_its_turn(self):
        method = so_lora([0, 1], library_every=1000)
        _, memory = trained(method)
        assert method.payload_bits(memory, 18).sum() == 0
        assert method.payload_bits(memory, 19).sum() > 0


class TestStaticA:
    def test_projections_of_different_tasks_are_exactly_orthogonal(self):
        setup = setup_of([0, 1, 2, 0])
        a = orthonormal_a(setup, "layers.0.q_proj").double()
        for i in range(4):
            for j in range(4):
                expected = torch.eye(2, dtype=torch.float64) * (setup.own[i] == setup.own[j])
                assert_close(a[i] @ a[j].T, expected, atol=1e-6, rtol=0)

    def test_ranks_that_do_not_fit_are_orthonormal_within_a_task_and_only_nearly_between(self):
        setup = setup_of([0, 1], rank=32)
        a = orthonormal_a(setup, "layers.0.q_proj").double()
        assert_close(a[0] @ a[0].T, torch.eye(32, dtype=torch.float64), atol=1e-6, rtol=0)
        assert (a[0] @ a[1].T).abs().max() > 1e-3

    def test_a_rank_above_the_width_is_refused_with_the_module_and_the_limit(self):
        with pytest.raises(ConfigMismatch, match=r"adapter\.rank is 81 but .* use at most 80"):
            orthonormal_a(setup_of([0], rank=81), "layers.0.q_proj")
