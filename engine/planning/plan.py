"""What a config will mean before it runs: places, links, what the radio gives, what it costs."""

import math
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from jaxtyping import Float64, Int64

from meshtune.engine import config as c
from meshtune.engine.channels import Channel, build_channel
from meshtune.engine.channels.radio import Radio
from meshtune.engine.compute import wall_s
from meshtune.engine.costs import method_costs, mixing_rule
from meshtune.engine.errors import AssetMissing, ConfigMismatch
from meshtune.engine.geometry import distances_m
from meshtune.engine.memory import memory_of, memory_problem
from meshtune.engine.methods.registry import METHODS, REFERENCE
from meshtune.engine.models.problems import model_problems
from meshtune.engine.peft_start import start_problems
from meshtune.engine.planning.dry_run import AirCost, dry_run, round_meshes
from meshtune.engine.plans import (
    Cost,
    GraphFacts,
    Plan,
    PlannedDevice,
    PlannedLink,
    PlannedMemory,
    PlannedMerge,
    PlanNote,
    Spread,
)
from meshtune.engine.shares import mixtures
from meshtune.engine.topology import Mesh, start_places
from meshtune.engine.topology.changing import changing_mesh
from meshtune.engine.topology.collision import collision_rate
from meshtune.engine.topology.facts import algebraic_connectivity, components, degrees, diameter
from meshtune.engine.topology.mixing import unmixed_sentence
from meshtune.engine.units import ratio_to_db
from meshtune.engine.weights import spectral_gap

PAIRS_OF_PLAIN = 15_000  # the budget of the comparison, whose rounds are all alike
# A config whose messages arrive less often, over links that lose more often, has a problem.
HARDLY_ANY, SURELY_LOST = 0.01, 0.9
LOUD_DBM = 60.0  # the most that a config takes: what every link would do at the cap


def plan(config: c.RunConfig) -> Plan:
    """What the run of `config` will mean: mesh, links, and costs by a dry run (docs/model.md M30).

    Costs are those of the run itself where all its rounds fit into the budget of the dry run, and
    else estimates from the first rounds of every kind; bits depend on nothing learned except the
    sizes of cluster means, whose masks are taken as independent.

    Raises:
        AssetMissing: a file that the config names is not there.
        ConfigMismatch: a file does not fit the config.
    """
    mesh_of, channel = round_meshes(config), build_channel(config)
    mesh = mesh_of(0)
    played = dry_run(config, mesh_of, channel)
    plain = config.model_copy(update={"method": METHODS[REFERENCE].default()})
    plain_total = dry_run(plain, mesh_of, channel, PAIRS_OF_PLAIN, among=played.played).total
    links = links_with(mesh, channel, usual_bits(config, mesh))
    total = played.total
    return Plan(
        devices=_devices(config, mesh),
        links=links,
        clusters=tuple(mesh.cluster.tolist()),
        merges=_merges(mesh),
        snr_db=_spread([link.mean_snr_db for link in links]),
        rate_bit_s=_spread([link.mean_rate_bit_s for link in links]),
        outage_prob=_spread([link.outage_prob for link in links]),
        graph=graph_facts(config, mesh),
        collision=mean_collision(config, mesh),
        first_round=_cost(played.first),
        later_round=_cost(played.later),
        total=_cost(total),
        plain_lora=_cost(plain_total),
        saving_fraction=(
            1.0 - total.payload_bits / plain_total.payload_bits
            if plain_total.payload_bits
            else None
        ),
        rounds_sampled=len(played.played),
        wall_s=wall_s(config),
        memory=_memory(config),
        notes=tuple(notes(config, total)),
    )


def notes(config: c.RunConfig, total: AirCost) -> list[PlanNote]:
    """What a config asks for and the run will not do: a sentence at its field each.

    Args:
        config: the experiment.
        total: what its rounds cost on air.
    """
    fleet, found = config.fleet, []
    held = {fleet.task_of(device) for device in range(fleet.devices)}
    classes = {fleet.hardware_of(device) for device in range(fleet.devices)}
    for field, what, given, kept in (
        ("tasks", "tasks", fleet.tasks, held),
        ("hardware", "classes of hardware", fleet.hardware, classes),
    ):
        lost = [name for name in dict.fromkeys(given) if name not in kept]
        if lost:
            sentence = (
                f"{fleet.devices} devices take the first {fleet.devices} of {len(given)} {what}; "
                f"nobody holds {', '.join(lost)}; add devices or leave them out"
            )
            found.append(PlanNote(field=f"fleet.{field}", sentence=sentence))
    if total.payload_bits and total.could_mix and not total.mixed:
        sentence = unmixed_sentence(config, total.heard > 0.0)
        found.append(PlanNote(field="mixing.rule", sentence=sentence))
    return found


def links_with(
    mesh: Mesh, channel: Channel, bits: Int64[np.ndarray, "n n"]
) -> tuple[PlannedLink, ...]:
    """Every link of the mesh and what the channel gives it on average, all of them in use.

    The loss is that of a message of `bits`; None where these are 0.
    """
    receivers, senders = np.nonzero(mesh.linked)
    distances = distances_m(mesh.positions)[receivers, senders].tolist()
    unknown: list[float | None] = [None] * len(distances)
    snr_db, rate_bit_s, loss_prob = unknown, unknown, unknown
    if isinstance(channel, Radio):
        quality = channel.quality(mesh.positions, mesh.linked, bits)
        snr_db = [
            ratio_to_db(snr) if snr else None  # a table may hold links without any gain
            for snr in _known(quality.mean_snr[receivers, senders])
        ]
        rate_bit_s = _known(quality.mean_rate_bit_s[receivers, senders])
        loss_prob = _known(quality.loss_prob[receivers, senders])
    columns = (receivers.tolist(), senders.tolist(), distances, snr_db, rate_bit_s, loss_prob)
    return tuple(
        PlannedLink(
            receiver=receiver,
            sender=sender,
            distance_m=distance_m,
            mean_snr_db=snr,
            mean_rate_bit_s=rate,
            outage_prob=loss,
        )
        for receiver, sender, distance_m, snr, rate, loss in zip(*columns, strict=True)
    )


def usual_bits(config: c.RunConfig, mesh: Mesh) -> Int64[np.ndarray, "n n"]:
    """Bits per link of an ordinary round, when everybody knows each other; 0 if never any.

    Links that carry none in ordinary rounds are given one own expert.
    """
    if not METHODS[config.method.kind].needs_mesh:
        return np.zeros(mesh.linked.shape, dtype=np.int64)
    costs = method_costs(config)
    met = costs.accounts.after(mesh, mesh.linked, 0)
    bits = met.sent(mesh, 1).bits
    return np.where(mesh.linked, np.where(bits > 0, bits, costs.message_bits), 0)


def graph_facts(config: c.RunConfig, mesh: Mesh) -> GraphFacts:
    """What the links of the first round say (M24)."""
    neighbours = degrees(mesh.linked)
    return GraphFacts(
        degree_min=int(neighbours.min()),
        degree_mean=float(neighbours.mean()),
        degree_max=int(neighbours.max()),
        components=components(mesh.linked),
        diameter=diameter(mesh.linked),
        spectral_gap=spectral_gap(mixing_rule(config).weights(mesh.linked)),
        algebraic_connectivity=algebraic_connectivity(mesh.linked),
    )


def mean_collision(config: c.RunConfig, mesh: Mesh) -> float | None:
    """Collision rate of M15, mean over the clusters of two or more; None without masks.

    0 if there is no such cluster.
    """
    densities = method_costs(config).densities
    if densities is None:
        return None
    density = densities(mesh.cluster)
    groups = [np.flatnonzero(mesh.cluster == number) for number in np.unique(mesh.cluster)]
    rates = [float(collision_rate(density[group])) for group in groups if len(group) >= 2]
    return float(np.mean(rates)) if rates else 0.0


def problems(config: c.RunConfig, planned: Plan | None = None) -> list[tuple[str, str]]:
    """What is wrong with a config and no field can know: (field, one sentence) each.

    A model or files that are missing or do not fit, computing that takes longer than the deadline
    of the round, a radio over which nothing arrives; and a name that nobody sees, which older runs
    have.

    Args:
        config: the experiment.
        planned: its plan, if there is one already; else a dry run mostly tells enough.
    """
    unseen = c.name_problem(config.name)
    found = [("name", unseen)] if unseen else []
    found += file_problems(config)
    if found or (planned is None and _surely_arrives(config)):
        return found
    found_on_air = air_problem(config, planned or plan(config))
    return [] if found_on_air is None else [found_on_air]


def file_problems(config: c.RunConfig) -> list[tuple[str, str]]:
    """What is missing or does not fit: model, input files; and devices too fast for their area."""
    found = model_problems(config) or start_problems(config)
    too_large = None if found else memory_problem(config)
    if found or too_large:
        return [*found, *([too_large] if too_large else [])]
    start = start_places(config)
    try:
        channel = build_channel(config)
        if isinstance(channel, Radio):
            channel.mean_snr(start)
    except (AssetMissing, ConfigMismatch) as error:
        found.append(("channel.path_loss.name", str(error)))
    alone = np.zeros(len(start), dtype=np.int64)
    try:
        changing_mesh(config, Mesh(start, np.zeros((len(start),) * 2, dtype=np.bool_), alone))
    except (AssetMissing, ConfigMismatch) as error:
        field = "name" if isinstance(config.mobility, c.Trace) else "interval_s"
        found.append((f"mobility.{field}", str(error)))
    return found


def air_problem(config: c.RunConfig, planned: Plan) -> tuple[str, str] | None:
    """Why hardly anything arrives: less than one message in a hundred, and no link promises more.

    A deadline that covers the round is judged by what computing leaves of it.
    """
    channel, delivered = config.channel, planned.total.delivered_fraction
    if not isinstance(channel, c.Band) or _is_enough(delivered):
        return None
    mesh, deadline_s = round_meshes(config)(0), channel.deadline_s
    bits, shortest_s = shortest_message(config, mesh)
    if isinstance(channel, c.RadioChannel) and channel.deadline_covers == "round":
        computing_s = max(planned.first_round.compute_s, planned.later_round.compute_s)
        if deadline_s - computing_s < shortest_s <= deadline_s:
            return (
                "channel.deadline_s",
                f"the deadline of {deadline_s:.3g} s covers the round, but the slowest device "
                f"computes for {computing_s:.3g} s and the best link needs {shortest_s:.3g} s; set "
                "it above the sum, or let it cover the message alone",
            )
    lost = [link.outage_prob for link in planned.links if link.outage_prob is not None]
    if min(lost, default=0.0) < SURELY_LOST:
        return None
    louder = channel.model_copy(update={"tx_power_dbm": LOUD_DBM})
    _, at_cap_s = shortest_message(config.model_copy(update={"channel": louder}), mesh)
    known_db = (link.mean_snr_db for link in planned.links)
    snr_db = max((snr for snr in known_db if snr is not None), default=-math.inf)
    if math.isinf(shortest_s) or (shortest_s > deadline_s >= at_cap_s and snr_db < 0.0):
        return (
            "channel.tx_power_dbm",
            f"{channel.tx_power_dbm:g} dBm carry nothing, since the best link has a mean SNR of "
            f"{snr_db:.1f} dB; raise the power, narrow channel.bandwidth_hz, or move the devices "
            "closer",
        )
    if shortest_s > deadline_s:
        return (
            "channel.deadline_s",
            f"no link carries its message of {bits:,} bit within {deadline_s:.3g} s, and the best "
            f"one needs {shortest_s:.3g} s; set the deadline above that, widen "
            "channel.bandwidth_hz, or send less (adapter.rank, density)",
        )
    return (
        "channel.tx_power_dbm",
        f"less than one message in {1 / HARDLY_ANY:.0f} comes through, although the best link has "
        f"a mean SNR of {snr_db:.1f} dB; raise the power, or choose a milder channel.loss",
    )


def _surely_arrives(config: c.RunConfig) -> bool:
    """Whether `air_problem` would find nothing, by as little of the plan as tells it."""
    mesh_of = round_meshes(config)
    mesh_of(0)  # refuses parts that do not fit, whatever the channel
    if not isinstance(config.channel, c.Band):
        return True
    played = dry_run(config, mesh_of, build_channel(config))
    return _is_enough(played.total.delivered_fraction)


def _is_enough(delivered: float | None) -> bool:
    return delivered is None or delivered >= HARDLY_ANY


def shortest_message(config: c.RunConfig, mesh: Mesh) -> tuple[int, float]:
    """Bits of the message that is through first at mean rates, and its seconds; inf if none is."""
    channel, bits = build_channel(config), usual_bits(config, mesh)
    if not isinstance(channel, Radio) or not bits.any():
        return 0, 0.0
    rate_bit_s = channel.quality(mesh.positions, mesh.linked, bits).mean_rate_bit_s
    sent_bits = bits + channel.header_bits
    with np.errstate(divide="ignore", invalid="ignore"):
        needed_s = np.where(bits > 0, sent_bits / rate_bit_s, np.inf)
    best = int(needed_s.argmin())
    return int(sent_bits.flat[best]), float(needed_s.flat[best])


def _devices(config: c.RunConfig, mesh: Mesh) -> tuple[PlannedDevice, ...]:
    fleet, tasks = config.fleet, config.fleet.present_tasks()
    held = mixtures(fleet, config.seed).tolist() if fleet.partition.kind != "one_task" else None
    return tuple(
        PlannedDevice(
            x_m=x,
            y_m=y,
            task=fleet.task_of(device),
            mixture=dict(zip(tasks, held[device], strict=True)) if held else {},
        )
        for device, (x, y) in enumerate(mesh.positions.tolist())
    )


def _merges(mesh: Mesh) -> tuple[PlannedMerge, ...]:
    return tuple(PlannedMerge.model_validate(asdict(merge)) for merge in mesh.merges)


def _cost(cost: AirCost) -> Cost:
    return Cost(
        parameters_sent=cost.values,
        payload_bits=cost.payload_bits,
        airtime_s=cost.airtime_s,
        bandwidth_time_hz_s=cost.bandwidth_time_hz_s,
        transmit_j=cost.transmit_j,
        receive_j=cost.receive_j,
        compute_j=cost.compute_j,
        compute_s=cost.compute_s,
        round_s=cost.round_s,
        delivered_fraction=cost.delivered_fraction,
    )


def _memory(config: c.RunConfig) -> PlannedMemory:
    found = memory_of(config)
    return PlannedMemory(**asdict(found), total=found.total)


def _spread(values: Sequence[float | None]) -> Spread | None:
    """Percentiles of the numbers that are known; None if none is."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    low, median, high = np.percentile(known, (10, 50, 90)).tolist()
    return Spread(low=low, median=median, high=high)


def _known(values: Float64[np.ndarray, " m"]) -> list[float | None]:
    """The values, None for NaN."""
    return [None if math.isnan(value) else value for value in values.tolist()]
