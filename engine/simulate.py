"""The round loop: train, transmit, combine, evaluate, yield."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from meshtune.engine.adapters.stack import Adapters, flatten, select
from meshtune.engine.answering.evaluate import Scores, evaluate, own_accuracy, prompt_weights
from meshtune.engine.answering.interference import Questions
from meshtune.engine.answering.metrics import Exchange, fleet_metrics
from meshtune.engine.channels.traffic import Traffic
from meshtune.engine.compute import compute_cost
from meshtune.engine.config import Agnes
from meshtune.engine.costs import mixing_rule
from meshtune.engine.divergence import (
    require_exchanged,
    require_recorded,
    require_scored,
    require_trained,
    require_warmed_up,
)
from meshtune.engine.errors import NumericsError
from meshtune.engine.fleet import OptimizerState, train_steps
from meshtune.engine.groups import device_groups
from meshtune.engine.methods.rules import Bank, Memory
from meshtune.engine.records import RoundRecord
from meshtune.engine.rng import stream
from meshtune.engine.round_records import layer_records, merge_records, summarize
from meshtune.engine.topology import Mesh, mesh_at
from meshtune.engine.world import State, World

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
    """One round: every device trains, talks to its neighbours, and is asked all tasks.

    Raises:
        NumericsError: something that the round would leave behind is not finite.
    """
    began = time.monotonic()
    try:
        after, record = _played(world, state, check)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]  # not in its stubs
        what = "an adapter became too large to be taken apart"
        raise NumericsError(state.round_index, list(range(len(world.own))), what) from error
    require_recorded(record)
    return after, record.model_copy(update={"wall_s": time.monotonic() - began})


def _played(world: World, state: State, check: Check) -> tuple[State, RoundRecord]:
    t, mesh_before = state.round_index, state.mesh
    state = warmed_up(world, moved(world, state), check)
    trained, optimizer, losses = local_training(world, state, check)
    require_trained(t, (trained, optimizer.m, optimizer.v), losses)
    mesh = world.changing.usable(state.mesh, t)
    messages = world.method.sent(state.memory, mesh, t)
    ready_s = compute_cost(world.config, t).seconds
    first = world.channel.deliver(mesh.positions, messages.bits, t, ready_s=ready_s)
    traffic = Traffic((first,), (messages.values,), ready_s)
    combined, memory = world.method.combine(trained, state.memory, mesh, first.heard, t)
    memory, traffic = _relayed(world, memory, mesh, t, traffic)
    after = State(t + 1, combined, optimizer, memory, state.mesh)
    bank = world.method.bank(combined, memory) if _is_evaluated(world, t) else None
    require_exchanged(t, world.config.adapter.value_bits, trained, combined, memory, bank)
    scores = _scores(world, bank, t, check) if bank else None
    record = summarize(world, after, losses, traffic, scores)
    extra = record.extra | (_exchange_metrics(world, trained, after, bank) if bank else {})
    merges = merge_records(state.mesh) if t == 0 or state.mesh is not mesh_before else ()
    known = {"extra": extra, "merges": merges}
    if t == 0:
        known["layers"] = layer_records(world, after.memory)
    return after, record.model_copy(update=known)


def _relayed(
    world: World, memory: Memory, mesh: Mesh, round_index: int, traffic: Traffic
) -> tuple[Memory, Traffic]:
    """Memory and traffic after the copies have travelled on, hop by hop, within the round.

    Links that failed in the round stay silent, since its fading stays.
    """
    while True:
        near = replace(mesh, linked=mesh.linked & ~traffic.failed)
        messages = world.method.relayed(memory, near)
        if not messages.bits.any():
            return memory, traffic
        hop = world.channel.deliver(
            mesh.positions, messages.bits, round_index, ready_s=traffic.next_s, alike=False
        )
        memory = world.method.relay(memory, near, hop.heard)
        traffic = traffic.followed_by(hop, messages.values)


def moved(world: World, state: State) -> State:
    """The state with the mesh of this round, after devices moved and links were formed anew."""
    masks = world.method.masks(state.memory) if _counts_masks(world) else None
    known = None if masks is None else flatten(masks).numpy()
    mesh = world.changing.at(state.mesh, state.round_index, known)
    return state if mesh is state.mesh else replace(state, mesh=mesh)


def _counts_masks(world: World) -> bool:
    """Whether clusters are formed from the masks that were really drawn."""
    topology = world.config.topology
    return isinstance(topology, Agnes) and topology.collision == "empirical"


def warmed_up(world: World, state: State, check: Check) -> State:
    """The state with masks chosen by some steps of dense training, which are then forgotten.

    Clusters that count real overlaps of masks are formed anew from them.
    """
    t = state.round_index
    steps = world.method.warm_up_steps(t)
    if steps == 0:
        return state
    batches = draw_batches(world, "warm-up", t, steps)
    warmed, _, losses = train_steps(
        world.backbone,
        world.rule,
        state.adapters,
        OptimizerState(),
        batches,
        trained=world.method.trained,
        stop=lambda: check(0.0),
    )
    require_warmed_up(t, warmed, losses)
    memory = world.method.after_warm_up(warmed, state.memory, state.mesh, t)
    masks = world.method.masks(memory)
    if masks is None or not _counts_masks(world):
        return replace(state, memory=memory)
    mesh = mesh_at(world.config, state.mesh.positions, t, masks=flatten(masks).numpy())
    return replace(state, memory=memory, mesh=mesh)


def local_training(
    world: World, state: State, check: Check
) -> tuple[Adapters, OptimizerState, Tensor]:
    """Adapters, optimizer state and losses (steps, n) after this round's local steps."""
    steps = world.config.training.local_steps
    tokens, targets = draw_batches(world, "train", state.round_index, steps)
    adapters = state.adapters
    if world.method.pooled:
        # One adapter sees the batches of all devices; everybody then gets it.
        tokens, targets = (part.flatten(1, 2)[:, None] for part in (tokens, targets))
        adapters = select(adapters, [0])
    groups = len(device_groups(tokens.shape[1], tokens[0, 0].numel()))
    done = 0

    def count() -> None:
        nonlocal done
        check(done / (steps * groups))
        done += 1

    trained, optimizer, losses = train_steps(
        world.backbone,
        world.rule,
        adapters,
        state.optimizer,
        (tokens, targets),
        trained=world.method.trained,
        masks=world.method.masks(state.memory),
        stop=count,
    )
    if world.method.pooled:
        n = len(world.own)
        return select(trained, [0] * n), optimizer, losses.expand(-1, n)
    return trained, optimizer, losses


def draw_batches(
    world: World, purpose: str, round_index: int, steps: int
) -> tuple[Int[Tensor, "steps n b t"], Int[Tensor, "steps n b t"]]:
    """Tokens and targets of `steps` batches per device, drawn with replacement from its pool.

    A device has its own stream, so its batches do not depend on how many others there are.
    """
    n = len(world.own)
    size = (steps, world.config.training.batch_size)
    seed = world.config.seed
    rows = torch.from_numpy(
        np.stack(
            [
                stream(seed, "batches", purpose, device, round_index).integers(held, size=size)
                for device, held in enumerate(world.samples)
            ],
            axis=1,
        )
    )
    device = torch.arange(n)[None, :, None]
    return world.pool_tokens[device, rows], world.pool_targets[device, rows]


def _is_evaluated(world: World, round_index: int) -> bool:
    done = round_index + 1
    return done % world.config.evaluation.every_rounds == 0 or done == world.config.rounds


def _scores(world: World, bank: Bank, round_index: int, check: Check) -> Scores:
    scaling = world.rule.scaling
    scores = evaluate(world.backbone, bank, world.exam, scaling, check=lambda: check(1.0))
    require_scored(round_index, scores)
    return scores


def _exchange_metrics(
    world: World, trained: Adapters, after: State, bank: Bank
) -> dict[str, float]:
    """What the exchange did to adapters and masks, and own accuracy just before it."""
    method, own = world.method, torch.from_numpy(world.own)
    exchange = Exchange(trained, after.adapters, method.masks(after.memory), method.trained)
    questions = Questions(world.exam.inputs, world.exam.task)
    before = own_accuracy(world.backbone, trained, world.mixture, world.exam, world.rule.scaling)
    gates = prompt_weights(bank, world.exam)
    mixing = mixing_rule(world.config)
    known = fleet_metrics(exchange, after.mesh, bank, own, questions, gates, mixing)
    return {"accuracy_own_before_exchange": before, **known}
