"""Small valid values, with any field changed."""

from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from meshtune.db import leases, runs, steering
from meshtune.db.session import writing
from meshtune.engine.config import RunConfig, with_values
from meshtune.engine.records import (
    DeviceRecord,
    LinkRecord,
    Provenance,
    RoundRecord,
    RunStatus,
    ScoreRecord,
)

LEASE_S = 20.0
WARMED_UP = ("so_lora", "lori")  # they train some steps more before the first round


def tiny_config(**changes: Any) -> RunConfig:
    """Two devices, two rounds, few steps: seconds on one core. Dots in names as double underscores.

    `tiny_config(rounds=3, training__local_steps=1)`
    """
    tiny = {
        "name": "tiny",
        "rounds": 2,
        "fleet.devices": 2,
        "fleet.tasks": ["addition", "reading"],
        "fleet.train_samples": 16,
        "topology.kind": "ring",
        "method.kind": "lora_gossip",
        "training.local_steps": 2,
        "training.batch_size": 2,
        "training.precision": "float32",
        "evaluation.samples_per_task": 2,
    }
    dotted = {name.replace("__", "."): value for name, value in changes.items()}
    if dotted.get("method.kind") in WARMED_UP:
        tiny["method.mask_warmup_steps"] = 1
    return with_values(RunConfig(), tiny | dotted)


def sample_record(config: RunConfig, round_index: int, **changes: Any) -> RoundRecord:
    """A record as `config` might give: every list filled, numbers that depend on the round."""
    devices = range(config.fleet.devices)
    tasks = config.fleet.present_tasks()
    pairs = [(i, j) for i in devices for j in devices if i != j][:256]
    values: dict[str, Any] = {
        "round_index": round_index,
        "train_loss": 2.0 / (round_index + 1),
        "accuracy_own": round_index / (round_index + 1),
        "accuracy_all": round_index / (round_index + 2),
        "consensus_distance": 0.1,
        "delivered_fraction": 0.5,
        "sent_bits": 1000 * len(pairs),
        "airtime_s": 0.25,
        "energy_j": 0.5,
        "devices": tuple(
            DeviceRecord(
                device=i,
                task=config.fleet.task_of(i),
                x_m=float(i),
                y_m=0.5,
                train_loss=1.0,
                sent_bits=1000,
                airtime_s=0.25,
                energy_j=0.25,
            )
            for i in devices
        ),
        "scores": tuple(
            ScoreRecord(device=i, task=task, accuracy=0.123456789, loss=1.23456789)
            for i in devices
            for task in tasks
        ),
        "links": tuple(
            LinkRecord(
                receiver=i,
                sender=j,
                payload_bits=1000,
                snr_db=12.3456789,
                rate_bit_s=1.23456789e6,
                airtime_s=0.25,
                energy_j=0.25,
                delivered=(i + j) % 2 == 0,
            )
            for i, j in pairs
        ),
        "extra": {"routed_right_fraction": 0.75},
        "wall_s": 1.5,
    }
    return RoundRecord.model_validate(values | changes)


def sample_provenance(**changes: Any) -> Provenance:
    """Versions as a worker might report them."""
    values = {
        "meshtune": "0.1.0",
        "python": "3.11.7",
        "torch": "2.13.0",
        "transformers": "4.57.0",
        "platform": "Linux",
        "threads": 2,
        "precision": "float32",
        "commit": "0" * 40,
        "dirty": False,
    }
    return Provenance.model_validate(values | changes)


def play(session: Session, claim: leases.Claim, rounds: int) -> None:
    """Store the next rounds of a claimed run."""
    done = runs.get(session, claim.run_id).rounds_done
    for index in range(done, done + rounds):
        name = f"{claim.run_id}-{index}-f{claim.fence}.safetensors"
        record = sample_record(claim.config, index)
        leases.append_round(session, claim, record, name, lease_s=LEASE_S)


def stored_run(
    store: Engine,
    config: RunConfig | None = None,
    *,
    rounds: int = 0,
    status: RunStatus = RunStatus.QUEUED,
) -> int:
    """Number of a run that stands at `status` with so many rounds, by the legal way."""
    with writing(store) as session:
        run = runs.create(session, config or tiny_config())
        if status is RunStatus.QUEUED and rounds == 0:
            return run.id
        run.priority = 1_000  # so that this very run is claimed
        session.flush()
        claim = leases.claim_next(session, "builder", lease_s=LEASE_S)
        assert claim is not None
        assert claim.run_id == run.id
        run.priority = 0
        leases.record_provenance(session, claim, sample_provenance())
        play(session, claim, rounds)
        if status is RunStatus.QUEUED:
            leases.release(session, claim, "given back")
        elif status is RunStatus.PAUSED:
            steering.request_pause(session, run.id)
            leases.release(session, claim, "told to stop")
        elif status is not RunStatus.RUNNING:
            leases.finish(session, claim, status, None if status is RunStatus.COMPLETED else "why")
        return run.id


def expire_lease(session: Session, run_id: int) -> None:
    """As if the worker of the run had been silent for long."""
    session.execute(text("UPDATE runs SET lease_until = 1.0 WHERE id = :id"), {"id": run_id})
