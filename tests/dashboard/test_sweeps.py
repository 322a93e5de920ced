"""Sweeps: the list, the form, one sweep; in front of the API itself over a small database."""

from typing import Any

import pytest
from sqlalchemy import Engine
from streamlit.testing.v1 import AppTest

from meshtune.backend.settings import Settings
from meshtune.db import leases, runs, sweeps
from meshtune.db.session import reading, writing
from meshtune.engine.records import RunStatus
from meshtune.engine.sweep import SweepSpec, cells
from tests.dashboard.conftest import Opener
from tests.support.builders import play, tiny_config
from tests.support.real_api import RealApi


@pytest.fixture
def api(settings: Settings, store: Engine) -> RealApi:
    """What the views of this file see."""
    return RealApi(store, settings)


AXES = {"training.learning_rate": [0.01, 0.1], "method.kind": ["local", "lora_gossip"]}


def started(store: Engine, **values: Any) -> int:
    tree = {"name": "rates", "base": tiny_config().model_dump(mode="json"), "axes": AXES}
    spec = SweepSpec.model_validate({**tree, "seeds": 2, **values})
    planned = cells(spec)
    with writing(store) as session:
        return sweeps.create(session, spec, planned).id


def finish(store: Engine, *ends: RunStatus) -> None:
    with writing(store) as session:
        for end in ends:
            claim = leases.claim_next(session, "w", lease_s=20.0)
            assert claim is not None
            play(session, claim, 2)
            leases.finish(session, claim, end)


def squares(page: AppTest) -> str:
    return "".join(str(each.proto.body) for each in page.get("html"))


def test_without_sweeps_it_says_what_to_do(open_view: Opener) -> None:
    page = open_view("sweeps")
    assert "No sweep yet" in page.info[0].value
    assert page.header[0].value == "Start a sweep"


def test_the_list_names_what_varies_and_how_far_it_is(open_view: Opener, store: Engine) -> None:
    started(store)
    finish(store, RunStatus.COMPLETED)
    page = open_view("sweeps")
    text = " ".join(each.value for each in page.caption).replace("\u00a0", " ")
    assert "training.learning_rate" in text
    assert "8 cells: 7 queued, 1 completed" in text


def test_the_form_counts_the_runs_and_starts_them(open_view: Opener, store: Engine) -> None:
    page = open_view("sweeps")
    page.text_input(key="sweep-first-values-training.learning_rate").set_value("0.01, 0.1").run()
    page.selectbox(key="sweep-second-field").set_value("method.kind").run()
    values = "local, lora_gossip, so_lora"
    page.text_input(key="sweep-second-values-method.kind").set_value(values).run()
    button = page.button(key="sweep-start")
    assert button.label.replace("\u00a0", " ") == "Start 18 runs"
    button.click().run()
    assert not page.exception
    assert page.query_params["sweep"] == ["1"] or page.query_params["sweep"] == "1"
    with reading(store) as session:
        assert sweeps.status_counts(session, [1])[1] == {"queued": 18}


def test_values_of_a_range_are_drawn_at_random(open_view: Opener, store: Engine) -> None:
    page = open_view("sweeps")
    page.text_input(key="sweep-first-values-training.learning_rate").set_value("0.001 .. 0.1").run()
    page.segmented_control(key="sweep-mode").set_value("random").run()
    page.number_input(key="sweep-samples").set_value(4).run()
    button = page.button(key="sweep-start")
    assert button.label.replace("\u00a0", " ") == "Start 12 runs"
    button.click().run()
    with reading(store) as session:
        found = sweeps.states(session, 1)
    rates = {each.outcome.values["training.learning_rate"] for each in found}
    assert len(rates) == 4
    assert all(0.001 <= rate <= 0.1 for rate in rates)


@pytest.mark.parametrize(
    ("text", "part"), [("0.1, -1", "the value \u22121 does not work"), ("x", "the value x")]
)
def test_a_wrong_value_is_told_before_anything_starts(
    open_view: Opener, text: str, part: str
) -> None:
    page = open_view("sweeps")
    page.text_input(key="sweep-first-values-training.learning_rate").set_value(text).run()
    assert part.replace("\u2212", "-") in page.error[0].value.replace("\\", "")
    assert page.button(key="sweep-start").disabled


def test_every_cell_is_a_square_that_leads_to_its_run(open_view: Opener, store: Engine) -> None:
    sweep_id = started(store)
    finish(store, RunStatus.COMPLETED, RunStatus.DIVERGED)
    drawn = squares(open_view("sweeps", sweep=sweep_id))
    for run_id in range(1, 9):
        assert f'href="run?run={run_id}"' in drawn
    assert "seed 0: completed" in drawn
    assert "seed 1: diverged" in drawn
    assert "6 queued" in drawn


def test_before_a_run_is_completed_there_is_no_best(open_view: Opener, store: Engine) -> None:
    page = open_view("sweeps", sweep=started(store))
    assert "no best one" in page.info[0].value
    assert not page.get("bidi_component")


def test_a_finished_sweep_shows_best_chart_table_and_comparison(
    open_view: Opener, store: Engine
) -> None:
    sweep_id = started(store)
    finish(store, *[RunStatus.COMPLETED] * 8)
    page = open_view("sweeps", sweep=sweep_id)
    text = " ".join(each.value for each in page.markdown).replace("\u00a0", " ")
    assert "Best so far" in text
    assert "n = 2" in text
    table = page.dataframe[0].value
    assert list(table["Done"]) == ["2/2"] * 4
    assert list(table["method.kind"]) == ["Local only", "Plain LoRA gossip"] * 2
    assert table["All tasks"].iloc[0].replace("\u00a0", " ") == "33.3 ± 0.0 %"
    assert list(table["Best"]).count("★") == 1
    assert len(page.get("bidi_component")) == 1
    (link,) = [each for each in page.get("page_link") if "Compare" in each.proto.label]
    assert "Compare 4 of these runs" in link.proto.label
    assert "sweep-stop" not in {button.key for button in page.button}


def test_the_metric_is_kept_in_the_address(open_view: Opener, store: Engine) -> None:
    sweep_id = started(store)
    finish(store, *[RunStatus.COMPLETED] * 8)
    page = open_view("sweeps", sweep=sweep_id, metric="energy_j")
    assert "Transmit energy" in " ".join(each.value for each in page.markdown)
    page.segmented_control(key="sweep-metric").set_value("sent_bits").run()
    assert page.query_params["metric"] in ("sent_bits", ["sent_bits"])
    assert "Bits sent" in " ".join(each.value for each in page.markdown)


def test_stop_cancels_what_is_left(open_view: Opener, store: Engine) -> None:
    sweep_id = started(store)
    finish(store, RunStatus.COMPLETED)
    page = open_view("sweeps", sweep=sweep_id)
    page.button(key="sweep-stop").click().run()
    assert not page.exception
    with reading(store) as session:
        counts = sweeps.status_counts(session, [sweep_id])[sweep_id]
    assert counts == {"completed": 1, "cancelled": 7}
    assert "stopped" in " ".join(each.value for each in page.caption)


def test_names_and_values_are_shown_literally(open_view: Opener, store: Engine) -> None:
    name = "<b>x</b> *y* :red[z]"
    sweep_id = started(store, name=name, axes={"rounds": [2]})
    page = open_view("sweeps", sweep=sweep_id)
    shown = page.subheader[0].value
    assert "\\<b\\>" in shown
    assert "\\*y\\*" in shown
    assert "\\[z\\]" in shown


def test_from_one_sweep_back_to_all_of_them(open_view: Opener, store: Engine) -> None:
    page = open_view("sweeps", sweep=started(store))
    page.button(key="sweep-all").click().run()
    assert "sweep" not in page.query_params
    assert page.header[0].value == "Start a sweep"


@pytest.mark.parametrize("asked", ["7", "99999999999"])
def test_a_sweep_that_does_not_exist_is_told(open_view: Opener, asked: str) -> None:
    page = open_view("sweeps", sweep=asked)
    assert page.error[0].value


def test_without_the_api_it_says_how_to_start_it(open_without_api: Opener) -> None:
    page = open_without_api("sweeps")
    assert "start it with `make up`" in page.error[0].value
    assert "start it with `make up`" in open_without_api("sweeps", sweep=1).error[0].value


@pytest.mark.parametrize("given", ["abc", "99", "-1"])
def test_an_unknown_sweep_is_an_error_with_ways_on(
    open_view: Opener, store: Engine, given: str
) -> None:
    number = started(store)
    page = open_view("sweeps", sweep=given)
    assert given in page.error[0].value
    assert "sweep-start" not in [each.key for each in page.button]
    assert any(f"sweep={number}" in each.proto.query_string for each in page.get("page_link"))


def test_the_metric_of_a_sweep_follows_a_link(open_view: Opener, store: Engine) -> None:
    number = started(store)
    page = open_view("sweeps", sweep=number, metric="energy_j")
    page.query_params["metric"] = "accuracy_own"
    page.run()
    assert page.segmented_control(key="sweep-metric").value == "accuracy_own"


def test_a_sweep_is_called_like_its_preset(open_view: Opener, store: Engine) -> None:
    page = open_view("sweeps")
    page.text_input(key="sweep-first-values-training.learning_rate").set_value("0.01").run()
    page.number_input(key="sweep-seeds").set_value(1).run()
    page.button(key="sweep-start").click().run()
    assert page.subheader[0].value == "First light #1"
    with reading(store) as session:
        assert runs.get(session, 1).name == "First light · learning rate 0.01"


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("sweep-seeds", 0, "greater than or equal to 1 (got 0)"),
        ("sweep-seeds", 5000, "a sweep has at most 1,000"),
    ],
)
def test_a_number_that_cannot_be_is_told(
    open_view: Opener, key: str, value: int, sentence: str
) -> None:
    page = open_view("sweeps")
    page.number_input(key=key).set_value(value).run()
    assert any(sentence in each.value for each in page.error)


def test_a_long_name_is_told(open_view: Opener) -> None:
    page = open_view("sweeps")
    page.text_input(key="sweep-name-quick").set_value("x" * 90).run()
    assert any("has 90 characters; at most 80" in each.value for each in page.error)
