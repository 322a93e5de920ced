"""What the map editor asks: clusters for drawn places, and what links give by distance."""

from dataclasses import dataclass

import numpy as np

from meshtune.engine import config as c
from meshtune.engine.channels import Radio, build_channel
from meshtune.engine.costs import method_costs
from meshtune.engine.errors import ConfigMismatch
from meshtune.engine.mesh import Mesh
from meshtune.engine.topology.graphs import clustered_places
from meshtune.engine.units import ratio_to_db

NEAREST_M, FARTHEST_M = 1.0, 20_000.0
DISTANCES = 72
OUTAGE = 0.1  # beyond the distance of this outage a link is out of range


@dataclass(frozen=True)
class LinkCurve:
    """What one link gives at growing distances, alone on the air; levels None without a radio.

    `range_m` is where one message in ten is lost; None if that never or always happens.
    """

    distance_m: tuple[float, ...]
    snr_db: tuple[float | None, ...]
    rate_bit_s: tuple[float | None, ...]
    outage_prob: tuple[float | None, ...]
    range_m: float | None


def suggested_mesh(config: c.RunConfig, collision_max: float) -> Mesh:
    """The mesh that the paper's clusters would have at the places of a drawn topology (M18).

    Raises:
        ConfigMismatch: the topology is not drawn.
    """
    topology = config.topology
    if not isinstance(topology, c.Drawn):
        raise ConfigMismatch("clusters are suggested for a drawn topology; draw one first")
    places = np.array([(point.x_m, point.y_m) for point in topology.positions], dtype=np.float64)
    return clustered_places(config, c.Agnes(collision_max=collision_max), places)


def link_curve(config: c.RunConfig) -> LinkCurve:
    """Mean SNR, mean rate and outage of a single link by distance; shadowing is left out (M3, M22).

    Raises:
        AssetMissing: a table of gains is not where it should be.
        ConfigMismatch: it does not fit the devices.
    """
    channel = build_channel(_without_shadowing(config))
    distances = np.geomspace(NEAREST_M, FARTHEST_M, DISTANCES).round(3)
    table = isinstance(getattr(config.channel, "path_loss", None), c.GainTable)
    if table or not isinstance(channel, Radio):  # a table of gains knows devices, no distances
        nothing = (None,) * DISTANCES
        return LinkCurve(tuple(distances.tolist()), nothing, nothing, nothing, None)
    bits = method_costs(config).message_bits
    rows = [_at(channel, float(distance), bits) for distance in distances]
    snr, rate, outage = zip(*rows, strict=True)
    return LinkCurve(tuple(distances.tolist()), snr, rate, outage, _range(distances, outage))


def _at(channel: Radio, distance_m: float, bits: int) -> tuple[float | None, float, float]:
    pair = np.array([[0.0, 0.0], [distance_m, 0.0]])
    linked = np.array([[False, True], [True, False]])
    quality = channel.quality(pair, linked, np.where(linked, bits, 0))
    snr = float(quality.mean_snr[1, 0])
    level = ratio_to_db(snr) if snr > 0 else None
    return level, float(quality.mean_rate_bit_s[1, 0]), float(quality.loss_prob[1, 0])


def _range(distances: np.ndarray, outage: tuple[float, ...]) -> float | None:
    lost = np.array(outage) > OUTAGE
    if not lost.any() or lost[0]:
        return None
    return float(distances[int(lost.argmax()) - 1])


def _without_shadowing(config: c.RunConfig) -> c.RunConfig:
    if not isinstance(config.channel, c.RadioChannel):
        return config
    still = config.channel.model_copy(update={"shadowing": "none"})
    return config.model_copy(update={"channel": still})
