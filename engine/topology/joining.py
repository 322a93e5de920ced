"""The shortest links that make one mesh of parts."""

import numpy as np
from jaxtyping import Float64

from meshtune.engine.mesh import Links


def joined(linked: Links, distances: Float64[np.ndarray, "n n"]) -> Links:
    """`linked` and the shortest further links that join its parts.

    These are the links of a minimum spanning tree in which present links come first. Links of one
    length go by the lower devices, so that one mesh comes out on every machine. Without any link
    the result is the minimum spanning tree itself (Kruskal, On the Shortest Spanning Subtree of a
    Graph, 1956). Both matrices are symmetric.
    """
    from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

    if connected_components(linked, directed=False, return_labels=False) == 1:
        return linked.copy()
    devices = len(linked)
    first, second = np.triu_indices(devices, k=1)
    order = np.lexsort((distances[first, second], ~linked[first, second]))
    # Ranks for lengths: no two are equal, so there is one tree only, whoever searches for it.
    # They start at 1, because 0 is no link.
    ranks = np.zeros((devices, devices))
    ranks[first[order], second[order]] = np.arange(1, len(order) + 1)
    tree = minimum_spanning_tree(ranks).toarray() > 0.0
    mesh: Links = linked | tree | tree.T
    return mesh
