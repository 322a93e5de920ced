"""What the links alone say about a mesh: degrees, parts, hops, how hard it is to cut."""

import numpy as np
from jaxtyping import Int64

from meshtune.engine.mesh import Links


def degrees(linked: Links) -> Int64[np.ndarray, " n"]:
    """Receivers of every sender, u_j of M4 (M24): its neighbours, if links work both ways.

    In a one-way mesh those that a device hears are counted elsewhere, as rows.
    """
    receivers: Int64[np.ndarray, " n"] = linked.sum(axis=0, dtype=np.int64)
    return receivers


def components(linked: Links) -> int:
    """Parts without a link between them, in any direction; 1 if the mesh is connected (M24)."""
    from scipy.sparse.csgraph import connected_components

    return int(connected_components(linked, directed=False, return_labels=False))


def diameter(linked: Links) -> int | None:
    """Hops between the two devices that are farthest from each other (M24).

    Along the direction of the links, so that a one-way ring of n has n - 1. None if a message of
    some device never reaches some other one; 0 for one device.
    """
    # reach[k]: who hears whom within 2^k hops. Squared until all do, then searched by halving.
    reach = [linked | np.eye(len(linked), dtype=np.bool_)]
    while not reach[-1].all():
        farther = _relayed(reach[-1], reach[-1])
        if (farther == reach[-1]).all():
            return None
        reach.append(farther)
    if len(linked) == 1:
        return 0
    hops, heard = 0, np.eye(len(linked), dtype=np.bool_)
    for power in reversed(range(len(reach))):
        farther = _relayed(heard, reach[power])
        if not farther.all():
            hops, heard = hops + 2**power, farther
    return hops + 1


def algebraic_connectivity(linked: Links) -> float:
    """Second smallest eigenvalue of the Laplacian (M24).

        L = diag(degree) - A,    0 = lambda_1 <= lambda_2 <= ...

    0 if the mesh falls apart, n if complete; small where few links hold much together. Of a
    one-way mesh, that of the mesh with all links both ways. 0 for one device, which has no second
    eigenvalue (our choice). Source: Fiedler, Algebraic Connectivity of Graphs (1973).
    """
    if len(linked) == 1:
        return 0.0
    both = (linked | linked.T).astype(np.float64)
    values = np.linalg.eigvalsh(np.diag(both.sum(axis=0)) - both)
    # Rounding may put a zero below it.
    return max(0.0, float(values[1]))


def _relayed(after: Links, before: Links) -> Links:
    """Who hears whom when messages go the hops of `before` and then those of `after`."""
    # Single precision counts 256 devices exactly and multiplies far faster than booleans do.
    ways = after.astype(np.float32) @ before.astype(np.float32)
    relayed: Links = ways > 0.0
    return relayed
