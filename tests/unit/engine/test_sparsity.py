import pytest
import torch
from torch.testing import assert_close

from engine.adapters import Adapters
from engine.sparsity import active_mean, top_masks


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
