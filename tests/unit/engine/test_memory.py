"""Memory of a run is counted before it is taken, and refused where it is not there."""

from pathlib import Path

import pytest

from meshtune.engine import memory
from meshtune.engine.config import RunConfig, with_values
from meshtune.engine.memory import available_bytes, memory_of, memory_problem
from meshtune.engine.planning.plan import problems
from tests.support.builders import tiny_config
from tests.support.models import random_model


@pytest.fixture
def foreign(tmp_path: Path) -> RunConfig:
    random_model(tmp_path)
    return with_values(tiny_config(), {"model.source": "folder", "model.path": str(tmp_path)})


def test_parts_are_counted_by_hand() -> None:
    found = memory_of(tiny_config(adapter__rank=8))
    values = 4 * 8 * (6 * 160 + 416) + 4 * 8 * (5 * 160 + 2 * 416)
    assert found.adapters == 4 * 2 * 4 * values  # bytes, devices, copies
    assert found.moments == 4 * 2 * 4 * values
    frozen = 128 * 160 + 160 + 4 * (4 * 160**2 + 3 * 160 * 416 + 2 * 160)
    assert found.weights == 4 * (frozen + 128 * 160)
    assert found.total > memory.BASE_BYTES + found.weights


@pytest.mark.parametrize(
    "change", [{"fleet__devices": 8}, {"training__batch_size": 64}, {"adapter__rank": 64}]
)
def test_more_of_anything_takes_more(change: dict[str, int]) -> None:
    assert memory_of(tiny_config(**change)).total > memory_of(tiny_config()).total


def test_sgd_has_no_moments() -> None:
    assert memory_of(tiny_config(training__optimizer="sgd")).moments == 0


def test_this_system_says_what_is_free() -> None:
    free = available_bytes()
    assert free is None or free > 1e8


def test_what_does_not_fit_is_refused_at_its_field(
    foreign: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert memory_problem(foreign) is None
    needed = memory_of(foreign)
    for free, field in ((memory.BASE_BYTES, "model.path"), (needed.total - 1, "fleet.devices")):
        monkeypatch.setattr(memory, "available_bytes", lambda free=free: free)
        ((named, sentence),) = problems(foreign)
        assert named == field
        assert "GB are free" in sentence
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    assert problems(foreign) == []


def test_the_embedded_model_is_never_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 1.0)
    assert memory_problem(RunConfig()) is None
