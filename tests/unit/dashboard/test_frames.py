"""Records become tables; nothing is counted twice, nothing missing becomes zero."""

import pandas as pd
import pytest

from meshtune.dashboard.figures.frames import History, thinned
from meshtune.engine.naming import flat
from meshtune.engine.records import RoundRecord, ScoreRecord
from tests.support.fake_api import fake_config, fake_record


def record_with(
    index: int, accuracies: dict[tuple[int, str], float], bits: int = 10
) -> RoundRecord:
    """A round of the two devices in `accuracies`, (device, task) -> accuracy."""
    scores = tuple(
        ScoreRecord.model_validate({"device": d, "task": t, "accuracy": a, "loss": 0.1})
        for (d, t), a in accuracies.items()
    )
    own = accuracies.get((0, "reading"))
    return fake_record(fake_config(), index).model_copy(
        update={"scores": scores, "accuracy_own": own, "accuracy_all": own, "sent_bits": bits}
    )


@pytest.fixture
def history() -> History:
    return History()


def test_rounds_are_counted_from_one_and_costs_add_up(history: History) -> None:
    history.extend(record_with(i, {(0, "reading"): 0.5}, bits=10 * (i + 1)) for i in range(3))
    frame = history.round_frame()
    assert list(frame["round"]) == [1, 2, 3]
    assert list(frame["total_bits"]) == [10, 30, 60]


def test_what_an_old_run_did_not_count_is_missing_and_not_zero(history: History) -> None:
    new = record_with(0, {(0, "reading"): 0.5}).model_copy(
        update={"round_s": 3.0, "receive_j": 0.5, "compute_j": 7.0}
    )
    old = new.model_copy(update={"round_index": 1, "round_s": None, "receive_j": 0.0})
    history.extend([new, old])
    frame = history.round_frame()[["round_s", "receive_j", "compute_j"]]
    assert list(frame.iloc[0]) == [3.0, 0.5, 7.0]
    assert frame.iloc[1].isna().all()


def test_a_page_that_comes_twice_counts_once(history: History) -> None:
    page = [record_with(i, {(0, "reading"): 0.5}) for i in range(4)]
    history.extend(page)
    history.extend(page)
    assert len(history.round_frame()) == 4


def test_a_round_without_evaluation_is_missing_not_zero(history: History) -> None:
    history.extend([record_with(0, {(0, "reading"): 0.5}), record_with(1, {})])
    frame = history.round_frame()
    assert pd.isna(frame["accuracy_own"].iloc[1])


def test_an_empty_history_gives_an_empty_frame(history: History) -> None:
    assert history.round_frame().empty


def test_thinning_keeps_ends_and_extremes() -> None:
    values = [float(i % 7) for i in range(5000)]
    values[1234], values[4321] = 99.0, -99.0
    frame = pd.DataFrame({"round": range(5000), "y": values})
    few = thinned(frame, "y", most=400)
    assert len(few) <= 400 + 4
    assert {0, 1234, 4321, 4999} <= set(few["round"])
    assert few["round"].is_monotonic_increasing
    assert thinned(frame.head(10), "y", most=400).equals(frame.head(10))


def test_a_tree_is_flattened_to_dotted_names() -> None:
    assert flat({"a": 1, "b": {"c": {"d": [2]}}}) == {"a": 1, "b.c.d": [2]}
