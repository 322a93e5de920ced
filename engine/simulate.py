"""The round loop: train, transmit, combine, evaluate, yield."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from engine.adapters import Adapters, distance_to_mean, flatten
from engine.channels import Delivery
from engine.errors import NumericsError
from engine.evaluate import Scores, evaluate, own_accuracy
from engine.fleet import OptimizerState, device_groups, train_steps
from engine.methods import Bank
from engine.records import DeviceRecord, LinkRecord, RoundRecord, ScoreRecord
from engine.rng import stream
from engine.units import ratio_to_db
from engine.world import State, World

Check = Callable[[float], None]


def nobody_asks(progress: float) -> None:
    """The `check` of a run that nobody watches."""


def simulate(
    world: World, state: State, check: Check = nobody_asks
) -> Iterator[tuple[State, RoundRecord]]:
    """Yield the state and the record after every remaining round.

    Stop iterating to cancel; call again with a stored state to resume.

    Args:
        world: What the run keeps fixed.
        state: Where to start.
        check: Called before every local step and every part of the evaluation with the share of
            the round's work that is done; ends the run by raising.

    Raises:
        NumericsError: a loss or an adapter left the finite numbers.
    """
    while state.round_index < world.config.rounds:
        state, record = play_round(world, state, check)
        yield state, record


def play_round(world: World, state: State, check: Check = nobody_asks) -> tuple[State, RoundRecord]:
    """One round: every device trains, talks to its neighbours, and is asked all tasks."""
    began = time.monotonic()
    t = state.round_index
    state = warmed_up(world, state, check) if t == 0 else state
    trained, optimizer, losses = local_training(world, state, check)
    _require_finite(t, trained, losses)
    payload_bits = world.method.payload_bits(state.memory, t)
    delivery = world.channel.deliver(world.mesh.positions, payload_bits, t)
    combined, memory = world.method.combine(trained, state.memory, delivery.heard, t)
    after = State(t + 1, combined, optimizer, memory)
    scores = _scores(world, after, check) if _is_evaluated(world, t) else None
    record = summarize(world, after, losses, payload_bits, delivery, scores)
    before = {"accuracy_own_before_exchange": _own_accuracy(world, trained)} if scores else {}
    wall_s = time.monotonic() - began
    return after, record.model_copy(update={"extra": record.extra | before, "wall_s": wall_s})


def warmed_up(world: World, state: State, check: Check) -> State:
    """The state with masks chosen by some steps of dense training, which are then forgotten."""
    steps = world.method.warm_up_steps
    if steps == 0:
        return state
    batches = draw_batches(world, "warm-up", 0, steps)
    warmed, _, _ = train_steps(
        world.backbone,
        world.rule,
        state.adapters,
        OptimizerState(),
        batches,
        trained=world.method.trained,
        stop=lambda: check(0.0),
    )
    return replace(state, memory=world.method.after_warm_up(warmed, state.memory))


def local_training(
    world: World, state: State, check: Check
) -> tuple[Adapters, OptimizerState, Tensor]:
    """Adapters, optimizer state and losses (steps, n) after this round's local steps."""
    steps = world.config.training.local_steps
    batches = draw_batches(world, "train", state.round_index, steps)
    tokens = batches[0]
    groups = len(device_groups(tokens.shape[1], tokens[0, 0].numel()))
    done = 0

    def count() -> None:
        nonlocal done
        check(done / (steps * groups))
        done += 1

    return train_steps(
        world.backbone,
        world.rule,
        state.adapters,
        state.optimizer,
        batches,
        trained=world.method.trained,
        masks=world.method.masks(state.memory),
        stop=count,
    )


def draw_batches(
    world: World, purpose: str, round_index: int, steps: int
) -> tuple[Int[Tensor, "steps n b t"], Int[Tensor, "steps n b t"]]:
    """Tokens and targets of `steps` batches per device, drawn with replacement from its pool.

    A device has its own stream, so its batches do not depend on how many others there are.
    """
    n, pool, _ = world.pool_tokens.shape
    size = (steps, world.config.training.batch_size)
    seed = world.config.seed
    rows = torch.from_numpy(
        np.stack(
            [
                stream(seed, "batches", purpose, device, round_index).integers(pool, size=size)
                for device in range(n)
            ],
            axis=1,
        )
    )
    device = torch.arange(n)[None, :, None]
    return world.pool_tokens[device, rows], world.pool_targets[device, rows]


def summarize(
    world: World,
    after: State,
    losses: Tensor,
    payload_bits: Int[np.ndarray, "n n"],
    delivery: Delivery,
    scores: Scores | None,
) -> RoundRecord:
    """The record of the round that led to `after`."""
    n = len(world.own)
    loss = losses.mean(dim=0)
    attempted = int(delivery.attempted.sum())
    extra = world.method.diagnostics(after.memory)
    if scores is not None and scores.routed_right is not None:
        extra["routed_right_fraction"] = scores.routed_right
    own = scores.accuracy[torch.arange(n), torch.from_numpy(world.own)] if scores else None
    return RoundRecord(
        round_index=after.round_index - 1,
        train_loss=float(loss.mean()),
        accuracy_own=None if own is None else float(own.mean()),
        accuracy_all=None if scores is None else float(scores.accuracy.mean()),
        consensus_distance=float(distance_to_mean(after.adapters).mean()),
        delivered_fraction=int(delivery.heard.sum()) / attempted if attempted else None,
        sent_bits=int(payload_bits.sum()),
        airtime_s=float(delivery.airtime_s.max(initial=0.0)),
        energy_j=float(delivery.energy_j.sum()),
        devices=_device_records(world, loss, payload_bits, delivery),
        scores=() if scores is None else _score_records(world, scores),
        links=_link_records(payload_bits, delivery),
        extra=extra,
        wall_s=0.0,
    )


def _is_evaluated(world: World, round_index: int) -> bool:
    done = round_index + 1
    return done % world.config.evaluation.every_rounds == 0 or done == world.config.rounds


def _scores(world: World, after: State, check: Check) -> Scores:
    bank: Bank = world.method.bank(after.adapters, after.memory)
    return evaluate(world.backbone, bank, world.exam, world.rule.scaling, check=lambda: check(1.0))


def _own_accuracy(world: World, trained: Adapters) -> float:
    own = torch.from_numpy(world.own)
    return own_accuracy(world.backbone, trained, own, world.exam, world.rule.scaling)


def _require_finite(round_index: int, adapters: Adapters, losses: Tensor) -> None:
    finite = losses.isfinite().all(dim=0)
    finite &= flatten(adapters.b).isfinite().all(dim=1)
    if adapters.a:
        finite &= flatten(adapters.a).isfinite().all(dim=1)
    if not finite.all():
        raise NumericsError(round_index, (~finite).nonzero().flatten().tolist())


def _device_records(
    world: World, loss: Tensor, payload_bits: Int[np.ndarray, "n n"], delivery: Delivery
) -> tuple[DeviceRecord, ...]:
    return tuple(
        DeviceRecord(
            device=i,
            task=world.tasks[task],
            x_m=float(world.mesh.positions[i, 0]),
            y_m=float(world.mesh.positions[i, 1]),
            train_loss=float(loss[i]),
            sent_bits=int(payload_bits[:, i].sum()),
            airtime_s=float(delivery.airtime_s[:, i].max(initial=0.0)),
            energy_j=float(delivery.energy_j[:, i].sum()),
        )
        for i, task in enumerate(world.own)
    )


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


def _link_records(
    payload_bits: Int[np.ndarray, "n n"], delivery: Delivery
) -> tuple[LinkRecord, ...]:
    return tuple(
        LinkRecord(
            receiver=int(i),
            sender=int(j),
            payload_bits=int(payload_bits[i, j]),
            snr_db=None if math.isnan(snr) else ratio_to_db(snr),
            rate_bit_s=None if math.isnan(rate) else rate,
            airtime_s=float(delivery.airtime_s[i, j]),
            energy_j=float(delivery.energy_j[i, j]),
            delivered=bool(delivery.heard[i, j]),
        )
        for i, j in zip(*np.nonzero(delivery.attempted), strict=True)
        for snr, rate in [(float(delivery.snr[i, j]), float(delivery.rate_bit_s[i, j]))]
    )
