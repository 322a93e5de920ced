"""One tiny run per arm against its stored records: numbers change on purpose only.

`make golden` rewrites the files; the commit that does so says why.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from meshtune.engine.config import with_values
from meshtune.engine.methods import registry
from meshtune.engine.simulate import simulate
from meshtune.engine.world import build_world, initial_state
from tests.support.builders import tiny_config

METHODS = tuple(registry.METHODS)
CLUSTERS = {"topology.kind": "agnes", "topology.radius_m": 30.0}
# Every method as its defaults have it, and the other arms of the paper's comparison.
RUNS: dict[str, dict[str, Any]] = {kind: {"method.kind": kind} for kind in METHODS} | {
    "lori_sparse": {"method.kind": "lori", "method.density": 0.1},
    "so_lora_repaired": {"method.kind": "so_lora", "method.mode": "repaired", **CLUSTERS},
    "so_lora_literal": {
        "method.kind": "so_lora",
        "method.mode": "literal",
        "method.a_init": "device",
        "method.density_by": "spectral",
        "method.gate_blend": "soft",
        "method.top_ranks": 8,
        **CLUSTERS,
    },
    "so_lora_frugal": {
        "method.kind": "so_lora",
        "method.density_sent": 0.25,
        "method.gate": "gaussian",
        "adapter.value_bits": 8,
    },
}
SAMPLES = 8
# Other processors add in another order: floats agree to this, and an answer may flip. What is
# counted, and what happens on air, agrees exactly.
RELATIVE = 1e-3
NEAR = ("accuracy", "accuracy_own_before_exchange", "routed_right_fraction")
ABSOLUTE = dict.fromkeys(NEAR, 1.01 / SAMPLES)


def played(name: str) -> list[dict[str, Any]]:
    base = tiny_config(
        seed=3,
        rounds=2,
        fleet__devices=4,
        topology__kind="ring",
        channel__deadline_s=0.5,  # so tight that some dense adapters are lost
        channel__bandwidth_hz=1e6,
        channel__tx_power_dbm=0,
        evaluation__samples_per_task=SAMPLES,
    )
    world = build_world(with_values(base, RUNS[name]))
    records = (record for _, record in simulate(world, initial_state(world)))
    return [record.model_dump(mode="json", exclude={"wall_s"}) for record in records]


def require_same(now: Any, stored: Any, place: str) -> None:
    """Every number of `now` agrees with the stored one."""
    if isinstance(stored, dict):
        assert now.keys() == stored.keys(), place
        for key, value in stored.items():
            require_same(now[key], value, f"{place}.{key}")
    elif isinstance(stored, list):
        assert len(now) == len(stored), place
        for index, value in enumerate(stored):
            require_same(now[index], value, f"{place}.{index}")
    elif isinstance(stored, float):
        name = place.rpartition(".")[2].removesuffix("_own").removesuffix("_all")
        wanted = pytest.approx(stored, rel=RELATIVE, abs=ABSOLUTE.get(name, 1e-6))
        assert now == wanted, place
    else:
        assert now == stored, place


@pytest.mark.parametrize("name", RUNS)
def test_the_numbers_are_those_of_the_golden_run(name: str, rewrite: bool) -> None:
    file = Path(__file__).with_name(f"{name}.json")
    now = played(name)
    if rewrite:
        file.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
    require_same(now, json.loads(file.read_text(encoding="utf-8")), name)
