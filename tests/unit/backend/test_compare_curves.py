"""Curves are those of the records; thinning keeps the ends; levels are where they were reached."""

from itertools import pairwise

import numpy as np
import pytest
from sqlalchemy import Engine, delete

from meshtune.backend.compare.curves import forgetting, picked, run_curves
from meshtune.backend.schemas.compare import COSTS, LEVELS
from meshtune.db import curves, rounds, steering
from meshtune.db.models import RoundCurve
from meshtune.db.session import reading, writing
from meshtune.engine.records import RoundRecord, RunStatus
from meshtune.engine.reproduce.statistics import bits_to_reach
from tests.support.builders import stored_run, tiny_config
from tests.support.comparison import arm_config, complete


@pytest.fixture
def compared(store: Engine) -> int:
    """A completed run of 30 rounds, all evaluated."""
    return complete(store, arm_config("so_lora", 3, 30))


def records_of(store: Engine, run_id: int) -> list[RoundRecord]:
    with reading(store) as session:
        return rounds.listed(session, run_id)


def stored_of(store: Engine, run_id: int) -> curves.Stored:
    with reading(store) as session:
        return curves.stored(session, run_id)


def test_curves_say_what_the_records_say(store: Engine, compared: int) -> None:
    records = records_of(store, compared)
    found = run_curves(stored_of(store, compared), 1)
    assert found.round == [record.round_index + 1 for record in records]
    assert found.values["accuracy_all"] == pytest.approx(
        [record.accuracy_all for record in records], abs=1e-5
    )
    bits = np.cumsum([record.sent_bits for record in records])
    assert found.costs["total_bits"] == pytest.approx(list(bits))
    assert found.totals["total_wall_s"] == pytest.approx(sum(r.wall_s for r in records))
    last = records[-1]
    own = [s.accuracy for s in last.scores if s.task == last.devices[s.device].task == "reading"]
    everyone = [s.accuracy for s in last.scores if s.task == "reading"]
    assert found.tasks["reading"].own[-1] == pytest.approx(np.mean(own), abs=1e-5)
    assert found.tasks["reading"].all[-1] == pytest.approx(np.mean(everyone), abs=1e-5)
    assert found.values["exchange_loss"][-1] == pytest.approx(
        last.extra["accuracy_own_before_exchange"] - (last.accuracy_own or 0.0), abs=1e-5
    )


def test_rounds_of_an_older_store_give_the_same_curves(store: Engine, compared: int) -> None:
    kept = stored_of(store, compared)
    with writing(store) as session:
        session.execute(delete(RoundCurve).where(RoundCurve.round_index % 2 == 0))
    assert stored_of(store, compared) == kept


def test_rows_of_curves_go_with_their_rounds(store: Engine, compared: int) -> None:
    with writing(store) as session:
        steering.delete(session, compared)
        assert steering.purge_deleted(session, older_than_s=0.0) == [compared]
    with reading(store) as session:
        assert session.query(RoundCurve).count() == 0


def test_forgetting_is_the_best_so_far_minus_now() -> None:
    found = forgetting([[0.5, None], [0.4, 0.2], [0.6, 0.1], [None, None]])
    assert found[:3] == pytest.approx([0.0, 0.05, 0.05])
    assert np.isnan(found[3])
    assert len(forgetting([])) == 0


@pytest.mark.parametrize(("count", "points"), [(0, 300), (1, 2), (300, 300), (500, 300), (7, 2)])
def test_thinning_keeps_the_ends_and_the_bound(count: int, points: int) -> None:
    places, stride = picked(count, points)
    assert len(places) <= points
    if count:
        assert (places[0], places[-1]) == (0, count - 1)
        assert all(b - a <= stride for a, b in pairwise(places))


def test_levels_are_reached_where_the_reproduction_says(store: Engine, compared: int) -> None:
    stored = stored_of(store, compared)
    found = run_curves(stored, 1, points=2)  # levels come from all rounds, whatever is drawn
    bits = np.cumsum(stored.totals["sent_bits"]).astype(float).tolist()
    for metric in ("accuracy_own", "accuracy_all"):
        curve = list(zip(bits, stored.totals[metric], strict=True))
        for level in range(1, LEVELS + 1):
            wanted = bits_to_reach(curve, level / 100)
            reached = found.reached(metric, "total_bits", level)
            assert reached == (None if wanted is None else pytest.approx(wanted, rel=1e-5))


def test_a_run_without_rounds_has_empty_curves(store: Engine) -> None:
    run_id = stored_run(store, tiny_config(), status=RunStatus.RUNNING)
    found = run_curves(stored_of(store, run_id), 1)
    assert found.round == []
    assert all(found.costs[cost] == [] for cost in COSTS)
    assert found.totals["total_bits"] == 0
    assert found.reached("accuracy_all", "round", 1) is None
