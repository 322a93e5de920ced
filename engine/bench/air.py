"""How long the radio takes for a round, and the plan for a config, on this machine."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from meshtune.engine import config as c
from meshtune.engine.channels import build_channel
from meshtune.engine.geometry import distances_m
from meshtune.engine.planning.plan import plan
from meshtune.engine.rng import stream

REPEATS = 7
AREA_M2 = 1600.0  # per device
NEIGHBOURS = 6
MESSAGE_BITS = 1_000_000


@dataclass(frozen=True)
class AirRow:
    """One line of the table.

    Attributes:
        what: What was timed.
        devices: Devices of the mesh.
        links: Messages of a round.
        moving: Whether the devices stand elsewhere in every round.
        typical_ms: Median time, without the first.
        target_ms: What the product promises; None if nothing.
    """

    what: str
    devices: int
    links: int
    moving: bool
    typical_ms: float
    target_ms: float | None


@dataclass(frozen=True)
class Case:
    """A radio and a mesh to time."""

    what: str
    devices: int
    nearest: bool
    moving: bool
    target_ms: float | None
    radio: dict[str, Any]


CASES = (
    Case("OFDMA", 64, False, False, 20.0, {}),
    Case("OFDMA", 64, False, True, 20.0, {}),
    Case("shared band", 64, False, True, 20.0, {"access.band": "shared", "access.kind": "ofdma"}),
    Case("TDMA, reuse", 64, False, False, 20.0, {"access.kind": "tdma", "access.reuse": "spatial"}),
    Case("waterfall, 4 tries", 64, False, True, 20.0, {"loss.kind": "waterfall", "tries": 4}),
    Case("OFDMA", 1000, True, False, 200.0, {}),
    Case("OFDMA", 1000, True, True, 200.0, {}),
    Case("broadcast", 1000, True, True, 200.0, {"access.kind": "broadcast"}),
    Case("Nakagami", 1000, True, True, 200.0, {"fading.kind": "nakagami"}),
)
PLANS: dict[str, dict[str, Any]] = {
    "plan, geometric": {"topology.kind": "geometric"},
    "plan, full": {"topology.kind": "full"},
    "plan, AGNES": {"topology.kind": "agnes"},
    "plan, radio": {"channel.kind": "radio", "topology.kind": "k_nearest"},
}


def bench_air(cases: Sequence[Case] = CASES, plan_devices: int = 64) -> list[AirRow]:
    """Time one hop of every case, whose fading is new in each, and some plans."""
    rows = [_channel_row(case) for case in cases]
    for what, changes in PLANS.items():
        config = c.with_values(c.RunConfig(), {"fleet.devices": plan_devices, **changes})
        links = len(plan(config).links)
        seconds = [_timed(partial(plan, config)) for _ in range(REPEATS)]
        typical_ms = 1e3 * statistics.median(seconds)
        rows.append(AirRow(what, plan_devices, links, False, typical_ms, 200.0))
    return rows


def air_table(rows: Sequence[AirRow]) -> str:
    """Return the rows as a text table."""
    head = f"{'air and plan':<24}{'devices':>8}{'links':>7}{'moving':>8}{'ms':>9}{'promised':>10}"
    lines = [
        f"{row.what:<24}{row.devices:>8}{row.links:>7}{'yes' if row.moving else 'no':>8}"
        f"{row.typical_ms:>9.1f}" + (f"{row.target_ms:>10.0f}" if row.target_ms else "")
        for row in rows
    ]
    return "\n".join([head, *lines])


def as_json(rows: Sequence[AirRow]) -> list[dict[str, Any]]:
    """Return the rows as plain values."""
    return [asdict(row) for row in rows]


def _channel_row(case: Case) -> AirRow:
    radio = {f"channel.{name}": value for name, value in case.radio.items()}
    config = c.with_values(c.RunConfig(), {"channel.kind": "radio", **radio})
    channel = build_channel(config)
    rng = stream(0, "bench", case.devices)
    places = rng.uniform(0.0, np.sqrt(AREA_M2 * case.devices), (case.devices, 2))
    linked = _nearest(places) if case.nearest else ~np.eye(case.devices, dtype=bool)
    bits = linked * MESSAGE_BITS
    channel.deliver(places, bits, 0)
    seconds = []
    for k in range(1, REPEATS + 1):
        if case.moving:
            places = places + rng.uniform(-1.0, 1.0, places.shape)
        seconds.append(_timed(partial(channel.deliver, places, bits, k)))
    typical_ms = 1e3 * statistics.median(seconds)
    return AirRow(
        case.what, case.devices, int(linked.sum()), case.moving, typical_ms, case.target_ms
    )


def _nearest(places: Float64[np.ndarray, "n 2"]) -> Bool[np.ndarray, "n n"]:
    order = distances_m(places).argsort(axis=1)[:, 1 : NEIGHBOURS + 1]
    linked = np.zeros((len(places), len(places)), dtype=bool)
    linked[np.arange(len(places))[:, None], order] = True
    return linked | linked.T


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
