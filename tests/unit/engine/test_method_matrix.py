"""What every method owes, a row per arm: a new kind joins with one row, or the first test fails."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor
from torch.testing import assert_close

from meshtune.engine import config as c
from meshtune.engine.adapters.stack import Adapters, Factor, select
from meshtune.engine.fleet import BOTH_FACTORS
from meshtune.engine.methods.centralised.config import Centralised
from meshtune.engine.methods.choco_gossip.config import ChocoGossip
from meshtune.engine.methods.decaf_gossip.config import DecafGossip
from meshtune.engine.methods.ffa_gossip.config import FfaGossip
from meshtune.engine.methods.full_gossip.config import FullGossip
from meshtune.engine.methods.local.config import Local
from meshtune.engine.methods.lora_gossip.config import LoraGossip
from meshtune.engine.methods.lori.config import Lori
from meshtune.engine.methods.oracle_experts.config import OracleExperts
from meshtune.engine.methods.registry import METHODS
from meshtune.engine.methods.rules import Bits, Heard, Memory, Method, build_method
from meshtune.engine.methods.so_lora.config import SoLora
from meshtune.engine.topology import Mesh
from tests.support.methods import (
    all_values,
    full_mesh,
    line_mesh,
    locally_trained,
    mesh_of,
    setup_of,
    silence,
    trained,
)

OWN = [0, 1, 2, 1]
ONLY_B: frozenset[Factor] = frozenset({"b"})
LEDGER = ("own_bits", "library_bits", "first_contact_bits")


def updates(adapters: Adapters) -> Tensor:
    """The products B A of each device as one row."""
    return torch.cat([(b @ adapters.a[k]).flatten(1) for k, b in adapters.b.items()], dim=1)


@dataclass(frozen=True)
class Arm:
    """A method with its config, and where it differs from the others.

    Attributes:
        rounds_itself: a device counts itself as the others hear it, so that a cluster has one mean.
        same: what equal devices keep; "nothing" where the mean of a part sent shrinks the rest.
    """

    name: str
    chosen: c.Method
    trained: frozenset[Factor]
    pooled: bool = False
    silent: bool = False
    ledger: bool = False
    rounds_itself: bool = False
    same: Callable[[Adapters], Tensor] | None = field(default=all_values)

    def method(self, own: list[int], **changes: Any) -> Method:
        return build_method(self.chosen, setup_of(own, **changes))


MEANS: dict[str, Any] = {"ledger": True, "rounds_itself": True}
# Half of what is kept waits, and copies go out every other round.
PART: dict[str, Any] = {"density_sent": 0.25, "library_every": 2}
ARMS = [
    Arm("so_lora", SoLora(), ONLY_B, ledger=True),
    Arm("so_lora repaired", SoLora(mode="repaired"), ONLY_B, **MEANS),
    Arm("so_lora literal", SoLora(mode="literal"), ONLY_B, **MEANS),
    Arm("so_lora in parts", SoLora(**PART), ONLY_B, ledger=True),
    Arm("so_lora repaired in parts", SoLora(mode="repaired", **PART), ONLY_B, **MEANS),
    Arm("so_lora literal in parts", SoLora(mode="literal", **PART), ONLY_B, **MEANS, same=None),
    Arm("lora_gossip", LoraGossip(), BOTH_FACTORS),
    Arm("ffa_gossip", FfaGossip(), ONLY_B),
    Arm("decaf_gossip", DecafGossip(), BOTH_FACTORS, same=updates),
    Arm("choco_gossip", ChocoGossip(), BOTH_FACTORS),
    Arm("lori", Lori(), ONLY_B),
    Arm("lori sparse", Lori(density=0.1), ONLY_B),
    Arm("full_gossip", FullGossip(), ONLY_B),
    Arm("oracle_experts", OracleExperts(), ONLY_B),
    Arm("centralised", Centralised(), BOTH_FACTORS, pooled=True, silent=True),
    Arm("local", Local(), BOTH_FACTORS, silent=True),
]
every_arm = pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)


def exchanged(
    method: Method, adapters: Adapters, memory: Memory, mesh: Mesh, heard: Heard, round_index: int
) -> tuple[Adapters, Memory, Bits]:
    """Adapters, memory and bits per link after a round with all its hops, as `play_round` does."""
    bits = method.sent(memory, mesh, round_index).bits
    require_on_links(bits, mesh)
    adapters, memory = method.combine(adapters, memory, mesh, heard, round_index)
    alive = replace(mesh, linked=mesh.linked & heard)
    while (more := method.relayed(memory, alive).bits).any():
        require_on_links(more, alive)
        memory = method.relay(memory, alive, heard)
        bits = bits + more
    return adapters, memory, bits


def require_on_links(bits: Bits, mesh: Mesh) -> None:
    assert bits.shape == mesh.linked.shape
    assert bits.dtype == np.int64
    assert (bits >= 0).all()
    assert not bits[~mesh.linked].any()
    assert not np.diagonal(bits).any()


def later(arm: Arm, rounds: int = 3, **changes: Any) -> tuple[Method, Adapters, Memory]:
    """A method some rounds into a run on a line of four, before the next exchange."""
    method, mesh = arm.method(OWN, **changes), mesh_of(line_mesh(4))
    adapters, memory = trained(method, mesh)
    for t in range(rounds):
        adapters, memory, _ = exchanged(method, adapters, memory, mesh, mesh.linked, t)
        adapters = locally_trained(adapters, memory, method, t + 1)
    return method, adapters, memory


def same_bank(first: Any, second: Any) -> bool:
    return all(
        torch.equal(x, y)
        for x, y in [
            (first.held, second.held),
            (first.task, second.task),
            (all_values(first.experts), all_values(second.experts)),
        ]
    )


def test_every_kind_of_the_config_has_a_row() -> None:
    kinds = {method.config for method in METHODS.rows()}
    assert {type(arm.chosen) for arm in ARMS} == kinds
    assert {arm.chosen for arm in ARMS} >= {kind() for kind in kinds}
    modes = set(get_args(SoLora.model_fields["mode"].annotation))
    assert {arm.chosen.mode for arm in ARMS if isinstance(arm.chosen, SoLora)} == modes


@every_arm
def test_it_keeps_the_protocol(arm: Arm) -> None:
    method = arm.method(OWN)
    assert isinstance(method, Method)
    assert method.trained == arm.trained
    assert method.pooled == arm.pooled


@every_arm
def test_bits_go_over_links_only_shapes_stay_and_everybody_can_answer(arm: Arm) -> None:
    mesh, method = mesh_of(line_mesh(4)), arm.method(OWN, rounds=9)
    adapters, memory = trained(method, mesh)
    shapes = {k: v.shape for k, v in (adapters.a | adapters.b).items()}
    sent = 0
    for t in range(9):
        adapters, memory, bits = exchanged(method, adapters, memory, mesh, mesh.linked, t)
        sent += int(bits.sum())
        assert {k: v.shape for k, v in (adapters.a | adapters.b).items()} == shapes
        assert all_values(adapters).isfinite().all()
        bank = method.bank(adapters, memory)
        assert (bank.held >= 0).any(dim=1).all()
        assert int(bank.held.max()) < len(bank.task)
        assert len(bank.task) == len(next(iter(bank.experts.b.values())))
        parts = method.diagnostics(memory)
        assert all(isinstance(value, int | float) for value in parts.values())
        assert arm.ledger == (set(LEDGER) <= parts.keys())
        if arm.ledger:
            assert sum(parts[name] for name in LEDGER) == bits.sum()
        adapters = locally_trained(adapters, memory, method, t)
    assert (sent == 0) == arm.silent


@every_arm
def test_only_what_is_trained_changes_before_the_first_exchange(arm: Arm) -> None:
    method = arm.method(OWN)
    start, _ = method.start()
    adapters, _ = trained(method, mesh_of(line_mesh(4)))
    assert ("a" in method.trained) == any(
        not torch.equal(adapters.a[k], v) for k, v in start.a.items()
    )
    assert not any(value.any() for value in start.b.values())  # M1: the model is unchanged


@every_arm
def test_who_hears_nobody_keeps_what_it_trained(arm: Arm) -> None:
    mesh = mesh_of(full_mesh(4))
    for value_bits in (32,) if arm.rounds_itself else (16, 32):
        method = arm.method(OWN, value_bits=value_bits)
        adapters, memory = trained(method, mesh)
        kept, _, _ = exchanged(method, adapters, memory, mesh, silence(4), 0)
        assert torch.equal(all_values(kept), all_values(adapters))


@every_arm
def test_a_silent_round_in_the_middle_of_a_run_is_local_training(arm: Arm) -> None:
    mesh = mesh_of(line_mesh(4))
    method, adapters, memory = later(arm, value_bits=32)
    kept, _, _ = exchanged(method, adapters, memory, mesh, silence(4), 3)
    assert_close(all_values(kept), all_values(adapters), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("arm", [a for a in ARMS if a.same], ids=lambda arm: arm.name)
def test_equal_devices_stay_as_they_are(arm: Arm) -> None:
    """One task, so that also static A and masks are shared."""
    mesh = mesh_of(line_mesh(4))
    method = arm.method([0, 0, 0, 0], value_bits=32)
    adapters, memory = trained(method, mesh)
    memory = {k: v[:1].expand_as(v) if k.startswith("mask.") else v for k, v in memory.items()}
    equal = select(adapters, [0, 0, 0, 0])
    kept, _ = method.combine(equal, memory, mesh, mesh.linked, 0)
    assert arm.same is not None
    assert_close(arm.same(kept), arm.same(equal), rtol=1e-4, atol=1e-5)


@every_arm
@pytest.mark.parametrize("round_index", [0, 4])
def test_hooks_change_none_of_their_inputs_and_draw_nothing(arm: Arm, round_index: int) -> None:
    """Round 4 of 5 is one in which everybody publishes what it can."""
    mesh = mesh_of(full_mesh(4))
    method = arm.method(OWN, rounds=5)
    adapters, memory = trained(method, mesh)
    given = copy.deepcopy((adapters, memory))

    def hooks() -> tuple[Adapters, Memory, Bits]:
        kept, after = method.combine(adapters, memory, mesh, mesh.linked, round_index)
        before = copy.deepcopy(after)
        hop = method.relayed(after, mesh).bits
        relayed = method.relay(after, mesh, mesh.linked)
        method.bank(kept, after)
        method.diagnostics(after)
        method.masks(after)
        assert all(torch.equal(after[k], v) for k, v in before.items())
        return kept, relayed, hop + method.sent(memory, mesh, round_index).bits

    torch.manual_seed(1)
    first = hooks()
    torch.manual_seed(2)
    second = hooks()
    assert torch.equal(all_values(first[0]), all_values(second[0]))
    assert all(torch.equal(first[1][k], v) for k, v in second[1].items())
    assert np.array_equal(first[2], second[2])
    assert torch.equal(all_values(adapters), all_values(given[0]))
    assert memory.keys() == given[1].keys()
    assert all(torch.equal(memory[k], v) for k, v in given[1].items())


@every_arm
def test_a_device_alone_sends_nothing_and_answers_with_its_own(arm: Arm) -> None:
    mesh = mesh_of(silence(1))
    method = arm.method([0], value_bits=32 if arm.rounds_itself else 16)
    adapters, memory = trained(method, mesh)
    for t in range(20):
        kept, memory, bits = exchanged(method, adapters, memory, mesh, silence(1), t)
        assert not bits.any()
        assert torch.equal(all_values(kept), all_values(adapters))
    bank = method.bank(kept, memory)
    assert bank.held[bank.held >= 0].tolist() == [0]
    assert torch.equal(all_values(bank.experts), all_values(adapters))
    assert method.diagnostics(memory).get("library_fraction", 1.0) == 1.0


@every_arm
def test_memory_survives_a_checkpoint(arm: Arm) -> None:
    """Memory is tensors only; from a file, which sorts names, a run goes on as if never stopped."""
    mesh = mesh_of(line_mesh(4))
    method, adapters, memory = later(arm)
    assert all(isinstance(value, Tensor) for value in memory.values())
    file = save({name: value.contiguous().clone() for name, value in memory.items()})
    loaded = dict(sorted(load(file).items(), reverse=True))
    assert loaded.keys() == memory.keys()
    x = y = adapters
    for t in range(3, 6):
        x, memory, sent = exchanged(method, x, memory, mesh, mesh.linked, t)
        y, loaded, resent = exchanged(method, y, loaded, mesh, mesh.linked, t)
        assert torch.equal(all_values(x), all_values(y))
        assert np.array_equal(sent, resent)
        assert same_bank(method.bank(x, memory), method.bank(y, loaded))
        x = y = locally_trained(x, memory, method, t)
