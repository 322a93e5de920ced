"""Accounts of methods that send one message over every link."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool

from meshtune.engine.ledger.messages import Messages, OneHop, on_links, silence
from meshtune.engine.mesh import Links, Mesh


@dataclass(frozen=True)
class Steady(OneHop):
    """The same message on every link, in the last of every `every` rounds."""

    bits: int
    values: int
    every: int
    exact: bool = True

    def sent(self, mesh: Mesh, round_index: int) -> Messages:
        due = (round_index + 1) % self.every == 0
        return on_links(mesh, self.bits, self.values) if due else silence(mesh)

    def after(self, mesh: Mesh, heard: Links, round_index: int) -> "Steady":
        return self

    def after_relay(self, mesh: Mesh, heard: Links) -> "Steady":
        return self


@dataclass(frozen=True)
class Introduced(OneHop):
    """The same message on every link, and something once per pair until it is heard."""

    bits: int
    values: int
    first_bits: int
    met: Bool[np.ndarray, "n n"]
    exact: bool = True

    def sent(self, mesh: Mesh, round_index: int) -> Messages:
        first = np.where(self.met, 0, self.first_bits)
        return Messages(
            np.where(mesh.linked, self.bits + first, 0),
            mesh.linked.astype(np.int64) * self.values,
        )

    def after(self, mesh: Mesh, heard: Links, round_index: int) -> "Introduced":
        return replace(self, met=self.met | heard)

    def after_relay(self, mesh: Mesh, heard: Links) -> "Introduced":
        return self
