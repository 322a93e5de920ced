"""Router-free gates of the implicit mixture of experts: which expert answers which prompt."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def nearest_prototype(
    inputs: Float[Tensor, "q d_in"], prototypes: Float[Tensor, "k d_in"]
) -> Int[Tensor, " q"]:
    """Index of the most similar prototype for every prompt (model.md M10).

        argmax_k cos(x - hbar, h_k - hbar),   hbar = mean_k h_k

    `inputs` are means of the frozen model's layer input over the tokens of a prompt. The common
    mean is taken out first: hidden states of language models share a large one, beside which all
    plain cosines are alike. Ties go to the first.
    Source: arXiv 2602.20492, Eq. 26-27, as a relative similarity; centring is our repair.
    """
    centre = prototypes.mean(dim=0)
    away, towards = inputs - centre, prototypes - centre
    similarity = (
        torch.nn.functional.normalize(away, dim=1)
        @ torch.nn.functional.normalize(towards, dim=1).mT
    )
    return similarity.argmax(dim=1)
