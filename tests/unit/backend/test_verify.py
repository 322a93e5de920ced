"""Verification finds the one number that is not the same, and names what differs around it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from meshtune.backend.training.engine import Check, Finished, Start, Training
from meshtune.backend.training.verify import Difference, changes, first_difference, verified
from meshtune.engine.config import RunConfig
from meshtune.engine.errors import NumericsError
from meshtune.engine.records import RoundRecord
from tests.support.builders import sample_provenance, sample_record, tiny_config

CONFIG = tiny_config(rounds=3)
ROUNDS = [sample_record(CONFIG, index) for index in range(3)]


def engine(records: list[RoundRecord], diverges: int | None = None, **surroundings: Any) -> Start:
    """An engine that knows by heart what it will find."""

    def rounds(_check: Check) -> Iterator[Finished]:
        for record in records:
            if record.round_index == diverges:
                raise NumericsError(diverges, [1])
            yield Finished(record, lambda _path: None)

    def start(_config: RunConfig, _checkpoint: Path | None) -> Training:
        return Training(sample_provenance(**surroundings), rounds)

    return start


def changed(record: RoundRecord, path: tuple[str | int, ...], value: Any) -> RoundRecord:
    """The record with one number replaced."""
    tree: Any = record.model_dump(mode="json")
    node = tree
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    return RoundRecord.model_validate(tree)


def test_equal_rounds_are_equal_whatever_time_they_took() -> None:
    slower = [record.model_copy(update={"wall_s": 99.0}) for record in ROUNDS]
    told: list[int] = []
    verdict = verified(CONFIG, ROUNDS, sample_provenance(), engine(slower), told.append)
    assert (verdict.rounds_equal, verdict.difference, verdict.surroundings) == (3, None, ())
    assert told == [1, 2, 3]


PLACES: list[tuple[str | int, ...]] = [
    ("train_loss",),
    ("energy_j",),
    ("devices", 1, "train_loss"),
    ("scores", 3, "loss"),
    ("links", 1, "airtime_s"),
    ("extra", "routed_right_fraction"),
]


@given(
    index=st.integers(0, 2),
    path=st.sampled_from(PLACES),
    value=st.floats(0.0, 1e9, allow_nan=False),
)
def test_any_changed_number_is_found_with_round_field_and_both_values(
    index: int, path: tuple[str | int, ...], value: float
) -> None:
    stored = list(ROUNDS)
    stored[index] = changed(ROUNDS[index], path, value)
    found = verified(CONFIG, stored, sample_provenance(), engine(ROUNDS)).difference
    field = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)[1:]
    if stored[index] == ROUNDS[index]:
        assert found is None
    else:
        assert found is not None
        assert (found.round_index, found.field, found.stored) == (index, field, repr(value))
        assert found.stored != found.now
        assert field in str(found)
        assert f"round {index + 1} " in str(found)


@pytest.mark.parametrize(
    ("path", "before", "now"),
    [
        (("train_loss",), 0.0, -0.0),
        (("train_loss",), 0.1 + 0.2, 0.3),
        (("accuracy_own",), None, 0.5),
        (("links", 0, "delivered"), True, False),
    ],
)
def test_the_last_bit_counts(path: tuple[str | int, ...], before: Any, now: Any) -> None:
    one, other = (changed(ROUNDS[0], path, value) for value in (before, now))
    found = first_difference(one, other)
    assert found is not None
    assert (found.stored, found.now) == (repr(before), repr(now))
    assert first_difference(one, one) is None


def test_a_link_more_is_a_difference() -> None:
    fewer = ROUNDS[0].model_copy(update={"links": ROUNDS[0].links[:-1]})
    found = first_difference(ROUNDS[0], fewer)
    assert found is not None
    assert found.field.startswith("links[1]")
    assert found.now == "nothing"


@pytest.mark.parametrize(
    ("start", "now"),
    [(engine(ROUNDS[:1]), "nothing"), (engine(ROUNDS, diverges=1), "became NaN or infinite")],
)
def test_a_run_that_ends_earlier_now_differs(start: Start, now: str) -> None:
    verdict = verified(CONFIG, ROUNDS, sample_provenance(), start)
    assert verdict.rounds_equal == 1
    assert isinstance(verdict.difference, Difference)
    assert verdict.difference.round_index == 1
    assert now in verdict.difference.now


def test_what_differs_around_a_run_is_named_with_both_values() -> None:
    before = sample_provenance(torch="2.13.0", threads=2)
    now = sample_provenance(torch="2.14.0", threads=4)
    assert list(changes(before, now)) == [
        "torch: stored 2.13.0, now 2.14.0",
        "threads: stored 2, now 4",
    ]
    verdict = verified(CONFIG, ROUNDS, before, engine(ROUNDS, torch="2.14.0"))
    assert verdict.surroundings == ("torch: stored 2.13.0, now 2.14.0",)
    assert list(changes(None, now))
