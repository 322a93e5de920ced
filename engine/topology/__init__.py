"""Who stands where, who may talk to whom, and how much a device believes another."""

from engine.topology.base import Merge, Mesh
from engine.topology.graphs import build_mesh
from engine.topology.mixing import metropolis_weights

__all__ = ["Merge", "Mesh", "build_mesh", "metropolis_weights"]
