"""Push-sum: what stays, what it agrees on, what it costs; and other rules inside the methods."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from safetensors.torch import load, save
from torch import Tensor
from torch.testing import assert_close

from meshtune.engine import config as c
from meshtune.engine.adapters.stack import Adapters, flatten, select
from meshtune.engine.methods.choco_gossip.config import ChocoGossip
from meshtune.engine.methods.decaf_gossip.config import DecafGossip
from meshtune.engine.methods.ffa_gossip.config import FfaGossip
from meshtune.engine.methods.full_gossip.config import FullGossip
from meshtune.engine.methods.lora_gossip.config import LoraGossip
from meshtune.engine.methods.lori.config import Lori
from meshtune.engine.methods.rules import Heard, Memory, Method, build_method
from meshtune.engine.methods.shared.averaging import LEAST_PUSHED, biased
from meshtune.engine.methods.shared.precision import on_air
from meshtune.engine.rng import stream
from meshtune.engine.weights import PUSH_BITS, MixingRule, push_weights, uniform_weights
from tests.support.methods import (
    all_values,
    full_mesh,
    line_mesh,
    locally_trained,
    mesh_of,
    moved,
    one_way_ring,
    setup_of,
    silence,
    trained,
)

PUSH = MixingRule("push_sum")
METHODS: dict[str, c.Method] = {
    "lora_gossip": LoraGossip(),
    "ffa_gossip": FfaGossip(),
    "full_gossip": FullGossip(),
    "lori": Lori(),
}
every_method = pytest.mark.parametrize("name", METHODS)
# One way round, and three shortcuts: who hears how many, and is heard by how many, differs.
DIRECTED = one_way_ring(6)
DIRECTED[[0, 0, 4], [2, 3, 1]] = True


def built(name: str, devices: int, **changes: Any) -> Method:
    setup = setup_of([0] * devices, **({"mixing": PUSH, "value_bits": 32} | changes))
    return build_method(METHODS[name], setup)


def lost(seed: int, round_index: int, devices: int, share: float) -> Heard:
    """What is left of a full mesh when each direction of each link fails by itself."""
    rng = stream(seed, "lost", round_index)
    return (rng.random((devices, devices)) >= share) & full_mesh(devices)


def exchanged(
    method: Method, adapters: Adapters, memory: Memory, heard: Heard
) -> tuple[Adapters, Memory]:
    return method.combine(adapters, memory, mesh_of(full_mesh(len(heard))), heard, 0)


def averaged_values(method: Method, adapters: Adapters) -> Tensor:
    """All values that the method averages, of each device as one row, in double precision."""
    parts = (adapters.a if "a" in method.trained else {}, adapters.b)
    return torch.cat([flatten(part) for part in parts if part], dim=1).double()


def x_of(method: Method, adapters: Adapters, memory: Memory) -> Tensor:
    return averaged_values(
        method, biased(adapters if "a" in method.trained else Adapters({}, adapters.b), memory)
    )


@every_method
@settings(max_examples=8)
@given(seed=st.integers(0, 2**31), share=st.floats(0, 1), bits=st.sampled_from([4, 8, 16, 32]))
def test_the_total_of_x_changes_by_what_was_learned_whatever_was_lost_or_rounded(
    name: str, seed: int, share: float, bits: int
) -> None:
    method = built(name, 5, value_bits=bits)
    adapters, memory = method.start()
    expected = x_of(method, adapters, memory).sum(dim=0)
    for t in range(6):
        after = locally_trained(adapters, memory, method, seed % 1000 + t)
        change = averaged_values(method, after) - averaged_values(method, adapters)
        expected = expected + change.sum(dim=0)
        adapters, memory = exchanged(method, after, memory, lost(seed, t, 5, share))
        total = x_of(method, adapters, memory).sum(dim=0)
        assert_close(total, expected, rtol=0, atol=1e-4)
        y = memory["push.y"]
        assert float(y.sum()) == pytest.approx(5, rel=1e-6)
        assert float(y.min()) >= LEAST_PUSHED / 5 * (1 - 1e-6)


def agreed(method: Method, heard: list[Heard]) -> tuple[Tensor, Tensor]:
    """Values after those exchanges without training, and the mean of the start."""
    adapters = moved(method.start()[0], method, seed=4)
    memory = method.start()[1]
    mean = averaged_values(method, adapters).mean(dim=0)
    for now in heard:
        adapters, memory = exchanged(method, adapters, memory, now)
    values = averaged_values(method, adapters)
    return values, mean.expand_as(values)


@every_method
@pytest.mark.parametrize("share", [0.0, 0.4])
def test_all_agree_on_the_mean_of_the_start_over_one_way_links_with_losses(
    name: str, share: float
) -> None:
    """Strongly connected, and no link works in both directions."""
    heard = [DIRECTED & lost(1, t, 6, share) for t in range(200)]
    values, mean = agreed(built(name, 6), heard)
    assert_close(values, mean, rtol=0, atol=2e-5)


def test_uniform_weights_agree_on_another_value() -> None:
    """The bias that push-sum takes away: each device counts by the left eigenvector of W."""
    heard = [DIRECTED & lost(1, t, 6, 0.4) for t in range(200)]
    product = np.eye(6)
    for now in heard:
        product = uniform_weights(now) @ product
    method = built("lora_gossip", 6, mixing=MixingRule("uniform"))
    start = averaged_values(method, moved(method.start()[0], method, seed=4))
    values, mean = agreed(method, heard)
    assert_close(values[0], torch.from_numpy(product[0]) @ start, rtol=0, atol=2e-5)
    assert_close(values, values[:1].expand_as(values), rtol=0, atol=2e-5)
    assert float((values - mean).norm() / mean.norm()) > 0.1


def test_metropolis_weights_never_agree_over_one_way_links() -> None:
    method = built("lora_gossip", 6, mixing=MixingRule())
    values, _ = agreed(method, [DIRECTED] * 50)
    assert_close(values, averaged_values(method, moved(method.start()[0], method, seed=4)))


@every_method
def test_without_loss_in_a_regular_mesh_it_is_uniform(name: str) -> None:
    heard = one_way_ring(5) | one_way_ring(5).T
    kept = []
    for rule in ("push_sum", "uniform"):
        method = built(name, 5, mixing=MixingRule(rule))
        adapters, memory = method.start()
        for t in range(4):
            adapters = locally_trained(adapters, memory, method, t)
            adapters, memory = exchanged(method, adapters, memory, heard)
        kept.append(all_values(adapters))
    assert_close(kept[0], kept[1], rtol=1e-5, atol=1e-5)


def one_at_a_time(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, after: np.ndarray, heard: Heard
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A round of push-sum, message by message: x, y and z after it."""
    n = len(y)
    x = x + (after - z)
    inbox: list[list[tuple[np.ndarray, float]]] = [[] for _ in range(n)]
    busy = [False] * n
    for j in range(n):
        ears = [i for i in range(n) if i != j and heard[i, j] and y[j] >= LEAST_PUSHED]
        for i in (j, *ears):
            inbox[i].append((x[j] / (1 + len(ears)), y[j] / (1 + len(ears))))
            busy[i] = busy[i] or bool(ears)
    new_x, new_y, new_z = x.copy(), y.copy(), after.copy()
    for i in range(n):
        if busy[i]:
            new_x[i] = sum(part for part, _ in inbox[i])
            new_y[i] = sum(weight for _, weight in inbox[i])
            new_z[i] = new_x[i] / new_y[i]
    return new_x, new_y, new_z


@every_method
@pytest.mark.parametrize("share", [0.3, 0.6, 0.85])
def test_it_agrees_with_message_by_message(name: str, share: float) -> None:
    """Eight rounds with training; the sender with the least weight falls silent in some."""
    method = built(name, 5)
    adapters, memory = method.start()
    z = averaged_values(method, adapters).numpy()
    x, y = z.copy(), np.ones(5)
    for t in range(8):
        after = locally_trained(adapters, memory, method, t)
        heard = lost(2, t, 5, share)
        heard[0, 1:] = False  # device 0 gives and never gets
        x, y, z = one_at_a_time(x, y, z, averaged_values(method, after).numpy(), heard)
        adapters, memory = exchanged(method, after, memory, heard)
        assert_close(memory["push.y"].double(), torch.from_numpy(y), rtol=1e-5, atol=1e-6)
        found = averaged_values(method, adapters)
        assert_close(found, torch.from_numpy(z), rtol=1e-4, atol=1e-4)
    assert y[0] < LEAST_PUSHED


@every_method
def test_a_silent_round_is_local_training_to_the_bit(name: str) -> None:
    method = built(name, 4, value_bits=8)
    adapters, memory = trained(method, mesh_of(full_mesh(4)))
    for t in range(3):
        adapters, memory = exchanged(method, adapters, memory, lost(3, t, 4, 0.5))
        adapters = locally_trained(adapters, memory, method, t)
    assert float((memory["push.y"] - 1).abs().max()) > 0.1
    kept, after = exchanged(method, adapters, memory, silence(4))
    assert torch.equal(all_values(kept), all_values(adapters))
    assert after.keys() == memory.keys()
    same = [key for key in after if key != "met"]
    assert all(torch.equal(after[key], memory[key]) for key in same)


def test_devices_that_agree_stay_as_they_are_whatever_their_weights() -> None:
    method = built("lora_gossip", 5)
    adapters, memory = trained(method, mesh_of(full_mesh(5)))
    equal = select(adapters, [0] * 5)
    now = equal
    for t in range(6):
        now, memory = exchanged(method, now, memory, lost(5, t, 5, 0.5))
        assert_close(all_values(now), all_values(equal), rtol=1e-5, atol=1e-5)
    assert float((memory["push.y"] - 1).abs().max()) > 0.1


def test_who_is_heard_and_hears_nobody_for_ever_keeps_a_weight_and_trains_on() -> None:
    """Without the bound y would halve in every round, and x / y would double."""
    method = built("lora_gossip", 2)
    heard = np.array([[False, False], [True, False]])
    adapters, memory = method.start()
    for t in range(60):
        adapters = locally_trained(adapters, memory, method, t)
        before = adapters
        adapters, memory = exchanged(method, adapters, memory, heard)
    # 1, 1/2, 1/4 and 1/8 are given away by half, 1/16 is kept.
    assert memory["push.y"].tolist() == [1 / 16, 2 - 1 / 16]
    assert torch.equal(all_values(adapters), all_values(before))


def test_a_device_rounds_what_it_sends_and_nobody_loses_what_was_cut_off() -> None:
    """Device 1 hears device 0, which keeps its half and the rest that rounding left."""
    method = built("full_gossip", 2, value_bits=4)
    start, memory = method.start()
    adapters = moved(start, method)
    heard = np.array([[False, False], [True, False]])
    kept, after = exchanged(method, adapters, memory, heard)
    x = averaged_values(method, adapters)
    q = averaged_values(method, on_air(adapters, 4))
    assert after["push.y"].tolist() == [0.5, 1.5]
    expected = torch.stack([(x[0] - q[0] / 2) / 0.5, (x[1] + q[0] / 2) / 1.5])
    assert float((x - q).abs().max()) > 0.01
    assert_close(averaged_values(method, kept), expected, rtol=1e-5, atol=1e-5)


def test_masked_lori_mixes_entry_by_entry_and_keeps_its_masks() -> None:
    heard = lost(7, 0, 4, 0.4)
    setup = setup_of([0, 1, 2, 1], mixing=PUSH, value_bits=32)
    method = build_method(Lori(density=0.25), setup)
    adapters, memory = trained(method, mesh_of(full_mesh(4)))
    masks = method.masks(memory)
    assert masks is not None
    held = flatten(masks)
    kept, after = exchanged(method, adapters, memory, heard)
    p = torch.from_numpy(push_weights(heard))
    x = held * (p @ flatten(adapters.b).double())
    expected = x / p.sum(dim=1, keepdim=True)
    assert_close(flatten(kept.b).double(), expected, rtol=1e-5, atol=1e-5)
    assert_close(flatten(biased(Adapters({}, kept.b), after).b).double(), x, rtol=1e-5, atol=1e-5)


@every_method
def test_a_message_is_one_weight_longer_and_only_with_push_sum(name: str) -> None:
    mesh = mesh_of(line_mesh(4))
    bits = {}
    for rule in ("metropolis", "max_degree", "uniform", "push_sum"):
        method = built(name, 4, mixing=MixingRule(rule))
        bits[rule] = method.sent(method.start()[1], mesh, 0).bits
    assert (bits["push_sum"] - bits["metropolis"] == PUSH_BITS * mesh.linked).all()
    assert (bits["uniform"] == bits["metropolis"]).all()
    assert (bits["max_degree"] == bits["metropolis"]).all()


@every_method
def test_a_run_goes_on_from_a_file_as_if_never_stopped(name: str) -> None:
    method = built(name, 4, value_bits=16)
    adapters, memory = trained(method, mesh_of(full_mesh(4)))
    adapters, memory = exchanged(method, adapters, memory, lost(3, 0, 4, 0.4))
    loaded = dict(sorted(load(save(dict(memory))).items(), reverse=True))
    x = y = locally_trained(adapters, memory, method, 1)
    for t in range(1, 4):
        x, memory = exchanged(method, x, memory, lost(3, t, 4, 0.4))
        y, loaded = exchanged(method, y, loaded, lost(3, t, 4, 0.4))
        assert torch.equal(all_values(x), all_values(y))


@every_method
def test_hooks_change_none_of_their_inputs(name: str) -> None:
    method = built(name, 4)
    adapters, memory = trained(method, mesh_of(full_mesh(4)))
    values = all_values(adapters).clone()
    remembered = {key: value.clone() for key, value in memory.items()}
    exchanged(method, adapters, memory, lost(3, 0, 4, 0.4))
    assert torch.equal(all_values(adapters), values)
    assert all(torch.equal(memory[key], value) for key, value in remembered.items())


@every_method
def test_other_rules_remember_nothing_of_push_sum(name: str) -> None:
    _, memory = built(name, 4, mixing=MixingRule("uniform")).start()
    assert not [key for key in memory if key.startswith("push.")]


RULES = {
    "max_degree": MixingRule("max_degree"),
    "uniform": MixingRule("uniform"),
    "data": MixingRule("data", samples=(4, 1, 7, 2)),
    "lazy": MixingRule("uniform", lazy=0.4),
}


@every_method
@pytest.mark.parametrize("rule", RULES)
def test_a_method_mixes_by_the_rule_of_the_run(name: str, rule: str) -> None:
    method = built(name, 4, mixing=RULES[rule])
    adapters, memory = trained(method, mesh_of(full_mesh(4)))
    heard = lost(9, 0, 4, 0.4)
    kept, _ = exchanged(method, adapters, memory, heard)
    weights = torch.from_numpy(RULES[rule].weights(heard))
    expected = weights @ averaged_values(method, adapters)
    assert_close(averaged_values(method, kept), expected, rtol=1e-5, atol=1e-5)


def products(adapters: Adapters) -> Tensor:
    return torch.cat([(b @ adapters.a[k]).flatten(1) for k, b in adapters.b.items()], dim=1)


@pytest.mark.parametrize("rule", RULES)
def test_decaf_takes_the_mean_of_products_by_the_rule_of_the_run(rule: str) -> None:
    """All have one A, so a mean of the products has rank r and nothing is cut."""
    setup = setup_of([0] * 4, mixing=RULES[rule], value_bits=32)
    method = build_method(DecafGossip(), setup)
    start, memory = method.start()
    adapters = Adapters(start.a, moved(start, method).b)
    heard = lost(9, 0, 4, 0.4)
    kept, _ = exchanged(method, adapters, memory, heard)
    expected = torch.from_numpy(RULES[rule].weights(heard)).float() @ products(adapters)
    assert_close(products(kept), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mixing", [RULES["max_degree"], MixingRule("max_degree", lazy=0.4)])
def test_compressed_gossip_uncompressed_is_lora_gossip_by_the_same_rule(mixing: MixingRule) -> None:
    setup = setup_of([0] * 4, mixing=mixing, value_bits=32)
    mesh = mesh_of(line_mesh(4))
    kept = []
    for chosen in (ChocoGossip(density=1, gamma=1), LoraGossip()):
        method = build_method(chosen, setup)
        adapters, memory = trained(method, mesh)
        kept.append(method.combine(adapters, memory, mesh, mesh.linked, 0)[0])
    assert_close(all_values(kept[0]), all_values(kept[1]), rtol=1e-5, atol=1e-5)
