"""CHOCO-SGD: compressed changes, public copies, and what happens when a message is lost."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from meshtune.engine.adapters.stack import Adapters, flatten, mean
from meshtune.engine.methods.choco_gossip.config import ChocoGossip
from meshtune.engine.methods.choco_gossip.rules import ChocoGossipRules
from meshtune.engine.methods.lora_gossip.config import LoraGossip
from meshtune.engine.methods.lora_gossip.rules import LoraGossipRules
from meshtune.engine.methods.rules import Heard, Memory
from meshtune.engine.weights import metropolis_weights
from tests.support.methods import (
    RANK,
    VALUES_A,
    VALUES_B,
    full_mesh,
    line_mesh,
    mesh_of,
    setup_of,
)

OWN = [0, 1, 2, 1]
VALUES = VALUES_A + VALUES_B  # 504, a quarter of which is 126
NOBODY = np.zeros((4, 4), dtype=bool)


def choco(changes: dict[str, Any] | None = None, **rule: Any) -> ChocoGossipRules:
    setup = setup_of(OWN, **({"value_bits": 32} | (changes or {})))
    return ChocoGossipRules(setup, rule=ChocoGossip(**rule))


def moved(adapters: Adapters, seed: int) -> Adapters:
    """As if a round of training had moved both factors."""
    generator = torch.Generator().manual_seed(seed)

    def some(values: dict[str, Tensor]) -> dict[str, Tensor]:
        return {k: v + torch.randn(v.shape, generator=generator) for k, v in values.items()}

    return Adapters(some(adapters.a), some(adapters.b))


def rows(adapters: Adapters) -> Tensor:
    """All values of a device, A first, in one row."""
    return torch.cat([flatten(adapters.a), flatten(adapters.b)], dim=1)


def copies(memory: Memory) -> Tensor:
    a = {k: v for k, v in memory.items() if k.startswith("copy.a.")}
    b = {k: v for k, v in memory.items() if k.startswith("copy.b.")}
    assert a.keys() | b.keys() == memory.keys()
    return torch.cat([flatten(a), flatten(b)], dim=1)


def test_t12_without_compression_and_with_a_full_step_it_is_gossip_sgd() -> None:
    """T12: C = identity, gamma = 1: round by round the factors of plain LoRA gossip."""
    mesh, method = mesh_of(line_mesh(4)), choco(density=1.0, gamma=1.0)
    gossip = LoraGossipRules(method.setup, LoraGossip())
    x, memory = method.start()
    y, _ = gossip.start()
    assert torch.equal(rows(x), rows(y))
    for t in range(6):
        after = moved(x, t)
        x, memory = method.combine(after, memory, mesh, mesh.linked, t)
        y, _ = gossip.combine(moved(y, t), {}, mesh, mesh.linked, t)
        assert_close(rows(x), rows(y), rtol=1e-5, atol=1e-5)
        assert_close(copies(memory), rows(after), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("density", [0.05, 0.25, 0.6])
def test_it_is_the_rule_of_the_source_written_out(density: float) -> None:
    """Device by device: q = top-k(x - xh), xh += q, x += gamma sum_j w_ij (xh_j - xh_i)."""
    mesh, gamma = mesh_of(line_mesh(4)), 0.4
    method = choco(density=density, gamma=gamma)
    kept = round(density * VALUES)
    adapters, memory = method.start()
    xh, weights = rows(adapters).clone(), metropolis_weights(mesh.linked)
    for t in range(4):
        trained = moved(adapters, t)
        x = rows(trained)
        for i in range(4):
            change = x[i] - xh[i]
            largest = change.abs().argsort(descending=True, stable=True)[:kept]
            xh[i, largest] += change[largest]
        expected = torch.stack(
            [
                x[i] + gamma * sum(weights[i, j] * (xh[j] - xh[i]) for j in range(4))
                for i in range(4)
            ]
        )
        adapters, memory = method.combine(trained, memory, mesh, mesh.linked, t)
        assert_close(rows(adapters), expected, rtol=1e-4, atol=1e-5)
        assert_close(copies(memory), xh, rtol=1e-4, atol=1e-5)


def test_what_waits_is_sent_later_until_the_copy_is_the_adapter() -> None:
    """A quarter per round and no training in between: the fourth round completes the copy."""
    mesh, method = mesh_of(full_mesh(4)), choco(gamma=1e-9)
    adapters, memory = method.start()
    adapters = moved(adapters, 0)
    distances = []
    for t in range(4):
        adapters, memory = method.combine(adapters, memory, mesh, mesh.linked, t)
        distances.append(float((rows(adapters) - copies(memory)).norm()))
    assert distances[0] > distances[1] > distances[2] > distances[3]
    assert distances[3] < 1e-4


def test_devices_agree_although_each_message_is_a_part() -> None:
    """The source's theorem for consensus: linear convergence to the mean of the start."""
    mesh, method = mesh_of(full_mesh(4)), choco({"value_bits": 16})
    adapters, memory = method.start()
    adapters = moved(adapters, 0)
    before = rows(adapters).std(dim=0).norm()
    target = rows(mean(adapters))
    for t in range(60):
        adapters, memory = method.combine(adapters, memory, mesh, mesh.linked, t)
    assert rows(adapters).std(dim=0).norm() < 1e-3 * before
    assert_close(rows(adapters), target.expand(4, -1), rtol=0, atol=1e-2)


def test_the_mean_over_devices_stays_whatever_is_lost() -> None:
    mesh, method = mesh_of(full_mesh(4)), choco({"value_bits": 8})
    chance = np.random.default_rng(0)
    adapters, memory = method.start()
    for t in range(5):
        trained = moved(adapters, t)
        heard = mesh.linked & (chance.random((4, 4)) < 0.8)
        adapters, memory = method.combine(trained, memory, mesh, heard, t)
        assert_close(rows(mean(adapters)), rows(mean(trained)), rtol=1e-5, atol=1e-5)


def test_a_copy_advances_only_if_all_linked_neighbours_heard_the_change() -> None:
    """Device 1 is heard by 0 and not by 2. Neither keeps the change, and it is sent again."""
    mesh, method = mesh_of(line_mesh(4)), choco(density=1.0, gamma=1.0)
    start, memory = method.start()
    trained = moved(start, 0)
    heard = mesh.linked.copy()
    heard[2, 1] = False
    kept, after = method.combine(trained, memory, mesh, heard, 0)
    old, new = copies(memory), copies(after)
    assert torch.equal(new[1], old[1])
    assert_close(new[[0, 2, 3]], rows(trained)[[0, 2, 3]])
    # Nobody is drawn to the copy that stands still, nor its owner to others: 2 and 3 are left.
    both = rows(trained)[2:].mean(dim=0)
    assert torch.equal(rows(kept)[:2], rows(trained)[:2])
    assert_close(rows(kept)[2:], both.expand(2, -1))
    _, later = method.combine(kept, after, mesh, mesh.linked, 1)
    assert_close(copies(later)[1], rows(kept)[1])


def test_behind_a_dead_link_nobody_runs_away() -> None:
    """Steps towards a copy that stands still would add up without end."""
    mesh, method = mesh_of(line_mesh(4)), choco(density=1.0, gamma=1.0)
    adapters, memory = method.start()
    adapters = moved(adapters, 0)
    size = rows(adapters).abs().max()
    heard = mesh.linked.copy()
    heard[0, 1] = heard[1, 0] = False
    for t in range(50):
        adapters, memory = method.combine(adapters, memory, mesh, heard, t)
    assert rows(adapters).abs().max() <= size + 1e-4


@pytest.mark.parametrize("value_bits", [32, 16, 4])
def test_nobody_heard_leaves_adapters_and_copies_to_the_bit(value_bits: int) -> None:
    mesh, method = mesh_of(full_mesh(4)), choco({"value_bits": value_bits})
    adapters, memory = method.start()
    adapters, memory = method.combine(moved(adapters, 0), memory, mesh, mesh.linked, 0)
    trained = moved(adapters, 1)
    kept, after = method.combine(trained, memory, mesh, NOBODY, 1)
    assert torch.equal(rows(kept), rows(trained))
    assert torch.equal(copies(after), copies(memory))


def test_the_largest_changes_of_a_and_b_compete_with_each_other() -> None:
    """Where B moves a hundred times as far as A, all that is sent is B."""
    mesh, method = mesh_of(full_mesh(4)), choco(density=0.05)
    start, memory = method.start()
    trained = moved(start, 0)
    trained = Adapters(trained.a, {k: 100 * v for k, v in trained.b.items()})
    _, after = method.combine(trained, memory, mesh, mesh.linked, 0)
    changed = copies(after) != copies(memory)
    assert not changed[:, :VALUES_A].any()
    assert changed.sum(dim=1).tolist() == [round(0.05 * VALUES)] * 4


def test_a_change_is_rounded_as_it_is_on_air() -> None:
    mesh, method = mesh_of(full_mesh(4)), choco({"value_bits": 16}, density=1.0)
    start, memory = method.start()
    trained = moved(start, 0)
    _, after = method.combine(trained, memory, mesh, mesh.linked, 0)
    change = (rows(trained) - copies(memory)).half().float()
    assert_close(copies(after), copies(memory) + change)


@pytest.mark.parametrize(
    ("rule", "value_bits", "expected"),
    [
        # 126 of 504 values; a bitmap of 504 bits is less than 126 numbers of 9 bits.
        ({}, 16, 126 * 16 + 504),
        ({}, 8, 126 * 8 + 16 * 2 * 3 * RANK + 504),
        # 5 values, each with its number.
        ({"density": 0.01}, 32, 5 * 32 + 5 * 9),
        # All values need no places.
        ({"density": 1.0}, 16, 504 * 16),
        ({"density": 1e-6}, 16, 16 + 9),
    ],
)
def test_bits_by_hand(rule: dict[str, Any], value_bits: int, expected: int) -> None:
    assert VALUES == 504
    mesh, method = mesh_of(line_mesh(4)), choco({"value_bits": value_bits}, **rule)
    _, memory = method.start()
    for t in range(2):
        bits = method.sent(memory, mesh, t).bits
        assert np.array_equal(bits, np.where(mesh.linked, expected, 0))


def test_links_are_those_of_the_mesh_not_those_overheard() -> None:
    """A device out of reach need not hear the change for the copy to advance."""
    mesh, method = mesh_of(line_mesh(4)), choco(density=1.0, gamma=1.0)
    start, memory = method.start()
    heard: Heard = full_mesh(4)
    overheard, _ = method.combine(moved(start, 0), memory, mesh, heard, 0)
    linked, _ = method.combine(moved(start, 0), memory, mesh, mesh.linked, 0)
    assert torch.equal(rows(overheard), rows(linked))
