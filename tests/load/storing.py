"""How long it takes to store a large round, beside what it takes to train one."""

import time
from dataclasses import dataclass

from meshtune.db import leases, runs
from meshtune.db.session import writing
from meshtune.engine.config import RunConfig
from meshtune.engine.records import RoundRecord
from tests.load.stores import Times, fresh_settings, opened
from tests.support.builders import LEASE_S, sample_record, tiny_config

TASKS = (
    "reading",
    "entailment",
    "addition",
    "number_words",
    "expression",
    "list_result",
    "ending",
    "instruction",
)


@dataclass(frozen=True)
class Storing:
    """What one round holds and what storing it took; a trained round, if one was played."""

    devices: int
    scores: int
    links: int
    kilobytes: float
    times: Times
    round_s: float | None


def large_config(devices: int) -> RunConfig:
    """A ring of devices on eight tasks, trained as much as by default."""
    return tiny_config(
        rounds=1_000,
        fleet__devices=devices,
        fleet__tasks=list(TASKS),
        training__local_steps=RunConfig().training.local_steps,
        training__batch_size=RunConfig().training.batch_size,
        evaluation__samples_per_task=RunConfig().evaluation.samples_per_task,
    )


def measure(kind: str, *, devices: int = 64, rounds: int = 100, play: bool = False) -> Storing:
    """Store so many rounds one by one; `play` trains one round of the same size as well."""
    config = large_config(devices)
    record = sample_record(config, 0)
    with fresh_settings(kind) as settings, opened(settings) as store:
        with writing(store) as session:
            runs.create(session, config)
            claim = leases.claim_next(session, "load", lease_s=LEASE_S)
        assert claim is not None
        times = []
        for index in range(rounds):
            record = sample_record(config, index)
            started = time.perf_counter()
            with writing(store) as session:
                leases.append_round(session, claim, record, f"{index}", lease_s=LEASE_S)
            times.append(1000 * (time.perf_counter() - started))
    return Storing(
        devices=devices,
        scores=len(record.scores),
        links=len(record.links),
        kilobytes=len(record.model_dump_json()) / 1e3,
        times=Times(times),
        round_s=_played(config).wall_s if play else None,
    )


def _played(config: RunConfig) -> RoundRecord:
    from meshtune.engine.simulate import simulate  # noqa: PLC0415 - loads torch
    from meshtune.engine.world import build_world, initial_state  # noqa: PLC0415

    world = build_world(config)
    _, record = next(simulate(world, initial_state(world)))
    return record
