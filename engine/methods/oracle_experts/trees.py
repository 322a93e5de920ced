"""Hard-routing experts: the trees over which they travel once."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from meshtune.engine.ledger import Messages, OneHop, Shapes, value_cost_bits
from meshtune.engine.mesh import Links, Mesh


@dataclass(frozen=True)
class Trees(OneHop):
    """One expert per task over a tree of links, in the last round only."""

    bits: int
    values: int
    task: Int64[np.ndarray, " n"]
    rounds: int
    exact: bool = True

    def sent(self, mesh: Mesh, round_index: int) -> Messages:
        copies = np.zeros_like(mesh.linked, dtype=np.int64)
        if round_index + 1 == self.rounds:
            hops = {(task, hop) for _, task, path in expert_paths(mesh, self.task) for hop in path}
            for _, hop in hops:
                copies[hop] += 1
        return Messages(copies * self.bits, copies * self.values)

    def after(self, mesh: Mesh, heard: Links, round_index: int) -> "Trees":
        return self

    def after_relay(self, mesh: Mesh, heard: Links) -> "Trees":
        return self


Hop = tuple[int, int]  # receiver, sender


def expert_trees(
    shapes: Shapes, value_bits: int, task: Int64[np.ndarray, " n"], rounds: int
) -> Trees:
    """Accounts of full updates that go to all in the last of `rounds`; scales go by column."""
    values = sum(d_out * d_in for d_out, d_in in shapes.values())
    columns = sum(d_in for _, d_in in shapes.values())
    return Trees(value_cost_bits(values, columns, value_bits), values, task, rounds)


def expert_paths(
    mesh: Mesh, task: Int64[np.ndarray, " n"]
) -> tuple[tuple[int, int, tuple[Hop, ...]], ...]:
    """(device, task, hops) of every copy that a device needs and the mesh can carry.

    A task's expert is that of its lowest-numbered device. A hop is (receiver, sender); devices of
    the task itself forward copies and need none.
    """
    paths = []
    for wanted in range(int(task.max()) + 1):
        source = int((task == wanted).argmax())
        parent, reached = breadth_first(mesh.linked, source)
        for device in np.flatnonzero(reached & (task != wanted)).tolist():
            hops, place = [], device
            while place != source:
                hops.append((place, int(parent[place])))
                place = int(parent[place])
            paths.append((device, wanted, tuple(hops)))
    return tuple(paths)


def breadth_first(
    linked: Bool[np.ndarray, "n n"], source: int
) -> tuple[Int64[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Parent of every device in a shortest-path tree from `source`, and who is in the tree.

    Among parents at equal distance the lowest-numbered of those that were reached first counts. The
    source and devices out of reach are their own parents.
    """
    parent = np.arange(len(linked))
    reached = parent == source
    front = [source]
    while front:
        further = []
        for sender in front:
            for receiver in np.flatnonzero(linked[:, sender] & ~reached).tolist():
                parent[receiver], reached[receiver] = sender, True
                further.append(receiver)
        front = further
    return parent, reached
