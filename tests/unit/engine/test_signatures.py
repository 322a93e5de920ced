"""Signatures against one device at a time."""

from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from meshtune.engine.methods.gates import GateName
from meshtune.engine.methods.shared.signatures import DIRECTIONS, by_device, signatures

DEVICES, PROMPTS, WIDTH = 3, 10, 7


def drawn_inputs() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(DEVICES, PROMPTS, WIDTH, generator=generator)
    return {"q": shared, "k": shared, "o": torch.randn(DEVICES, PROMPTS, 5, generator=generator)}


@pytest.mark.parametrize("kind", [*get_args(GateName), "single"])
def test_only_gates_that_compare_with_prompts_are_told_of_them(kind):
    kinds = {
        "prototype": ["mean"],
        "gaussian": ["mean", "variance"],
        "subspace": ["mean", "basis"],
    }
    assert list(signatures(kind, drawn_inputs())) == kinds.get(kind, [])


def test_modules_that_share_an_input_share_the_tensor_so_that_it_is_sent_once():
    for kind in ("prototype", "gaussian", "subspace"):
        for by_module in signatures(kind, drawn_inputs()).values():
            assert by_module["q"] is by_module["k"]
            assert by_module["q"] is not by_module["o"]


def test_mean_and_variance_are_those_of_each_device_alone():
    inputs = drawn_inputs()
    told = signatures("gaussian", inputs)
    for name, x in inputs.items():
        for device in range(DEVICES):
            mean = sum(x[device]) / PROMPTS
            spread = sum((row - mean) ** 2 for row in x[device]) / PROMPTS
            assert_close(told["mean"][name][device], mean)
            assert_close(told["variance"][name][device], spread)


def test_the_basis_spans_the_directions_of_most_variance():
    inputs = drawn_inputs()
    basis = signatures("subspace", inputs)["basis"]["q"]
    assert basis.shape == (DEVICES, DIRECTIONS, WIDTH)
    for rows, x in zip(basis, inputs["q"], strict=True):
        assert_close(rows @ rows.T, torch.eye(DIRECTIONS), rtol=0, atol=1e-5)
        values, vectors = torch.linalg.eigh(torch.cov(x.T))
        top = vectors[:, -DIRECTIONS:]
        assert values[-DIRECTIONS] > 1.01 * values[-DIRECTIONS - 1]
        assert_close(rows.T @ rows, top @ top.T, rtol=0, atol=1e-4)


def test_where_nothing_varies_the_basis_is_zero():
    one = {"q": torch.ones(1, 6, 5) + torch.tensor([0.0, 1, 2, 3, 4, 5])[:, None] * torch.eye(5)[0]}
    basis = signatures("subspace", one)["basis"]["q"][0]
    assert_close(basis[0], torch.eye(5)[0])
    assert not basis[1:].any()


def test_prompts_of_one_device_follow_each_other():
    flat = torch.arange(12.0).view(6, 2)
    tables = by_device({"q": flat, "k": flat}, 3)
    assert tables["q"].tolist() == [[[0, 1], [2, 3]], [[4, 5], [6, 7]], [[8, 9], [10, 11]]]
    assert tables["q"] is tables["k"]
