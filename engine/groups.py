"""Which devices are trained in one pass."""

import math

GROUP_TOKENS = 4096


def default_group_size(tokens_per_device: int) -> int:
    """Return the largest number of devices in one pass: some thousand tokens, as the cache fits."""
    return max(1, GROUP_TOKENS // tokens_per_device)


def device_groups(devices: int, tokens_per_device: int, size: int | None = None) -> list[slice]:
    """Return the devices that are trained in one pass, group by group; at least two if possible.

    Depends on sizes alone, not on this machine, so that the rounding does not either.
    """
    size = size or min(default_group_size(tokens_per_device), math.ceil(devices / 2))
    return [slice(first, min(first + size, devices)) for first in range(0, devices, size)]
