"""Gates by name, and what devices must be told about each other for them (docs/model.md M10)."""

from collections.abc import Mapping
from typing import Literal

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

# Whether a gate decides for every module by its own input, anew for every token, or once for all.
GateLevel = Literal["prompt", "token", "network"]

# What a gate wants to know of a device's prompts; nothing if it is not here.
SIGNATURES: Mapping[str, tuple[str, ...]] = {
    "prototype": ("mean",),
    "gaussian": ("mean", "variance"),
    "subspace": ("mean", "basis"),
}
# Prompts of a device behind its signature; more do not move the mean by what a cosine can see.
SIGNATURE_SAMPLES = 32
DIRECTIONS = 4  # of a subspace: more cost bits and describe single prompts (our choice)
