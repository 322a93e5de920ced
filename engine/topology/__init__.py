"""Who stands where, who may talk to whom, and how much a device believes another."""

from engine.topology.graphs import Mesh, build_mesh
from engine.topology.mixing import metropolis_weights

__all__ = ["Mesh", "build_mesh", "metropolis_weights"]
