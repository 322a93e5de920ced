import numpy as np
import pytest
import torch
from torch.testing import assert_close

from meshtune.engine.adapters.masks import (
    active_union_mean,
    disjoint_masks,
    largest_changes,
    plain_mean,
    top_masks,
)
from meshtune.engine.adapters.stack import Adapters
from tests.support.methods import active_mean


def test_masks_keep_the_largest_magnitudes_whatever_their_sign():
    b = {"m": torch.tensor([[[-3.0, 1.0], [2.0, -0.5]]])}
    assert top_masks(b, 0.5)["m"].tolist() == [[[True, False], [True, False]]]


@pytest.mark.parametrize("density", [0.01, 0.1, 0.25, 0.5, 0.9, 1.0])
def test_masks_keep_the_asked_share_of_every_module_and_at_least_one_entry(density):
    b = {"m": torch.randn(3, 10, 4, generator=torch.Generator().manual_seed(0))}
    kept = top_masks(b, density)["m"].sum(dim=(1, 2))
    assert kept.tolist() == [max(1, round(density * 40))] * 3


def test_ties_are_broken_by_place_so_that_all_machines_agree():
    assert top_masks({"m": torch.zeros(1, 2, 2)}, 0.5)["m"].flatten().tolist() == [1, 1, 0, 0]


def test_disjoint_masks_lose_nothing_when_averaged():
    b = {"m": torch.randn(2, 4, 2, generator=torch.Generator().manual_seed(0))}
    masks = {"m": torch.zeros(2, 4, 2, dtype=torch.bool)}
    masks["m"][0, :2] = True
    masks["m"][1, 2:] = True
    own = Adapters({}, {"m": b["m"] * masks["m"]})
    mixed = active_mean(own, own, masks, torch.full((2, 2), 0.5))
    assert_close(mixed.b["m"], own.b["m"])


def test_an_entry_that_two_hold_is_averaged_over_these_two_only():
    masks = {"m": torch.tensor([[[True]], [[True]], [[False]]])}
    own = Adapters({}, {"m": torch.tensor([[[1.0]], [[3.0]], [[0.0]]])})
    mixed = active_mean(own, own, masks, torch.full((3, 3), 1 / 3))
    assert_close(mixed.b["m"].flatten(), torch.tensor([2.0, 2.0, 0.0]))


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_density_per_module_and_device_keeps_that_many_entries():
    b = {"q": normal(2, 10, 4), "down": normal(2, 5, 4, seed=1)}
    density = {"q": torch.tensor([0.25, 0.5]), "down": torch.tensor([1.0, 0.001])}
    masks = top_masks(b, density)
    assert masks["q"].sum(dim=(1, 2)).tolist() == [10, 20]
    assert masks["down"].sum(dim=(1, 2)).tolist() == [20, 1]
    assert torch.equal(masks["q"][0], top_masks(b, 0.25)["q"][0])


def test_a_global_mask_leaves_a_module_of_small_values_empty():
    b = {"q": 0.01 * normal(2, 10, 4), "down": normal(2, 10, 4, seed=1)}
    masks = top_masks(b, 0.25, "global")
    assert not masks["q"].any()
    assert masks["down"].sum(dim=(1, 2)).tolist() == [20, 20]


def test_a_global_mask_takes_the_total_of_a_density_per_module():
    b = {"q": normal(2, 10, 4), "down": normal(2, 5, 4, seed=1)}
    density = {"q": torch.tensor([0.5, 0.25]), "down": torch.tensor([0.5, 1.0])}
    even = top_masks(b, 0.5, "global")
    for name, mask in top_masks(b, density, "global").items():
        assert torch.equal(mask, even[name])  # 20 + 10 entries are 10 + 20 entries


def test_a_column_mask_keeps_whole_columns_of_largest_norm():
    b = {"m": torch.tensor([[[3.0, 1.0, 2.0, 0.0], [0.0, 1.0, 2.9, 0.1]]])}
    assert top_masks(b, 0.5, "column")["m"].tolist() == [[[True, False, True, False]] * 2]
    assert top_masks(b, 0.01, "column")["m"].tolist() == [[[False, False, True, False]] * 2]


@pytest.mark.parametrize("over", ["layer", "global", "column"])
def test_masks_are_stored_on_their_own_as_checkpoints_need_them(over):
    masks = top_masks({"q": normal(1, 10, 4), "down": normal(1, 5, 4)}, 0.5, over)
    for mask in masks.values():
        assert mask.is_contiguous()
        assert mask.untyped_storage().nbytes() == mask.numel()


def test_two_clusters_of_different_size_deal_out_entries_each_on_its_own():
    b = {"m": normal(5, 30, 4)}
    masks = disjoint_masks(b, 1.0, np.array([0, 1, 0, 1, 2]), np.array([2, 2, 3, 3, 3]))["m"]
    assert masks.sum(dim=(1, 2)).tolist() == [60, 60, 40, 40, 40]
    assert (masks[:2].sum(dim=0) == 1).all()
    assert (masks[2:].sum(dim=0) == 1).all()


def test_disjoint_masks_are_dealt_the_same_on_every_device_and_keep_the_largest():
    b = normal(2, 30, 4)
    dealt = disjoint_masks({"m": torch.ones_like(b)}, 1.0, np.array([0, 1]), 2)["m"]
    kept = disjoint_masks({"m": b}, 0.25, np.array([0, 1]), 2)["m"]
    assert not (kept & ~dealt).any()
    for device in range(2):
        allowed = b[device][dealt[device]].abs()
        assert b[device][kept[device]].abs().min() >= allowed.sort(descending=True).values[29]


def test_a_slot_without_entries_gets_none_rather_than_another_slots():
    masks = disjoint_masks({"m": normal(3, 1, 2)}, 1.0, np.arange(3), 3)["m"]
    assert masks.sum(dim=(1, 2)).tolist() == [1, 1, 0]


@pytest.mark.parametrize(("n", "density"), [(2, 0.5), (4, 0.25), (10, 0.1)])
def test_t14_random_masks_collide_on_own_entries_as_the_closed_form_says(n, density):
    """A device shares 1 - (1-s)^(n-1) of its own entries, which is far above the paper's Eq. 19."""
    entries = 40_000
    masks = top_masks({"m": normal(n, entries // 8, 8)}, density)["m"].flatten(1)
    others = masks.sum(dim=0)[None] - masks.int() > 0
    overlap = (others & masks).sum(dim=1) / masks.sum(dim=1)
    expected = 1 - (1 - density) ** (n - 1)
    spread = (expected * (1 - expected) / (density * entries)) ** 0.5
    assert ((overlap - expected).abs() < 4 * spread).all()
    dealt = disjoint_masks({"m": normal(n, 500, 8)}, density, np.arange(n), n)["m"]
    assert int(dealt.sum(dim=0).max()) == 1


def test_e5_the_papers_mean_shrinks_an_entry_that_nobody_else_holds_every_round():
    masks = {"m": torch.tensor([[[True]], [[False]], [[False]], [[False]]])}
    own = Adapters({}, {"m": torch.tensor([[[8.0]], [[0.0]], [[0.0]], [[0.0]]])})
    even = torch.full((4, 4), 0.25)
    values = [8.0]
    for _ in range(3):
        own = Adapters({}, plain_mean(own, own, masks, even))
        values.append(float(own.b["m"][0]))
    assert values == [8.0, 2.0, 0.5, 0.125]


def test_the_cluster_mean_reaches_entries_that_the_receiver_does_not_hold():
    masks = {"m": torch.tensor([[[True], [False]], [[False], [True]]])}
    own = Adapters({}, {"m": torch.tensor([[[1.0], [0.0]], [[0.0], [2.0]]])})
    union = active_union_mean(own, own, masks, torch.full((2, 2), 0.5))
    assert union["m"].flatten(1).tolist() == [[1.0, 2.0]] * 2


def test_what_was_not_sent_waits_until_its_change_is_the_largest():
    masks = {"m": torch.tensor([[[True], [True], [False], [True]]])}
    values = {"m": torch.tensor([[[3.0], [-2.0], [9.0], [0.5]]])}
    last = {"m": torch.zeros(1, 4, 1)}
    order = []
    for _ in range(3):
        chosen = largest_changes(values, last, masks, 0.25)
        order.append(int(chosen["m"].flatten().nonzero()))
        last = {"m": torch.where(chosen["m"], values["m"], last["m"])}
    assert order == [0, 1, 3]
