"""Precision on air: what rounding does to values, and what the rounded values cost."""

import torch
from jaxtyping import Float
from torch import Tensor

from meshtune.engine.adapters.stack import Adapters

LARGEST_ON_AIR = torch.finfo(torch.float16).max  # below 32 bits


def on_air(adapters: Adapters, bits: int) -> Adapters:
    """The adapters as a receiver gets them: values rounded to the precision on air (M11).

        32      unchanged
        16      IEEE half precision, to nearest
        8, 4    S round(v L / S) / L,   L = 2^(bits-1) - 1,   S = max |v| in half precision

    S is shared by one row of A or one column of B, that is, by one rank of a module. Zero stays
    exactly zero, so an entry outside a mask needs no value. For 8 and 4 bits a value moves by at
    most S / 2L, plus what S lost in half precision. Values above 65504 do not survive below 32 bits
    and end the run as diverged at the receiver.
    Source: symmetric uniform quantisation with one scale per channel, e.g. Jacob et al.,
    "Quantization and Training of Neural Networks" (2018); scale per rank and rounding to nearest
    are our choice.
    """
    return Adapters(
        {name: _rounded(value, bits, along=2) for name, value in adapters.a.items()},
        {name: _rounded(value, bits, along=1) for name, value in adapters.b.items()},
    )


def _rounded(value: Float[Tensor, "n _ _"], bits: int, along: int) -> Float[Tensor, "n _ _"]:
    if bits >= 32:
        return value
    if bits == 16:
        return value.half().to(value.dtype)
    levels = 2 ** (bits - 1) - 1
    scale = value.abs().amax(dim=along, keepdim=True).half().to(value.dtype)
    # A scale that half precision rounds down would ask for one level too many, hence the clamp.
    steps = (value / scale * levels).round().clamp(-levels, levels)
    return torch.where(scale == 0, 0.0, steps * scale / levels)
