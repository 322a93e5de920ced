"""Values that leave the finite range: wherever in a round it happens, the run has diverged."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from meshtune.engine import simulate as loop
from meshtune.engine.adapters.stack import Adapters, mix
from meshtune.engine.answering.evaluate import Scores
from meshtune.engine.channels import hop as on_links
from meshtune.engine.commands.app import app
from meshtune.engine.commands.console import EXIT_DIVERGED, answer
from meshtune.engine.config import RunConfig
from meshtune.engine.divergence import (
    require_distances,
    require_exchanged,
    require_recorded,
    require_scored,
    require_trained,
)
from meshtune.engine.errors import NumericsError
from meshtune.engine.fleet import OptimizerState
from meshtune.engine.methods.decaf_gossip.config import DecafGossip
from meshtune.engine.methods.decaf_gossip.rules import DecafGossipRules
from meshtune.engine.reproduce.campaign import play_run
from meshtune.engine.simulate import simulate
from meshtune.engine.world import State, World, build_world, initial_state
from tests.support.builders import sample_record, tiny_config
from tests.support.methods import line_mesh, mesh_of, moved, setup_of, silence

# Local training stays finite in float32; what it leaves does not fit into a message.
OVERFLOWS: dict[str, Any] = {
    "seed": 1,
    "rounds": 4,
    "fleet__tasks": ["reading", "addition"],
    "fleet__train_samples": 2000,
    "topology__kind": "line",
    "adapter__alpha": 1024.0,
    "adapter__rank": 1,
    "training__optimizer": "sgd",
    "training__learning_rate": 100.0,
    "training__clip_norm": 0.0,
    "training__warmup_steps": 0,
    "training__local_steps": 10,
    "training__batch_size": 16,
}
Trained = tuple[Adapters, OptimizerState, torch.Tensor]


def enlarged(adapters: Adapters, factor: float, device: int = 1) -> Adapters:
    """The adapters with all B of one device that many times as large."""
    b = {name: value.clone() for name, value in adapters.b.items()}
    for value in b.values():
        value[device] = torch.where(value[device] == 0, 1e-3, value[device]) * factor
    return Adapters(adapters.a, b)


def enlarging(
    monkeypatch: pytest.MonkeyPatch, factor: float, rounds: tuple[int, ...] = (0,)
) -> None:
    """Local training that makes the adapter of device 1 that many times as large."""
    as_it_is = loop.local_training

    def trained(world: World, state: State, check: Callable[[float], None]) -> Trained:
        adapters, optimizer, losses = as_it_is(world, state, check)
        if state.round_index in rounds:
            adapters = enlarged(adapters, factor)
        return adapters, optimizer, losses

    monkeypatch.setattr(loop, "local_training", trained)


def ended(config: RunConfig) -> NumericsError:
    """How a run diverges."""
    world = build_world(config)
    with pytest.raises(NumericsError) as caught:
        list(simulate(world, initial_state(world)))
    return caught.value


@pytest.mark.parametrize("bits", [16, 8, 4])
def test_values_that_overflow_on_air_after_finite_training_end_the_run(bits: int) -> None:
    error = ended(tiny_config(adapter__value_bits=bits, **OVERFLOWS))
    assert (error.round_index, error.devices) == (0, [1])
    assert str(error) == (
        f"an adapter grew past 65,504, the most that {bits} bits can carry, in round 1 on device "
        "1; lower training.learning_rate, or set adapter.value_bits to 32"
    )


def test_whole_values_on_air_carry_them() -> None:
    world = build_world(tiny_config(adapter__value_bits=32, **OVERFLOWS | {"rounds": 1}))
    [(_, record)] = simulate(world, initial_state(world))
    assert math.isfinite(record.consensus_distance)


KINDS: dict[str, dict[str, Any]] = {
    "lora_gossip": {},
    "ffa_gossip": {},
    "decaf_gossip": {},
    "choco_gossip": {},
    "lori": {},
    "full_gossip": {},
    "oracle_experts": {},
    "push_sum": {"method__kind": "lora_gossip", "mixing__rule": "push_sum"},
    **{
        f"so_lora {mode} {gate}": {
            "method__kind": "so_lora",
            "method__mode": mode,
            "method__gate": gate,
            "method__mask_warmup_steps": 1,
            "method__library_every": 1,
        }
        for mode, gate in [
            ("stack", "arrow"),
            ("stack", "output_norm"),
            ("repaired", "prototype"),
            ("literal", "prompt_loss"),
        ]
    },
}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_method_and_optimizer_names_the_device_whose_message_overflowed(
    kind: str, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    enlarging(monkeypatch, 1e9)
    changes = {"method__kind": kind.partition(" ")[0]} | KINDS[kind]
    config = tiny_config(
        rounds=1,
        fleet__devices=3,
        topology__kind="full",
        adapter__value_bits=8,
        training__optimizer=optimizer,
        channel__kind="ideal",
        **changes,
    )
    error = ended(config)
    assert error.devices == [1]
    assert "8 bits" in str(error)


def test_a_message_that_nobody_heard_spoils_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    enlarging(monkeypatch, 1e9)
    world = build_world(tiny_config(rounds=1, adapter__value_bits=8, channel__kind="ideal"))
    deaf = replace(world, channel=_Deaf(world.channel))
    [(state, _)] = simulate(deaf, initial_state(deaf))
    assert all(value.isfinite().all() for value in state.adapters.b.values())


class _Deaf:
    """A channel on which every message is lost."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel

    def deliver(self, *args: Any, **kwargs: Any) -> Any:
        delivery = self.channel.deliver(*args, **kwargs)
        return replace(delivery, heard=np.zeros_like(delivery.heard))


def test_only_those_that_heard_a_sender_get_what_overflowed_there() -> None:
    x = torch.ones(4, 2, 3)
    x[1, 0, 0], x[1, 1, 1] = torch.inf, torch.nan
    weights = torch.eye(4)
    weights[2, 1] = 0.5
    mixed = mix(Adapters({}, {"m": x}), weights).b["m"]
    assert mixed.isfinite().flatten(1).all(dim=1).tolist() == [True, False, False, True]


def test_refactoring_gives_what_overflowed_to_nobody_else() -> None:
    setup = setup_of([0, 1, 2, 1], value_bits=8)
    method, mesh = DecafGossipRules(setup, DecafGossip()), mesh_of(line_mesh(4))
    adapters = enlarged(moved(method.start()[0], method), 1e9, device=0)
    kept, _ = method.combine(adapters, {}, mesh, mesh.linked, 0)
    rows = torch.stack([value.isfinite().flatten(1).all(dim=1) for value in kept.b.values()])
    assert rows.all(dim=0).tolist() == [True, False, True, True]
    kept, _ = method.combine(adapters, {}, mesh, silence(4), 0)
    assert all(torch.equal(kept.b[name], value) for name, value in adapters.b.items())


def test_the_warm_up_that_chooses_masks_may_diverge(monkeypatch: pytest.MonkeyPatch) -> None:
    as_it_is = loop.train_steps

    def train_steps(*args: Any, **kwargs: Any) -> Trained:
        adapters, optimizer, losses = as_it_is(*args, **kwargs)
        return enlarged(adapters, torch.inf), optimizer, losses

    monkeypatch.setattr(loop, "train_steps", train_steps)
    error = ended(tiny_config(method__kind="so_lora", method__mask_warmup_steps=1))
    assert error.devices == [1]
    assert "in the warm-up for the masks in round 1" in str(error)


def test_answers_that_overflow_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    # Finite, so it travels, and past what the forward pass can add up.
    enlarging(monkeypatch, 1e20)
    error = ended(tiny_config(method__kind="local", adapter__alpha=1024.0))
    assert error.devices == [1]
    assert "loss of the answers became NaN or infinite in round 1" in str(error)


def whole(n: int = 3) -> Adapters:
    return Adapters({"m": torch.ones(n, 2, 4)}, {"m": torch.ones(n, 5, 2)})


def test_an_optimizer_that_overflowed_is_not_left_to_stand_still() -> None:
    moments = whole()
    moments.b["m"][2, 0, 0] = torch.inf
    with pytest.raises(NumericsError, match="round 5 on device 2;"):
        require_trained(4, (whole(), Adapters({}, {}), moments), torch.ones(2, 3))


@pytest.mark.parametrize(
    ("memory", "devices"),
    [
        ({"mean.m": torch.tensor([[1.0], [torch.nan], [1.0]])}, [1]),
        ({"push.y": torch.tensor([1.0, 1.0, torch.inf])}, [2]),
        ({"copy.m": torch.tensor([[1.0], [torch.inf]])}, [0, 1, 2]),  # of nobody in particular
    ],
)
def test_what_a_method_remembers_counts_as_well(
    memory: dict[str, torch.Tensor], devices: list[int]
) -> None:
    with pytest.raises(NumericsError, match="in the exchange in round 1") as caught:
        require_exchanged(0, 32, whole(), whole(), memory, None)
    assert caught.value.devices == devices


def test_scores_and_distances_name_their_devices() -> None:
    loss = torch.tensor([[1.0, 2.0], [1.0, torch.nan], [torch.inf, 1.0]])
    with pytest.raises(NumericsError, match="on device 1, 2;"):
        require_scored(0, Scores(torch.ones(3, 2), loss, None, None, None))
    with pytest.raises(NumericsError, match=r"distance .* on device 0;"):
        require_distances(0, torch.tensor([torch.inf, 1.0, 1.0]))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_record_holds_finite_numbers_only(value: float) -> None:
    record = sample_record(tiny_config(), 1, extra={"gate_entropy_nats": value})
    with pytest.raises(NumericsError, match=r"gate_entropy_nats became NaN .* round 2 on device"):
        require_recorded(record)


def test_adapters_that_cannot_be_taken_apart_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise torch.linalg.LinAlgError("the input matrix contained non-finite values")

    monkeypatch.setattr(loop, "fleet_metrics", refuse)
    error = ended(tiny_config())
    assert error.devices == [0, 1]
    assert "too large to be taken apart in round 1" in str(error)


def test_the_command_line_keeps_the_finite_rounds_and_ends_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    enlarging(monkeypatch, 1e9, rounds=(1,))
    monkeypatch.setattr(
        "meshtune.engine.commands.experiment.chosen_config", lambda *_: tiny_config(rounds=3)
    )
    out = tmp_path / "out.jsonl"
    with pytest.raises(SystemExit) as left:
        answer(app, argv=["run", "tiny", "--quiet", "--out", str(out)])
    assert left.value.code == EXIT_DIVERGED
    told = capfd.readouterr().err
    assert len(told.splitlines()) == 1
    assert "in round 2 on device 1; " in told
    assert f"1 of 3 rounds are finished and kept in {out}" in told
    [line] = out.read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["round_index"] == 0


def test_a_comparison_counts_such_a_run_as_diverged() -> None:
    found = play_run(tiny_config(adapter__value_bits=8, **OVERFLOWS), lambda _: None)
    assert found.diverged
    assert (found.rounds, found.accuracy) == (0, 0.0)


def test_a_link_without_any_signal_is_written_as_one_without_ratio(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    as_it_is = on_links.matrix

    def matrix(sends: Any, n: int, values: Any, empty: Any) -> Any:
        return as_it_is(sends, n, np.zeros_like(values) if empty is np.nan else values, empty)

    monkeypatch.setattr("meshtune.engine.channels.radio.matrix", matrix)
    world = build_world(tiny_config(rounds=1))
    [(_, record)] = simulate(world, initial_state(world))
    assert record.links
    assert {link.snr_db for link in record.links} == {None}
