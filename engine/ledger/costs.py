"""What numbers, places and signatures cost in bits, and how many entries a mask keeps (M11)."""

import math
from collections.abc import Mapping
from typing import Literal, assert_never

import numpy as np
from jaxtyping import Int64

from meshtune.engine import config as c

SCALE_BITS = 16  # of the scale that integers on air share per rank
SEED_BITS = 64  # A travels as the seed of its stream

# Prompts of a device behind its signature; more do not move the mean by what a cosine can see.
SIGNATURE_SAMPLES = 32
DIRECTIONS = 4  # of a subspace: more cost bits and describe single prompts (our choice)

PlacesCode = Literal["least", "bitmap", "numbers", "entropy"]
Shapes = Mapping[str, tuple[int, int]]

# Modules of a block that read the same input, by the first of them.
SAME_INPUT = {"k_proj": "q_proj", "v_proj": "q_proj", "up_proj": "gate_proj"}


def value_cost_bits(values: int, ranks: int, bits: int) -> int:
    """Bits of `values` numbers on air, and of their `ranks` scales where integers need them (M11).

    `ranks` counts the scales: modules times rank, for each factor that is sent.
    """
    scales = ranks if bits < SCALE_BITS else 0
    return values * bits + SCALE_BITS * scales


def places_bits(values: int, entries: int, code: PlacesCode) -> int:
    """Bits that say which `values` of `entries` a message holds (M11c).

        bitmap    entries
        numbers   values ceil(log2 entries)
        least     the smaller of the two
        entropy   ceil(entries H2(values / entries)),   H2(p) = -p log2 p - (1 - p) log2(1 - p)

    Nothing if all entries are there, or none. An entropy code for independent entries of known
    density needs entries H2 bits in the mean; rounding up is our choice, as is the set of codes.
    Source: Shannon, "A Mathematical Theory of Communication" (1948), theorem 9.
    """
    if not 0 < values < entries:
        return 0
    numbers = values * (entries - 1).bit_length()
    match code:
        case "bitmap":
            return entries
        case "numbers":
            return numbers
        case "least":
            return min(entries, numbers)
        case "entropy":
            p = values / entries
            return math.ceil(-entries * (p * math.log2(p) + (1 - p) * math.log2(1 - p)))
        case _:
            assert_never(code)


def signature_values(gate: c.GateName, shapes: Shapes, samples: int) -> int:
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


def kept_entries(
    rule: c.SoLora, shapes: Shapes, rank: int, cluster: Int64[np.ndarray, " n"]
) -> Int64[np.ndarray, " n"]:
    """Entries of B that the mask of every device keeps, known before any training (M7, M7a).

        layer      sum_l max(1, round(s d_out r))          global  max(1, round(s sum_l d_out r))
        column     sum_l max(1, round(s r)) d_out
        disjoint   sum_l min(allowed_l, max(1, round(min(s, 1 / c) d_out r)))

    `allowed_l` are the entries dealt to the device's slot among the c of the largest cluster. A
    spectral density is taken as uniform: its total is the same up to the rounding of each layer
    (our choice).

    Args:
        rule: The method.
        shapes: (d_out, d_in) of the adapted modules.
        rank: Of the adapter.
        cluster: Cluster of each device when the masks are drawn.
    """
    rows = np.array([d_out for d_out, _ in shapes.values()])
    sizes, n = rows * rank, len(cluster)
    if not is_masked(rule):
        return np.full(n, sizes.sum())
    if rule.mask == "global":
        return np.full(n, max(1, round(rule.density * int(sizes.sum()))))
    if rule.mask == "column":
        return np.full(n, max(1, round(rule.density * rank)) * rows.sum())
    if rule.mask == "layer":
        return np.full(n, _rounded(rule.density, sizes).sum())
    slots = int(np.bincount(cluster).max())
    slot = np.array([(cluster[:i] == cluster[i]).sum() for i in range(n)])
    # Numbers below `size` that leave the remainder `slot` when divided by `slots`.
    allowed = np.maximum(0, sizes[None] - slot[:, None] + slots - 1) // slots
    kept = np.minimum(allowed, _rounded(min(rule.density, 1 / slots), sizes))
    return np.asarray(kept.sum(axis=1))


def is_masked(rule: c.SoLora) -> bool:
    """Whether some entries of B do not exist."""
    return rule.density < 1 or rule.mask == "disjoint"


def draws_masks(rule: c.SoLora, round_index: int) -> bool:
    """Whether masks are drawn before the exchange of this round."""
    every = rule.mask_every
    due = round_index == 0 or (every > 0 and round_index % every == 0)
    return due and is_masked(rule)


def is_published(round_index: int, rounds: int, every: int) -> bool:
    """Whether experts are published in this round; a run ends with what it learned."""
    done = round_index + 1
    return done % every == 0 or done == rounds


def _rounded(share: float, sizes: Int64[np.ndarray, " l"]) -> Int64[np.ndarray, " l"]:
    return np.maximum(1, np.rint(share * sizes)).astype(np.int64)
