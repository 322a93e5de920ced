"""Records become tables; nothing is counted twice, nothing missing becomes zero."""

import pandas as pd
import pytest

from meshtune.dashboard.figures.frames import History, config_differences, last_of, thinned
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
    return History(fake_config(fleet={"devices": 2, "tasks": ["reading", "addition"]}))


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
    assert len(history.task_frame()) == 4


def test_own_accuracy_of_a_task_is_of_the_devices_that_hold_it(history: History) -> None:
    scores = {(0, "reading"): 0.9, (1, "reading"): 0.1, (0, "addition"): 0.2, (1, "addition"): 0.6}
    history.extend([record_with(0, scores)])
    rows = history.task_frame().set_index("task")
    assert rows.loc["reading", "own"] == pytest.approx(0.9)
    assert rows.loc["reading", "all"] == pytest.approx(0.5)
    assert rows.loc["addition", "own"] == pytest.approx(0.6)


def test_forgetting_is_the_distance_to_the_best_so_far(history: History) -> None:
    for index, accuracy in enumerate([0.5, 0.8, 0.6, 0.9]):
        history.extend([record_with(index, {(0, "reading"): accuracy})])
    assert list(history.round_frame()["forgetting"]) == pytest.approx([0, 0, 0.2, 0])


def test_what_an_exchange_undid_is_before_minus_after(history: History) -> None:
    undone = record_with(0, {(0, "reading"): 0.5})
    known = undone.model_copy(update={"extra": {"accuracy_own_before_exchange": 0.75}})
    unknown = record_with(1, {(0, "reading"): 0.5}).model_copy(update={"extra": {}})
    history.extend([known, unknown])
    losses = history.round_frame()["exchange_loss"]
    assert losses.iloc[0] == pytest.approx(0.25)
    assert pd.isna(losses.iloc[1])


def test_a_round_without_evaluation_is_missing_not_zero(history: History) -> None:
    history.extend([record_with(0, {(0, "reading"): 0.5}), record_with(1, {})])
    frame = history.round_frame()
    assert pd.isna(frame["accuracy_own"].iloc[1])
    assert pd.isna(frame["forgetting"].iloc[1])
    assert last_of(frame, "accuracy_own") == pytest.approx(0.5)
    assert list(history.task_frame()["round"]) == [1]


def test_the_score_table_has_a_place_for_every_device_and_task(history: History) -> None:
    assert history.score_frame().isna().all(axis=None)
    history.extend([record_with(0, {(1, "addition"): 0.25})])
    table = history.score_frame()
    assert table.loc[1, "addition"] == pytest.approx(0.25)
    assert table.isna().sum(axis=None) == 3


def test_an_empty_history_gives_empty_frames(history: History) -> None:
    assert history.round_frame().empty
    assert history.task_frame().empty
    assert last_of(history.round_frame(), "accuracy_own") is None


def test_thinning_keeps_ends_and_extremes() -> None:
    values = [float(i % 7) for i in range(5000)]
    values[1234], values[4321] = 99.0, -99.0
    frame = pd.DataFrame({"round": range(5000), "y": values})
    few = thinned(frame, "y", most=400)
    assert len(few) <= 400 + 4
    assert {0, 1234, 4321, 4999} <= set(few["round"])
    assert few["round"].is_monotonic_increasing
    assert thinned(frame.head(10), "y", most=400).equals(frame.head(10))


def test_only_what_differs_is_listed() -> None:
    one, other = fake_config(seed=1), fake_config(seed=2, method={"kind": "local"}, name="other")
    table = config_differences({"a": one, "b": other})
    assert "seed" in table.index
    assert list(table.loc["method.kind"]) == ["so_lora", "local"]
    assert list(table.loc["method.density"]) == [0.5, None]
    assert not {"name", "rounds", "fleet.devices"} & set(table.index)


def test_equal_configs_differ_in_nothing() -> None:
    assert config_differences({"a": fake_config(), "b": fake_config(name="b")}).empty


def test_a_tree_is_flattened_to_dotted_names() -> None:
    assert flat({"a": 1, "b": {"c": {"d": [2]}}}) == {"a": 1, "b.c.d": [2]}
