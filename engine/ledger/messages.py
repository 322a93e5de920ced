"""What one hop puts on air, and the contract of those who count it."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

from meshtune.engine.mesh import Links, Mesh


@dataclass(frozen=True)
class Messages:
    """What one hop puts on air. Row = receiver, column = sender; 0 is silence.

    Attributes:
        bits: All of it.
        values: Values of A and B, or of full updates, among these bits: the parameters sent, which
            is what the paper counts.
    """

    bits: Int64[np.ndarray, "n n"]
    values: Int64[np.ndarray, "n n"]


def silence(mesh: Mesh) -> Messages:
    """A hop in which nobody sends."""
    none = np.zeros_like(mesh.linked, dtype=np.int64)
    return Messages(none, none)


def on_links(mesh: Mesh, bits: int, values: int) -> Messages:
    """The same message on every link of the mesh."""
    linked = mesh.linked.astype(np.int64)
    return Messages(linked * bits, linked * values)


@runtime_checkable
class Accounts(Protocol):
    """Bits of a method, round after round, given who heard whom. Immutable; nothing trains."""

    @property
    def exact(self) -> bool:
        """Whether a run sends just these bits; else some depend on what is learned."""
        ...

    def sent(self, mesh: Mesh, round_index: int) -> Messages:
        """What each sender puts on air for each receiver in the first hop of a round."""
        ...

    def after(self, mesh: Mesh, heard: Links, round_index: int) -> "Accounts":
        """The accounts after that hop."""
        ...

    def relayed(self, mesh: Mesh) -> Messages:
        """The next hop of the same round over the links that did not fail; all 0 ends the round."""
        ...

    def after_relay(self, mesh: Mesh, heard: Links) -> "Accounts":
        """The accounts after that hop."""
        ...


class OneHop:
    """Accounts of a method whose messages go to neighbours and no further."""

    def relayed(self, mesh: Mesh) -> Messages:
        return silence(mesh)
