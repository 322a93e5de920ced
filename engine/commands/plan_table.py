"""A plan as tables on a terminal."""

from collections.abc import Callable

from rich.table import Table

from meshtune.engine import quantities as words
from meshtune.engine.config import RunConfig
from meshtune.engine.plans import Cost, Plan, PlannedMemory, Spread

PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"))
MISSING = "-"
LONG_S, LONG_MIN = 120.0, 120.0  # from here on a duration is written in minutes, in hours

COSTS: tuple[tuple[str, str, Callable[[Cost], float | None]], ...] = (
    ("Values on air", "", lambda cost: cost.parameters_sent),
    (words.BITS_SENT.word, "bit", lambda cost: cost.payload_bits),
    (words.AIRTIME.word, "s", lambda cost: cost.airtime_s),
    ("Band x time", "Hz s", lambda cost: cost.bandwidth_time_hz_s),
    (words.TRANSMIT.word, "J", lambda cost: cost.transmit_j),
    (words.RECEIVE.word, "J", lambda cost: cost.receive_j),
    (words.COMPUTE.word, "J", lambda cost: cost.compute_j),
    ("Computing", "s", lambda cost: cost.compute_s),
    (words.ROUND_TIME.word, "s", lambda cost: cost.round_s),
    ("Delivered", "%", lambda cost: cost.delivered_fraction),
)


def plan_tables(plan: Plan, config: RunConfig) -> list[Table]:
    """Costs of a run, then what its mesh and its radio are like."""
    return [cost_table(plan), fact_table(plan, config)]


def cost_table(plan: Plan) -> Table:
    """Costs of the first round, of later ones and of all, and those of plain LoRA."""
    table = Table(box=None, pad_edge=False)
    table.add_column("Expected cost")
    for name in ("First round", "Later round", "Whole run", "Plain LoRA", "Change"):
        table.add_column(name, justify="right")
    for name, unit, of in COSTS:
        values = [of(cost) for cost in (plan.first_round, plan.later_round, plan.total)]
        plain = of(plan.plain_lora)
        change = MISSING if unit == "%" else _change(values[-1], plain)
        table.add_row(name, *(written(value, unit) for value in (*values, plain)), change)
    return table


def fact_table(plan: Plan, config: RunConfig) -> Table:
    """What the mesh is like, what the radio gives its links, and how long the run will take."""
    graph, clusters = plan.graph, len(set(plan.clusters))
    table = Table(box=None, pad_edge=False, show_header=False)
    links = f"{graph.degree_min} to {graph.degree_max}, mean {graph.degree_mean:.3g}"
    whole = "connected" if graph.components == 1 else f"in {graph.components} parts"
    hops = MISSING if graph.diameter is None else f"{graph.diameter} hops"
    rows = [
        ("Devices", f"{len(plan.devices)}, {whole}"),
        ("Links per device", links),
        ("Diameter", hops),
        ("Spectral gap", f"{graph.spectral_gap:.3g}"),
        ("Clusters", f"{clusters}"),
        ("Collision", MISSING if plan.collision is None else written(plan.collision, "%")),
        ("SNR", spread(plan.snr_db, "dB")),
        ("Rate", spread(plan.rate_bit_s, "bit/s")),
        ("Lost", spread(plan.outage_prob, "%")),
        ("Rounds played", f"{plan.rounds_sampled} of {config.rounds}"),
        (words.MACHINE_TIME.word, f"about {written(plan.wall_s, 's')}"),
    ]
    if plan.memory is not None:
        rows.append(("Memory", memory_text(plan.memory)))
    rows += [("Note", f"{note.field}: {note.sentence}") for note in plan.notes]
    for name, value in rows:
        table.add_row(name, value)
    return table


def memory_text(memory: PlannedMemory) -> str:
    """All that the run takes, and of what it is made."""
    parts = ("weights", "adapters", "moments", "activations")
    told = ", ".join(f"{part} {written(getattr(memory, part), 'B')}" for part in parts)
    return f"about {written(memory.total, 'B')} ({told})"


def spread(found: Spread | None, unit: str) -> str:
    """Median of the links, and from tenth to ninetieth percentile."""
    if found is None:
        return MISSING
    low, high = written(found.low, unit), written(found.high, unit)
    return f"{written(found.median, unit)} (80 % of the links: {low} to {high})"


def written(value: float | None, unit: str) -> str:
    """A number with three digits in a handy unit; `%` takes a share."""
    if value is None:
        return MISSING
    if unit == "%":
        return "< 0.1 %" if 0.0 < value < 0.0005 else f"{100.0 * value:.1f} %"
    if unit == "dB":
        return f"{value:.1f} dB"
    if unit == "s" and value >= LONG_S:
        minutes = value / 60.0
        return f"{minutes:.3g} min" if minutes < LONG_MIN else f"{minutes / 60.0:.3g} h"
    factor, prefix = next(
        ((size, name) for size, name in PREFIXES if abs(value) >= 0.9995 * size), (1.0, "")
    )
    return f"{value / factor:.3g} {prefix}{unit}".strip()


def _change(value: float | None, reference: float | None) -> str:
    if value is None or not reference:
        return MISSING
    return f"{100.0 * (value / reference - 1.0):+.0f} %"
