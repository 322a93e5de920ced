"""What a device tells others about its task, so that their gates know its prompts (model.md M10).

A signature is computed once, from the frozen model alone: x is a layer's input averaged over the
tokens of a training prompt, in float32. Paper: a mean, h (arXiv 2602.20492, Eq. 20 and 26). Spread
and directions are our choice, for the gates that ask for them.
"""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from meshtune.engine.methods.gates import DIRECTIONS, SIGNATURES, GateName
from meshtune.engine.methods.rules import Signatures


def signatures(
    gate_kind: GateName | Literal["single"], samples_inputs: dict[str, Float[Tensor, "n s d_in"]]
) -> Signatures:
    """What the gate needs to know of each device's prompts; {} for gates that need nothing.

    Args:
        gate_kind: The gate.
        samples_inputs: By module, the mean layer input of s prompts of each device.

    Returns:
        mean      (n, d_in)     h = mean_s x_s
        variance  (n, d_in)     mean_s (x_s - h)^2, entry by entry. A full covariance would cost
                                d_in times the bits (our choice).
        basis     (n, p, d_in)  orthonormal rows: the p = 4 directions in which x_s - h varies most,
                                fewer where d_in or s is smaller; zero rows where nothing varies.
        Modules that share an input tensor share the result: it is sent once.
    """
    compute: dict[str, Callable[[Tensor], Tensor]] = {
        "mean": lambda x: x.mean(dim=1),
        "variance": lambda x: x.var(dim=1, correction=0),
        "basis": principal_directions,
    }
    return {
        kind: once_per_input(compute[kind], samples_inputs)
        for kind in SIGNATURES.get(gate_kind, ())
    }


def principal_directions(x: Float[Tensor, "n s d_in"]) -> Float[Tensor, "n p d_in"]:
    """Top right singular vectors of x - mean_s x, as rows; the largest entry of each is positive.

    Rows without variance (singular value below 1e-6 of the largest) are zero.
    """
    _, size, rows = torch.linalg.svd(x - x.mean(dim=1, keepdim=True), full_matrices=False)
    rows, size = rows[:, :DIRECTIONS], size[:, :DIRECTIONS]
    largest = rows.gather(2, rows.abs().argmax(dim=2, keepdim=True))
    varies = size > 1e-6 * size[:, :1]
    directions: Tensor = rows * largest.sign() * varies[:, :, None]
    return directions


def by_device(
    inputs: dict[str, Float[Tensor, "m d_in"]], devices: int
) -> dict[str, Float[Tensor, "n s d_in"]]:
    """`prompt_inputs` of the devices' prompts, device after device, as a table per device."""
    return once_per_input(lambda x: x.view(devices, -1, x.shape[1]), inputs)


def once_per_input(
    compute: Callable[[Tensor], Tensor], inputs: dict[str, Tensor]
) -> dict[str, Tensor]:
    """`compute` of every tensor; modules that share a tensor share the result."""
    done: dict[int, Tensor] = {}
    for value in inputs.values():
        if id(value) not in done:
            done[id(value)] = compute(value)
    return {name: done[id(value)] for name, value in inputs.items()}
