"""What a config will mean on air before it runs: places, links, what the radio gives them."""

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from engine import config as c
from engine.channels import build_channel
from engine.channels.paper import PaperRadio, mean_spectral_efficiency, spectral_efficiency
from engine.geometry import distances_m
from engine.topology import Mesh, build_mesh
from engine.units import ratio_to_db


class PreviewPart(BaseModel):
    """Base of the values of a preview: immutable, strict."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PreviewDevice(PreviewPart):
    """One device on the map."""

    x_m: float
    y_m: float
    task: c.TaskName


class PreviewLink(PreviewPart):
    """One direction of a link: `sender` to `receiver`, all neighbours being sent to at once."""

    receiver: int
    sender: int
    distance_m: float
    mean_snr_db: float | None = Field(description="At the mean gain; None if ideal")
    mean_rate_bit_s: float | None = Field(description="Mean over fading; None if ideal")
    outage_prob: float | None = Field(
        description="Probability that a message misses the deadline; None without a payload"
    )


class PreviewMerge(PreviewPart):
    """One step of the clustering: the devices of `left` and of `right` became one cluster."""

    left: tuple[int, ...]
    right: tuple[int, ...]
    collision: float = Field(description="Collision rate of the merged cluster, 0 to 1")
    power_w: float = Field(description="What its neediest member spends to reach all others")


class Preview(PreviewPart):
    """The mesh of a config and the mean quality of its links."""

    devices: tuple[PreviewDevice, ...]
    links: tuple[PreviewLink, ...]
    clusters: tuple[int, ...] = Field(description="Cluster of each device; 0 without clusters")
    merges: tuple[PreviewMerge, ...] = Field(
        description="Steps from single devices to the clusters, in order; none if drawn otherwise"
    )


def preview(config: c.RunConfig, payload_bits: int | None = None) -> Preview:
    """The mesh of `config` and what its channel gives every link on average.

    Args:
        config: the experiment.
        payload_bits: length of one message, for the outage; unknown if None.
    """
    mesh = build_mesh(config)
    radio = build_channel(config)
    if isinstance(radio, PaperRadio):
        links = _radio_links(mesh, radio, payload_bits)
    else:
        links = _ideal_links(mesh)
    return Preview(
        devices=tuple(
            PreviewDevice(x_m=float(x), y_m=float(y), task=config.fleet.task_of(device))
            for device, (x, y) in enumerate(mesh.positions)
        ),
        links=links,
        clusters=tuple(mesh.cluster.tolist()),
        merges=tuple(
            PreviewMerge(
                left=merge.left, right=merge.right, collision=merge.collision, power_w=merge.power_w
            )
            for merge in mesh.merges
        ),
    )


def _ideal_links(mesh: Mesh) -> tuple[PreviewLink, ...]:
    distances = distances_m(mesh.positions)
    return tuple(
        PreviewLink(
            receiver=receiver,
            sender=sender,
            distance_m=distances[receiver, sender],
            mean_snr_db=None,
            mean_rate_bit_s=None,
            outage_prob=None,
        )
        for receiver, sender in np.argwhere(mesh.linked)
    )


def _radio_links(
    mesh: Mesh, radio: PaperRadio, payload_bits: int | None
) -> tuple[PreviewLink, ...]:
    distances = distances_m(mesh.positions)
    snr = radio.mean_snr(mesh.positions)
    band_hz = radio.bandwidth_hz / np.maximum(mesh.linked.sum(axis=0), 1)
    cap = radio.spectral_efficiency_max
    efficiency = (
        mean_spectral_efficiency(snr, cap)
        if radio.faded
        else np.minimum(spectral_efficiency(snr), cap)
    )
    links = []
    for receiver, sender in np.argwhere(mesh.linked):
        mean = float(snr[receiver, sender])
        band = float(band_hz[sender])
        missed = None if payload_bits is None else radio.outage(mean, payload_bits, band)
        links.append(
            PreviewLink(
                receiver=receiver,
                sender=sender,
                distance_m=distances[receiver, sender],
                mean_snr_db=ratio_to_db(mean),
                mean_rate_bit_s=band * efficiency[receiver, sender],
                outage_prob=missed,
            )
        )
    return tuple(links)
