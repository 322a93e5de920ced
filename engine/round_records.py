"""The record of a round, put together from what the round left behind."""

import math

import numpy as np
from torch import Tensor

from meshtune.engine.adapters.stack import distance_to_mean
from meshtune.engine.answering.evaluate import Scores
from meshtune.engine.channels.traffic import Traffic
from meshtune.engine.compute import ComputeCost, compute_cost
from meshtune.engine.config import TaskName
from meshtune.engine.divergence import require_distances
from meshtune.engine.methods.rules import Memory
from meshtune.engine.records import (
    DeviceRecord,
    LayerRecord,
    LinkRecord,
    MergeRecord,
    RoundRecord,
    RouteRecord,
    ScoreRecord,
)
from meshtune.engine.topology import Mesh
from meshtune.engine.units import ratio_to_db
from meshtune.engine.world import State, World


def summarize(
    world: World,
    after: State,
    losses: Tensor,
    traffic: Traffic,
    scores: Scores | None,
) -> RoundRecord:
    """The record of the round that led to `after`."""
    loss = losses.mean(dim=0)
    extra = world.method.diagnostics(after.memory)
    extra["bandwidth_time_hz_s"] = traffic.bandwidth_time_hz_s
    extra["parameters_sent"] = float(traffic.sender_values.sum())
    delivered = traffic.delivered_fraction
    if delivered is not None:
        extra["outage_fraction"] = 1.0 - delivered
    if scores is not None and scores.routed_right is not None:
        extra["routed_right_fraction"] = scores.routed_right
    if scores is not None and scores.gate_entropy is not None:
        extra["gate_entropy_nats"] = scores.gate_entropy
    compute = compute_cost(world.config, after.round_index - 1)
    distances = distance_to_mean(after.adapters)
    require_distances(after.round_index - 1, distances)
    own = (scores.accuracy * world.mixture).sum(dim=1) if scores else None
    return RoundRecord(
        round_index=after.round_index - 1,
        train_loss=float(loss.mean()),
        accuracy_own=None if own is None else float(own.mean()),
        accuracy_all=None if scores is None else float(scores.accuracy.mean()),
        consensus_distance=float(distances.mean()),
        delivered_fraction=delivered,
        sent_bits=int(traffic.sender_bits.sum()),
        airtime_s=traffic.airtime_s,
        energy_j=float(traffic.link_energy_j.sum()),
        receive_j=float(traffic.link_receive_j.sum()),
        compute_j=float(compute.joules.sum()),
        round_s=traffic.round_s,
        devices=_device_records(world, after, loss, traffic, compute),
        scores=() if scores is None else _score_records(world, scores),
        routes=() if scores is None else _route_records(world, scores),
        links=_link_records(traffic),
        extra=extra,
        wall_s=0.0,
    )


def merge_records(mesh: Mesh) -> tuple[MergeRecord, ...]:
    return tuple(
        MergeRecord(left=m.left, right=m.right, collision=m.collision, power_w=m.power_w)
        for m in mesh.merges
    )


def _device_records(
    world: World, after: State, loss: Tensor, traffic: Traffic, compute: ComputeCost
) -> tuple[DeviceRecord, ...]:
    sent_bits, energy_j = traffic.sender_bits, traffic.link_energy_j.sum(axis=0)
    receive_j = traffic.link_receive_j.sum(axis=1)
    present = world.changing.present(after.round_index - 1)
    return tuple(
        DeviceRecord(
            device=i,
            task=world.tasks[task],
            x_m=float(after.mesh.positions[i, 0]),
            y_m=float(after.mesh.positions[i, 1]),
            cluster=int(after.mesh.cluster[i]),
            train_loss=float(loss[i]),
            sent_bits=int(sent_bits[i]),
            airtime_s=float(traffic.sender_airtime_s[i]),
            energy_j=float(energy_j[i]),
            receive_j=float(receive_j[i]),
            compute_s=float(compute.seconds[i]),
            compute_j=float(compute.joules[i]),
            present=bool(present[i]),
            mixture=_mixture(world, i),
        )
        for i, task in enumerate(world.own)
    )


def _mixture(world: World, device: int) -> dict[TaskName, float]:
    """What a device holds; nothing where that is its one task."""
    shares = dict(zip(world.tasks, world.mixture[device].tolist(), strict=True))
    return {} if world.config.fleet.partition.kind == "one_task" else shares


def _score_records(world: World, scores: Scores) -> tuple[ScoreRecord, ...]:
    return tuple(
        ScoreRecord(
            device=i,
            task=name,
            accuracy=float(scores.accuracy[i, k]),
            loss=float(scores.loss[i, k]),
        )
        for i in range(len(world.own))
        for k, name in enumerate(world.tasks)
    )


def _route_records(world: World, scores: Scores) -> tuple[RouteRecord, ...]:
    if scores.routes is None:
        return ()
    # Shares are sums of many parts and may miss 1 by a rounding.
    shares = scores.routes.clamp(0.0, 1.0).tolist()
    return tuple(
        RouteRecord(asked=asked, expert=expert, share=shares[i][j])
        for i, asked in enumerate(world.tasks)
        for j, expert in enumerate(world.tasks)
    )


def layer_records(world: World, memory: Memory) -> tuple[LayerRecord, ...]:
    masks = world.method.masks(memory) or {}
    return tuple(
        LayerRecord(
            module=name,
            density=float(mask.float().mean()),
            entropy=float(world.entropies[name].mean()) if name in world.entropies else None,
        )
        for name, mask in masks.items()
    )


def _link_records(traffic: Traffic) -> tuple[LinkRecord, ...]:
    payload_bits, failed = traffic.payload_bits, traffic.failed
    airtime_s, energy_j = traffic.link_airtime_s, traffic.link_energy_j
    snr, rate = traffic.latest("snr"), traffic.latest("rate_bit_s")
    return tuple(
        LinkRecord(
            receiver=int(i),
            sender=int(j),
            payload_bits=int(payload_bits[i, j]),
            # NaN on an ideal channel; zero where a table of gains has none.
            snr_db=ratio_to_db(float(snr[i, j])) if snr[i, j] > 0.0 else None,
            rate_bit_s=None if math.isnan(rate[i, j]) else float(rate[i, j]),
            airtime_s=float(airtime_s[i, j]),
            energy_j=float(energy_j[i, j]),
            delivered=not failed[i, j],
        )
        for i, j in np.argwhere(traffic.attempted)
    )
