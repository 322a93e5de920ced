"""What a plan says before the run, as numbers with their unit and how each is computed. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from meshtune.dashboard.look import format as fmt
from meshtune.engine import quantities as words
from meshtune.engine.config import RunConfig
from meshtune.engine.plans import Cost, Plan


@dataclass(frozen=True)
class Tile:
    """One number on screen."""

    label: str
    value: str
    under: str
    help: str


def cost_tiles(plan: Plan, config: RunConfig) -> list[Tile]:
    """What the whole run costs, in bits, time and energy, each against plain LoRA."""
    first, later = plan.first_round, plan.later_round
    return [
        _cost(
            plan,
            words.BITS_SENT.word,
            lambda cost: cost.payload_bits,
            "bit",
            "Bits on air over all rounds: values, their places, first contact and copies of "
            "experts. A broadcast counts once.",
        ),
        _cost(
            plan,
            words.AIRTIME.word,
            lambda cost: cost.airtime_s,
            "s",
            f"{words.AIRTIME.meaning}.",
        ),
        Tile(
            words.ROUND_TIME.word,
            fmt.seconds(plan.total.round_s),
            f"{fmt.seconds(later.round_s)} per round, first {fmt.seconds(first.round_s)}",
            f"{words.ROUND_TIME.meaning}. Added up over the whole run, as expected from "
            f"{fmt.count(plan.rounds_sampled, 'round')} played on air.",
        ),
        Tile(
            words.MACHINE_TIME.word,
            fmt.seconds(plan.wall_s),
            fmt.count(config.rounds, "round"),
            "How long the run will take on this machine: its operations at the speed of a matrix "
            "product here, good for a factor of about 1.5. The radio is computed, not waited for.",
        ),
        _cost(
            plan,
            words.TRANSMIT.word,
            lambda cost: cost.transmit_j,
            "J",
            f"{words.TRANSMIT.meaning}.",
        ),
        _cost(
            plan,
            words.RECEIVE.word,
            lambda cost: cost.receive_j,
            "J",
            f"{words.RECEIVE.meaning}.",
        ),
        _cost(
            plan,
            words.COMPUTE.word,
            lambda cost: cost.compute_j,
            "J",
            f"{words.COMPUTE.meaning}.",
        ),
        Tile(
            "Delivered",
            fmt.chance(plan.total.delivered_fraction),
            "nothing is sent" if plan.total.delivered_fraction is None else "of the messages",
            "Share of the messages that arrive whole and in time, over "
            f"{fmt.count(plan.rounds_sampled, 'round')} played on air.",
        ),
    ]


def mesh_tiles(plan: Plan) -> list[Tile]:
    """What the shape of the mesh means for averaging."""
    graph, clusters = plan.graph, len(set(plan.clusters))
    cut = graph.components > 1
    return [
        Tile(
            "Links per device",
            fmt.significant(graph.degree_mean, 2),
            f"{graph.degree_min} to {graph.degree_max}",
            "Neighbours of a device: mean, fewest and most.",
        ),
        Tile(
            "Diameter",
            fmt.MISSING if graph.diameter is None else fmt.count(graph.diameter, "hop"),
            f"cut into {fmt.count(graph.components, 'part')}" if cut else "all connected",
            "Hops between the two devices farthest apart.",
        ),
        Tile(
            "Spectral gap",
            fmt.significant(graph.spectral_gap, 2),
            f"connectivity {fmt.significant(graph.algebraic_connectivity, 2)}",
            "1 minus the second largest eigenvalue of the mixing weights: near 1 devices agree at "
            "once, near 0 it takes many rounds. Algebraic connectivity is the second smallest "
            "eigenvalue of the Laplacian.",
        ),
        Tile(
            "Collision",
            fmt.chance(plan.collision),
            fmt.count(clusters, "cluster"),
            "Probability that two or more devices of a cluster hold the same entry of B (Eq. 19 of "
            "the paper), mean over clusters. Devices average within their cluster; a method "
            "without masks has no collision rate.",
        ),
    ]


def _cost(plan: Plan, label: str, of: Callable[[Cost], float], unit: str, computed: str) -> Tile:
    value, reference = of(plan.total), of(plan.plain_lora)
    shown = fmt.seconds if unit == "s" else lambda number: fmt.quantity(number, unit)
    text = f"{computed} Expected over the whole run; plain LoRA on this mesh: {shown(reference)}."
    return Tile(label, shown(value), _against(value, reference), text)


def _against(value: float, reference: float) -> str:
    if reference == 0:
        return "plain LoRA: none" if value else "as plain LoRA"
    change = fmt.relative(value, reference)
    return "as plain LoRA" if change.startswith("±") else change
