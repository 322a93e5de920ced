"""How many numbers devices must be told about each other for a gate (docs/model.md M10)."""

from meshtune.engine.ledger import Shapes
from meshtune.engine.methods.gates import DIRECTIONS, SIGNATURE_SAMPLES, GateName

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
