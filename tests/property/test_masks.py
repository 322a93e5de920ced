"""Laws of masks, of means over masked senders, and of values rounded for the air."""

import numpy as np
import torch
from hypothesis import given, strategies as st

from meshtune.engine.adapters.masks import (
    active_union_mean,
    disjoint_masks,
    largest_changes,
    plain_mean,
    top_masks,
)
from meshtune.engine.adapters.stack import Adapters, flatten
from meshtune.engine.backbone.spectral import water_fill
from meshtune.engine.methods.shared.precision import on_air
from tests.support.methods import active_mean

seeds = st.integers(0, 2**31)
sizes = st.integers(1, 5)
densities = st.floats(0.01, 1.0)


def drawn_b(seed: int, n: int, scale: float = 1.0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: scale * torch.randn(n, d_out, 3, generator=generator, dtype=torch.float64)
        for name, d_out in (("q", 4), ("down", 7))
    }


def drawn_masks(seed: int, n: int) -> dict[str, torch.Tensor]:
    return {name: value > 0 for name, value in drawn_b(seed + 1, n).items()}


def drawn_weights(seed: int, n: int) -> torch.Tensor:
    """Row-stochastic weights; some senders are not heard, a device always hears itself."""
    generator = torch.Generator().manual_seed(seed)
    heard = torch.rand(n, n, generator=generator) < 0.6
    weights = torch.rand(n, n, generator=generator, dtype=torch.float64) * heard + torch.eye(n)
    return weights / weights.sum(dim=1, keepdim=True)


def masked(b: dict[str, torch.Tensor], masks: dict[str, torch.Tensor]) -> Adapters:
    return Adapters({}, {name: value * masks[name] for name, value in b.items()})


@given(seeds, sizes, densities)
def test_no_entry_that_a_global_mask_drops_is_larger_than_one_it_keeps(
    seed: int, n: int, density: float
) -> None:
    b = drawn_b(seed, n)
    values, kept = flatten(b).abs(), flatten(top_masks(b, density, "global"))
    assert kept.sum(dim=1).tolist() == [max(1, round(density * 33))] * n
    for device in range(n):
        dropped = values[device][~kept[device]]
        assert not len(dropped) or values[device][kept[device]].min() >= dropped.max()


@given(seeds, sizes, densities)
def test_disjoint_masks_of_a_cluster_never_meet_and_keep_what_they_may(
    seed: int, n: int, density: float
) -> None:
    masks = disjoint_masks(drawn_b(seed, n), density, np.arange(n), n)
    for name, mask in masks.items():
        entries = mask[0].numel()
        assert int(mask.sum(dim=0).max()) <= 1, name
        # A slot is dealt floor or ceil of entries / n; the share asked for may ask for the ceil.
        wanted = max(1, round(min(density, 1 / n) * entries))
        assert all(min(wanted, entries // n) <= int(one.sum()) <= wanted for one in mask)


@given(seeds, sizes, densities)
def test_t5_disjoint_masks_lose_nothing_in_the_active_mean_and_shrink_in_the_plain_one(
    seed: int, n: int, density: float
) -> None:
    b = drawn_b(seed, n)
    masks = disjoint_masks(b, density, np.arange(n), n)
    own, even = masked(b, masks), torch.full((n, n), 1 / n, dtype=torch.float64)
    kept, shrunk = active_mean(own, own, masks, even), plain_mean(own, own, masks, even)
    for name, value in own.b.items():
        torch.testing.assert_close(kept.b[name], value)
        torch.testing.assert_close(shrunk[name] * masks[name], value / n)


@given(seeds, sizes, st.booleans())
def test_means_are_those_of_a_loop_over_entries(seed: int, n: int, all_sent: bool) -> None:
    masks, weights = drawn_masks(seed, n), drawn_weights(seed, n)
    b = drawn_b(seed, n)
    parts = masks if all_sent else {k: masks[k] & (b[k].abs() > 0.7) for k in b}
    own, sent = masked(b, masks), masked(drawn_b(seed, n, 1.1), parts)
    told = None if all_sent else parts
    union = active_union_mean(own, sent, masks, weights, told)
    plain = plain_mean(own, sent, masks, weights, told)
    for name, mask in masks.items():
        for place in np.ndindex(*mask.shape):
            i, *entry = place
            active = [j for j in range(n) if (mask if j == i else parts[name])[(j, *entry)]]
            values = {j: float((own if j == i else sent).b[name][(j, *entry)]) for j in active}
            total = sum(float(weights[i, j]) * values[j] for j in active)
            count = sum(float(weights[i, j]) for j in active)
            mean = total / count if count else 0.0
            np.testing.assert_allclose(float(plain[name][place]), total, atol=1e-12)
            np.testing.assert_allclose(float(union[name][place]), mean, atol=1e-12)
    if all_sent:
        kept = active_mean(own, sent, masks, weights).b
        for name, mask in masks.items():
            torch.testing.assert_close(kept[name], union[name] * mask)


@given(seeds, sizes, densities)
def test_the_changes_sent_are_the_largest_within_the_mask_and_their_number_is_known_before(
    seed: int, n: int, density: float
) -> None:
    values, last, masks = drawn_b(seed, n), drawn_b(seed + 2, n), drawn_masks(seed, n)
    chosen, mask = flatten(largest_changes(values, last, masks, density)), flatten(masks)
    change = (flatten(values) - flatten(last)).abs()
    assert not (chosen & ~mask).any()
    for device in range(n):
        wanted = max(1, round(density * 33))
        assert int(chosen[device].sum()) == min(wanted, int(mask[device].sum()))
        waiting = change[device][mask[device] & ~chosen[device]]
        assert not len(waiting) or change[device][chosen[device]].min() >= waiting.max()


@given(seeds, densities)
def test_every_change_is_sent_in_the_end_if_values_rest(seed: int, density: float) -> None:
    values, masks = drawn_b(seed, 2), drawn_masks(seed, 2)
    last = {name: torch.zeros_like(value) for name, value in values.items()}
    for _ in range(33):
        chosen = largest_changes(values, last, masks, density)
        last = {k: torch.where(chosen[k], values[k], last[k]) for k in values}
    torch.testing.assert_close(flatten(last), flatten(values) * flatten(masks))


@given(seeds, st.integers(1, 6), st.floats(0.0, 1.2), st.floats(0.01, 100.0))
def test_t2_water_filling_spends_the_budget_at_one_level(
    seed: int, layers: int, share: float, temperature: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    need = 4 * torch.rand(3, layers, generator=generator, dtype=torch.float64)
    capacity = 1 + 50 * torch.rand(layers, generator=generator, dtype=torch.float64)
    budget = share * float(capacity.sum())
    filled = water_fill(need, capacity, budget, temperature)
    assert (filled >= 0).all()
    assert (filled <= capacity * (1 + 1e-12)).all()
    total = min(budget, float(capacity.sum()))
    torch.testing.assert_close(filled.sum(dim=1), torch.full((3,), total, dtype=torch.float64))
    for device in range(3):
        # The level is fill / weight: one for all layers with room, and no full layer above it.
        weight = torch.log_softmax(need[device] / temperature, dim=0)
        level = filled[device].log() - weight
        room = filled[device] < capacity * (1 - 1e-9)
        room &= filled[device] > 1e-200
        if room.any():
            assert level[room].max() - level[room].min() < 1e-6
            assert not (~room & (level > level[room].max() + 1e-6)).any()


@given(seeds, sizes, st.sampled_from([4, 8]), st.floats(1e-3, 1e3))
def test_integers_on_air_are_off_by_half_a_step_at_most_and_stay_on_their_grid(
    seed: int, n: int, bits: int, scale: float
) -> None:
    b = {name: value.float() for name, value in drawn_b(seed, n, scale).items()}
    masks = drawn_masks(seed, n)
    own = masked(b, masks)
    rounded = on_air(own, bits)
    for name, value in own.b.items():
        largest = value.abs().amax(dim=1, keepdim=True)
        # Half a step, and what the scale lost when it became a half: 2^-11 of itself.
        bound = largest * (0.5 / (2 ** (bits - 1) - 1) + 2**-10)
        assert ((rounded.b[name] - value).abs() <= bound).all()
        assert not rounded.b[name][~masks[name]].any()
