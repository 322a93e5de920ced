"""Who stands where, who may talk to whom, and how much a device believes another."""

from meshtune.engine.mesh import Merge, Mesh
from meshtune.engine.topology.graphs import build_mesh, depends_on_places, depends_on_round, mesh_at
from meshtune.engine.topology.places import start_places

__all__ = [
    "Merge",
    "Mesh",
    "build_mesh",
    "depends_on_places",
    "depends_on_round",
    "mesh_at",
    "start_places",
]
