"""What a mesh is: places, links, clusters, and how the clusters came about."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

Places = Float64[np.ndarray, "n 2"]  # in metres
Links = Bool[np.ndarray, "n n"]  # row = receiver, column = sender


@dataclass(frozen=True)
class Merge:
    """One step of the clustering: two clusters became one.

    `collision` is the collision rate of the new cluster, `power_w` the largest power budget that
    one of its members needs to reach all others before the deadline.
    """

    left: tuple[int, ...]
    right: tuple[int, ...]
    collision: float
    power_w: float


@dataclass(frozen=True)
class Mesh:
    """Positions in metres and candidate links: `linked[i, j]` says that j may send to i.

    Links work in both directions, so that `linked` is symmetric, except in a mesh that its config
    asks to be one-way. Nobody is linked to itself.

    `cluster` numbers the cluster of every device, all 0 in a mesh without clusters. Links between
    clusters are gateways: they carry copies for inference and are never averaged over by a method
    that knows clusters. `merges` are the steps that made the clusters, in order.
    """

    positions: Float64[np.ndarray, "n 2"]
    linked: Bool[np.ndarray, "n n"]
    cluster: Int64[np.ndarray, " n"]
    merges: tuple[Merge, ...] = ()

    @property
    def inside(self) -> Bool[np.ndarray, "n n"]:
        """Links within a cluster: over these, devices average."""
        inside: Bool[np.ndarray, "n n"] = self.linked & (
            self.cluster[:, None] == self.cluster[None, :]
        )
        return inside
