"""The mesh from round to round: devices move, links are formed anew, some cannot be used."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64

from meshtune.engine import config as c
from meshtune.engine.mesh import Mesh
from meshtune.engine.topology.churn import present, reachable
from meshtune.engine.topology.graphs import depends_on_places, mesh_at, period
from meshtune.engine.topology.motion import Motion, area_of, build_motion

Densities = Float64[np.ndarray, "n layers"]
Masks = Bool[np.ndarray, "n p"]


@dataclass(frozen=True)
class ChangingMesh:
    """How the mesh of a run changes: a function of seed and round, the same for every method."""

    config: c.RunConfig
    motion: Motion
    densities: Densities | None = None

    def at(self, mesh: Mesh, round_index: int, masks: Masks | None = None) -> Mesh:
        """The mesh of this round, given that of the round before: `mesh` itself if all stays.

        Links that depend on places are formed anew every `relink_every` rounds, and before the
        first where a trace begins elsewhere; others stay with their devices wherever these go.
        """
        config, mobility = self.config, self.config.mobility
        places, formed = mesh.positions, False
        if isinstance(mobility, c.Moving):
            places = self.motion.places(round_index)
            if np.array_equal(places, mesh.positions):
                places = mesh.positions
            every = mobility.relink_every
            due = round_index == 0 or (every > 0 and round_index % every == 0)
            moved = places is not mesh.positions
            formed = moved and due and depends_on_places(config.topology)
        if formed or (round_index > 0 and period(config) > 1):
            return mesh_at(config, places, round_index, self.densities, masks)
        return mesh if places is mesh.positions else replace(mesh, positions=places)

    def usable(self, mesh: Mesh, round_index: int) -> Mesh:
        """The mesh with the links that can be used in this round; `mesh` itself if all can."""
        linked = reachable(mesh.linked, self.config.churn, self.config.seed, round_index)
        return mesh if linked is mesh.linked else replace(mesh, linked=linked)

    def present(self, round_index: int) -> Bool[np.ndarray, " n"]:
        """Devices within reach of the others in this round."""
        config = self.config
        return present(config.churn, config.seed, config.fleet.devices, round_index)


def changing_mesh(
    config: c.RunConfig, first: Mesh, densities: Densities | None = None
) -> ChangingMesh:
    """How the mesh that begins as `first` goes on.

    Raises:
        AssetMissing: no trace of that name.
        ConfigMismatch: it does not fit the devices.
    """
    start = first.positions
    radius_m, centre_m = area_of(config.topology, start)
    motion = build_motion(config.mobility, start, radius_m, config.seed, centre_m)
    return ChangingMesh(config, motion, densities)
