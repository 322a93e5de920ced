"""Who stands where, who may talk to whom, and how much a device believes another."""

from meshtune.engine.mesh import Merge, Mesh
from meshtune.engine.topology.graphs import build_mesh, depends_on_places, mesh_at, period
from meshtune.engine.topology.places import start_places

__all__ = [
    "Merge",
    "Mesh",
    "build_mesh",
    "depends_on_places",
    "mesh_at",
    "period",
    "start_places",
]
