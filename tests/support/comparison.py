"""A store of runs to compare: four methods x five seeds x 500 rounds, through the store itself.

`python -m tests.support.comparison /tmp/state` fills a state folder and says which runs they are.
"""

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Engine

from meshtune.backend.settings import Settings, open_store
from meshtune.db import leases, runs
from meshtune.db.session import writing
from meshtune.engine.config import RunConfig, with_values
from meshtune.engine.records import DeviceRecord, RoundRecord, RunStatus, ScoreRecord
from tests.support.builders import LEASE_S, sample_provenance

# Per method: own and other-task accuracy at the end, rounds to get there, bits of a round.
ARMS: dict[str, tuple[float, float, float, int]] = {
    "lora_gossip": (0.48, 0.35, 60.0, 21_000_000),
    "so_lora": (0.86, 0.74, 90.0, 5_600_000),
    "ffa_gossip": (0.58, 0.44, 110.0, 10_500_000),
    "local": (0.69, 0.16, 50.0, 0),
}
TASKS = ("reading", "addition", "expression", "ending")
SAMPLES = 64
ROUNDS_AT_ONCE = 100  # in one transaction


def arm_config(kind: str, seed: int, rounds: int) -> RunConfig:
    """Eight devices, four tasks; arms differ in the method alone."""
    changes: dict[str, Any] = {
        "name": f"{kind.replace('_', ' ')} s{seed}",
        "seed": seed,
        "rounds": rounds,
        "method.kind": kind,
        "fleet.devices": 8,
        "fleet.tasks": list(TASKS),
        "topology.kind": "ring",
        "training.precision": "float32",
    }
    return with_values(RunConfig(), changes)


def arm_record(config: RunConfig, index: int) -> RoundRecord:
    """A round of saturating accuracies with the noise of so many samples, and steady costs."""
    own_end, other_end, pace, bits = ARMS[config.method.kind]
    rng = np.random.default_rng([config.seed, index, 11])
    luck = 0.015 * math.sin(7.0 * config.seed)
    rise = 1.0 - math.exp(-(index + 1) / pace)
    devices = range(config.fleet.devices)
    scores = []
    for device in devices:
        for task in config.fleet.present_tasks():
            end = own_end if config.fleet.task_of(device) == task else other_end
            right = rng.binomial(SAMPLES, 0.1 + (end + luck - 0.1) * rise)
            scores.append(
                ScoreRecord(device=device, task=task, accuracy=right / SAMPLES, loss=2.0 - rise)
            )
    own = [s.accuracy for s in scores if config.fleet.task_of(s.device) == s.task]
    airtime_s = bits / 1.9e7 * float(1.0 + 0.1 * rng.random())
    return RoundRecord(
        round_index=index,
        train_loss=2.2 - 1.9 * rise,
        accuracy_own=float(np.mean(own)),
        accuracy_all=float(np.mean([s.accuracy for s in scores])),
        consensus_distance=1.0 / (index + 1),
        delivered_fraction=0.97 if bits else None,
        sent_bits=bits,
        airtime_s=airtime_s,
        energy_j=0.2 * airtime_s,
        round_s=1.0 + airtime_s,
        devices=tuple(
            DeviceRecord(
                device=device,
                task=config.fleet.task_of(device),
                x_m=10.0 * device,
                y_m=0.0,
                train_loss=1.0,
                sent_bits=bits // config.fleet.devices,
                airtime_s=airtime_s,
                energy_j=0.2 * airtime_s / config.fleet.devices,
            )
            for device in devices
        ),
        scores=tuple(scores),
        links=(),
        extra={"accuracy_own_before_exchange": min(1.0, float(np.mean(own)) + 0.02)},
        wall_s=0.8 + 0.4 * float(rng.random()),
    )


def fill(
    store: Engine,
    *,
    methods: tuple[str, ...] = tuple(ARMS),
    seeds: int = 5,
    rounds: int = 500,
) -> list[int]:
    """Completed runs of every method and seed; their numbers."""
    return [
        complete(store, arm_config(kind, seed, rounds)) for kind in methods for seed in range(seeds)
    ]


def complete(
    store: Engine,
    config: RunConfig,
    *,
    rounds: int | None = None,
    status: RunStatus = RunStatus.COMPLETED,
) -> int:
    """A run of `config` that ended like that after so many rounds, all if not said."""
    with writing(store) as session:
        run = runs.create(session, config)
        run.priority = 100  # so that this very run is claimed
        session.flush()
        claim = leases.claim_next(session, "comparison", lease_s=LEASE_S)
        assert claim is not None
        assert claim.run_id == run.id
        leases.record_provenance(session, claim, sample_provenance())
    done = config.rounds if rounds is None else rounds
    for start in range(0, done, ROUNDS_AT_ONCE):
        with writing(store) as session:
            for index in range(start, min(start + ROUNDS_AT_ONCE, done)):
                record = arm_record(config, index)
                leases.append_round(session, claim, record, f"{index}.safetensors", lease_s=LEASE_S)
    with writing(store) as session:
        reason = None if status is RunStatus.COMPLETED else "the loss of device 2 is not finite"
        leases.finish(session, claim, status, reason)
    return claim.run_id


def main() -> None:
    """Fill the store of a state folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("state", type=Path)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    asked.state.mkdir(parents=True, exist_ok=True)
    store = open_store(Settings(state_dir=asked.state, database_url=None))
    made = fill(store, seeds=asked.seeds, rounds=asked.rounds)
    store.dispose()
    print(",".join(map(str, made)))  # noqa: T201


if __name__ == "__main__":
    main()
