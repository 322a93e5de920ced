"""What numbers and places cost in bits (M11)."""

import math
from collections.abc import Mapping
from typing import Literal, assert_never

SCALE_BITS = 16  # of the scale that integers on air share per rank
SEED_BITS = 64  # A travels as the seed of its stream

PlacesCode = Literal["least", "bitmap", "numbers", "entropy"]
Shapes = Mapping[str, tuple[int, int]]  # (d_out, d_in) by module


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
