import torch

from engine.gating import nearest_prototype


def test_each_prototype_is_nearest_to_itself():
    prototypes = torch.randn(5, 12, generator=torch.Generator().manual_seed(0))
    assert nearest_prototype(prototypes, prototypes).tolist() == [0, 1, 2, 3, 4]


def test_a_large_common_mean_does_not_hide_the_task():
    generator = torch.Generator().manual_seed(1)
    prototypes = torch.randn(4, 16, generator=generator)
    prompts = prototypes.repeat(50, 1) + 0.3 * torch.randn(200, 16, generator=generator)
    shift = 40 * torch.ones(16)
    right = torch.arange(4).repeat(50)
    assert (nearest_prototype(prompts + shift, prototypes + shift) == right).float().mean() > 0.99


def test_one_prototype_takes_every_prompt():
    assert nearest_prototype(torch.randn(3, 4), torch.randn(1, 4)).tolist() == [0, 0, 0]
