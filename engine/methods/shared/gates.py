"""Gates by name, and what devices must be told about each other for them (docs/model.md M10)."""

from collections.abc import Mapping
from typing import Literal

from meshtune.engine.ledger.bits import Shapes

GateName = Literal[
    "prototype",
    "oracle",
    "none",
    "projection_norm",
    "output_norm",
    "subspace",
    "gaussian",
    "arrow",
    "prompt_loss",
]

# What a gate wants to know of a device's prompts; nothing if it is not here.
SIGNATURES: Mapping[str, tuple[str, ...]] = {
    "prototype": ("mean",),
    "gaussian": ("mean", "variance"),
    "subspace": ("mean", "basis"),
}
# Prompts of a device behind its signature; more do not move the mean by what a cosine can see.
SIGNATURE_SAMPLES = 32
DIRECTIONS = 4  # of a subspace: more cost bits and describe single prompts (our choice)

# Modules of a block that read the same input, by the first of them.
SAME_INPUT = {"k_proj": "q_proj", "v_proj": "q_proj", "up_proj": "gate_proj"}


def signature_values(gate: GateName, shapes: Shapes, samples: int) -> int:
    """Numbers that a gate must know of a device, each distinct layer input counted once (M10).

        prototype  sum d_in      gaussian  2 sum d_in      subspace  sum d_in (1 + p)
        others     0             p = min(4, d_in, samples)

    q, k and v of a block read one input, gate and up another. `samples`: prompts per device.
    """
    inputs = {}
    for name, (_, d_in) in shapes.items():
        block, _, module = name.rpartition(".")
        inputs[block, SAME_INPUT.get(module, module)] = d_in
    widths = inputs.values()
    match gate:
        case "prototype":
            return sum(widths)
        case "gaussian":
            return 2 * sum(widths)
        case "subspace":
            told = min(DIRECTIONS, SIGNATURE_SAMPLES, samples)
            return sum(width * (1 + min(told, width)) for width in widths)
        case _:
            return 0
