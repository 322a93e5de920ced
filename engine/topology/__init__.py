"""Who stands where, who may talk to whom, and how much a device believes another."""

from engine.topology.base import Merge, Mesh
from engine.topology.graphs import build_mesh, depends_on_places, depends_on_round, mesh_at
from engine.topology.mixing import metropolis_weights
from engine.topology.places import start_places

__all__ = [
    "Merge",
    "Mesh",
    "build_mesh",
    "depends_on_places",
    "depends_on_round",
    "mesh_at",
    "metropolis_weights",
    "start_places",
]
