"""Named random streams: a draw depends on its name and the seed, never on what was drawn before."""

import hashlib

import numpy as np


def stream_key(seed: int, *names: str | int) -> int:
    """A 128-bit key of the stream `names` under `seed`, equal on every machine."""
    text = "/".join([str(seed), *(str(name) for name in names)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """A fresh generator for one named purpose, e.g. `stream(seed, "channel", "fading", 3)`.

    Counter-based (Philox), so the same name gives the same numbers for every method: runs with one
    seed see the same fading and are compared in pairs, and a new draw in one part moves no other.
    """
    return np.random.Generator(np.random.Philox(key=stream_key(seed, *names)))
