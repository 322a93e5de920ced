"""Whole runs of the embedded model, which do not know in which way it is computed."""

from typing import Any

import pytest

from meshtune.engine import world as construction
from meshtune.engine.backbone.embedded import load_embedded
from meshtune.engine.backbone.generic.fit import generic_backbone
from meshtune.engine.backbone.generic.model import Generic
from meshtune.engine.records import RoundRecord
from meshtune.engine.simulate import simulate
from meshtune.engine.world import build_world, initial_state
from tests.support.builders import tiny_config

SO_LORA = {
    "method__kind": "so_lora",
    "method__mask_warmup_steps": 1,
    "method__library_every": 1,
    "fleet__devices": 3,
}
RUNS: dict[str, dict[str, Any]] = {
    "adapters": {},
    "full updates": {"method__kind": "full_gossip"},
    "gate by prompt": SO_LORA,
    "gate by token": {**SO_LORA, "method__gate_level": "token", "method__gate_blend": "soft"},
}


@pytest.fixture(scope="module")
def generic() -> Generic:
    return generic_backbone(load_embedded()[0])


def played(changes: dict[str, Any]) -> list[RoundRecord]:
    world = build_world(tiny_config(evaluation__samples_per_task=8, **changes))
    return [record for _, record in simulate(world, initial_state(world))]


@pytest.mark.parametrize("changes", RUNS.values(), ids=RUNS)
def test_a_run_gives_the_same_numbers_either_way(
    changes: dict[str, Any], generic: Generic, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_hand = played(changes)
    monkeypatch.setattr(construction, "load_backbone", lambda *_asked: generic)
    for ours, theirs in zip(played(changes), by_hand, strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-3)
        assert ours.accuracy_own == pytest.approx(theirs.accuracy_own, abs=0.1)
        assert ours.sent_bits == theirs.sent_bits
        for mine, other in zip(ours.scores, theirs.scores, strict=True):
            assert mine.loss == pytest.approx(other.loss, rel=1e-2)
