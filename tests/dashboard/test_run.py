"""Run: every state of a run has its screen."""

import time
from typing import Any

import pytest
from streamlit.proto.WidgetStates_pb2 import WidgetState, WidgetStates
from streamlit.testing.v1 import AppTest

from meshtune.dashboard.look.format import MISSING
from meshtune.dashboard.run import replay
from meshtune.engine.records import RunStatus
from tests.dashboard.conftest import Opener
from tests.support.fake_api import FakeApi, fake_config


def said(page: AppTest) -> str:
    """All text of the page."""
    parts = [*page.markdown, *page.caption, *page.info, *page.warning, *page.error, *page.title]
    return " ".join(str(each.value) for each in parts).replace("\u00a0", " ")


def slider(page: AppTest) -> Any:
    """The slider over the rounds."""
    (found,) = [each for each in page.slider if each.label == "Round"]
    return found


def part(page: AppTest) -> Any:
    """The control that says which part of the run is shown."""
    (found,) = [each for each in page.segmented_control if each.label == "Part of the run"]
    return found


def drawn(page: AppTest) -> int:
    """How many live parts (map and charts) are on the page."""
    return len(page.get("bidi_component"))


WATCHED = 4  # map, heat map, curve and the mark


def test_without_any_run_it_points_to_the_gallery(open_view: Opener) -> None:
    page = open_view("run")
    assert page.title[0].value == "No run yet"
    assert "gallery" in page.info[0].value


def test_without_an_address_it_opens_the_newest_run(open_view: Opener, api: FakeApi) -> None:
    api.add(fixed=RunStatus.COMPLETED, done=3)
    api.add(fake_config(name="newest"), fixed=RunStatus.COMPLETED, done=3)
    page = open_view("run")
    assert page.title[0].value == "newest"
    assert page.query_params["run"] == "2"


@pytest.mark.parametrize(("run", "words"), [("77", "no run 77"), ("abc", "whole numbers")])
def test_a_wrong_address_is_one_sentence(open_view: Opener, run: str, words: str) -> None:
    assert words in open_view("run", run=run).error[0].value


def test_a_finished_run_shows_numbers_charts_and_files(open_view: Opener, api: FakeApi) -> None:
    api.add(fixed=RunStatus.COMPLETED, done=20)
    page = open_view("run", run=1)
    assert [each.label for each in page.metric] == [
        "Own task",
        "All tasks",
        "Bits sent",
        "Airtime",
        "Round time",
        "Transmit energy",
    ]
    assert all(each.value != MISSING for each in page.metric)
    assert drawn(page) == WATCHED
    assert "round 20/20" in said(page)
    page = open_view("run", run=1, tab="data")
    assert [getattr(each, "label", "") for each in page.get("download_button")] == [
        "Rounds as CSV",
        "Records as JSON lines",
        "Bundle",
        "Adapter for PEFT",
    ]
    (adapter,) = [each for each in page.selectbox if each.label == "Adapter"]
    assert adapter.options[:2] == ["All devices", "Device 0, Reading"]
    assert adapter.options[-1] == "Mean of all"


def test_time_and_energy_say_what_they_are_made_of(open_view: Opener, api: FakeApi) -> None:
    api.add(fixed=RunStatus.COMPLETED, done=20)
    page = open_view("run", run=1, tab="cost")
    energies = ["Receive energy", "Compute energy", "all three energies together"]
    assert all(part in said(page) for part in energies)


def test_the_device_that_holds_up_the_round_is_named(open_view: Opener, api: FakeApi) -> None:
    api.add(fake_config(method={"kind": "local"}), fixed=RunStatus.COMPLETED, done=2)
    assert "waiting for device 0" in said(open_view("run", run=1))


def test_a_run_of_an_older_version_shows_what_it_counted(open_view: Opener, api: FakeApi) -> None:
    run = api.add(fixed=RunStatus.COMPLETED, done=3)
    run.records = {
        index: run.record(index).model_copy(
            update={"round_s": None, "receive_j": 0.0, "compute_j": 0.0}
        )
        for index in range(3)
    }
    page = open_view("run", run=1)
    shown = {each.label: each.value for each in page.metric}
    assert shown["Round time"] == MISSING
    assert shown["Transmit energy"] != MISSING
    page = open_view("run", run=1, tab="cost")
    assert "Receive energy and Compute energy are not recorded for this run" in said(page)


def test_a_queued_run_says_what_it_waits_for(open_view: Opener, api: FakeApi) -> None:
    api.add(fixed=RunStatus.QUEUED)
    assert "Waiting for a worker" in said(open_view("run", run=1))
    api.workers = 0
    assert "No worker is alive" in said(open_view("run", run=1))


def test_before_the_first_round_there_is_the_plan(open_view: Opener, api: FakeApi) -> None:
    api.add(fixed=RunStatus.RUNNING)
    page = open_view("run", run=1)
    assert "Training the first round" in said(page)
    assert drawn(page) == 2  # the map, and the mark
    assert {each.delta for each in page.metric} == {"planned, whole run"}
    assert "Bits sent" in [each.label for each in page.metric]
    assert "Nothing yet" in said(open_view("run", run=1, tab="cost"))


def test_every_part_of_a_run_has_its_address(open_view: Opener, api: FakeApi) -> None:
    api.add(fixed=RunStatus.COMPLETED, done=20)
    page = open_view("run", run=1)
    assert page.query_params["tab"] in ("watch", ["watch"])
    part(page).set_value("cost").run()
    assert page.query_params["tab"] in ("cost", ["cost"])
    assert drawn(page) == 4  # bits, airtime, energy and the mark
    assert not page.metric
    assert part(open_view("run", run=1, tab="nonsense")).value == "watch"


def test_a_link_to_a_part_wins_over_the_choice_before_it(open_view: Opener, api: FakeApi) -> None:
    api.add(fixed=RunStatus.COMPLETED, done=20)
    page = open_view("run", run=1, tab="cost")
    part(page).set_value("tasks").run()
    page.query_params["tab"] = "inside"
    page.run()
    assert part(page).value == "inside"
    part(page).set_value("watch").run()
    assert part(page).value == "watch"
    assert page.query_params["tab"] in ("watch", ["watch"])


def test_a_finding_leads_to_its_part_and_its_round(open_view: Opener, api: FakeApi) -> None:
    run = api.add(fixed=RunStatus.COMPLETED, done=12)
    kept = {index: run.record(index) for index in range(12)}
    gone = {"delivered_fraction": 0.0}
    run.records = {**kept, 4: kept[4].model_copy(update=gone)}
    page = open_view("run", run=1, tab="cost")
    (lost,) = [each for each in page.button if "were lost" in each.label]
    lost.click().run()
    assert not page.exception
    assert part(page).value == "watch"
    assert slider(page).value == 5
    assert page.query_params["tab"] in ("watch", ["watch"])
    assert any("tasks learned" in each.label for each in page.button)


def test_what_never_changes_is_a_number(open_view: Opener, api: FakeApi) -> None:
    api.add(fake_config(method={"kind": "local"}), fixed=RunStatus.COMPLETED, done=20)
    page = open_view("run", run=1, tab="cost")
    shown = {each.label: each.value.replace("\u00a0", " ") for each in page.metric}
    assert shown["Bits sent, added up"] == "0 bit"
    assert drawn(page) == 1  # the mark


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (RunStatus.FAILED, "Retry goes on"),
        (RunStatus.DIVERGED, "lower the learning rate"),
        (RunStatus.CANCELLED, "Clone and edit"),
    ],
)
def test_an_early_end_has_its_reason_and_the_next_step(
    open_view: Opener, api: FakeApi, status: RunStatus, words: str
) -> None:
    api.add(fixed=status, done=4, reason="the disk is full")
    page = open_view("run", run=1)
    assert "The disk is full." in said(page)
    assert words in said(page)
    assert drawn(page) == WATCHED  # what was stored is shown


def test_a_live_run_appends_only_what_is_new(open_view: Opener, api: FakeApi) -> None:
    api.add(fake_config(rounds=500), round_s=0.2, first_round_s=0.0)
    page = open_view("run", run=1)
    history = page.session_state["histories"][1]
    seen = history.last_round_index
    time.sleep(0.6)
    page.run()
    assert page.session_state["histories"][1] is history
    assert history.last_round_index > seen
    assert [row[0] for row in history.rounds] == list(range(1, history.last_round_index + 2))


def test_a_run_that_began_again_is_not_mixed_with_its_past(open_view: Opener, api: FakeApi) -> None:
    run = api.add(fixed=RunStatus.RUNNING, done=9)
    page = open_view("run", run=1)
    run.done = 3
    page.run()
    assert len(page.session_state["histories"][1].rounds) == 3


def test_a_run_is_cancelled_after_a_second_click(open_view: Opener, api: FakeApi) -> None:
    api.add(fake_config(rounds=500), round_s=0.2)
    page = open_view("run", run=1)
    page.button(key="cancel").click().run()
    assert not page.exception
    assert api.runs[1].state()[0] is RunStatus.CANCELLED
    assert "Clone and edit" in said(page)


def test_a_click_on_cancel_that_comes_too_late_changes_nothing(
    open_view: Opener, api: FakeApi
) -> None:
    run = api.add(fake_config(rounds=500), round_s=0.2)
    page = open_view("run", run=1)
    run.fixed, run.done = RunStatus.COMPLETED, 5
    page.button(key="cancel").click().run()
    assert not page.exception
    assert "Completed" in said(page)
    assert not run.cancelled_at


def test_an_ended_run_cannot_be_cancelled(open_view: Opener, api: FakeApi) -> None:
    api.add(fixed=RunStatus.COMPLETED, done=2)
    page = open_view("run", run=1)
    assert "cancel" not in {each.key for each in page.button}


def keys(page: AppTest) -> set[str | None]:
    """What can be clicked."""
    return {each.key for each in page.button}


STEERING = {"pause", "resume", "cancel", "retry"}


@pytest.mark.parametrize(
    ("status", "offered"),
    [
        (RunStatus.QUEUED, {"pause", "cancel"}),
        (RunStatus.RUNNING, {"pause", "cancel"}),
        (RunStatus.PAUSED, {"resume", "cancel"}),
        (RunStatus.FAILED, {"retry"}),
        (RunStatus.COMPLETED, set()),
        (RunStatus.DIVERGED, set()),
        (RunStatus.CANCELLED, set()),
    ],
)
def test_a_run_offers_the_moves_that_it_can_make(
    open_view: Opener, api: FakeApi, status: RunStatus, offered: set[str]
) -> None:
    api.add(fixed=status, done=0 if status is RunStatus.QUEUED else 3, reason="why")
    page = open_view("run", run=1)
    assert keys(page) & STEERING == offered
    assert {"clone", "compare", "delete"} <= keys(page)


def test_a_paused_run_says_where_it_goes_on_and_resumes(open_view: Opener, api: FakeApi) -> None:
    run = api.add(fake_config(rounds=500), round_s=0.2)
    page = open_view("run", run=1)
    page.button(key="pause").click().run()
    assert run.state()[0] is RunStatus.PAUSED
    run.done = 4
    page.run()
    assert "Resume goes on after round 4" in said(page)
    page.button(key="resume").click().run()
    assert not page.exception
    assert run.state()[0] is RunStatus.RUNNING
    assert "pause" in keys(page)


def test_a_run_that_somebody_else_paused_changes_its_buttons(
    open_view: Opener, api: FakeApi
) -> None:
    run = api.add(fake_config(rounds=500), round_s=0.2)
    page = open_view("run", run=1)
    run.pause()
    page.run()
    assert "resume" in keys(page)


def test_a_pause_that_is_not_yet_obeyed_is_shown(open_view: Opener, api: FakeApi) -> None:
    api.add(fixed=RunStatus.RUNNING, done=3, pause_asked=True)
    assert "pausing after this step" in said(open_view("run", run=1))


def test_a_failed_run_is_retried(open_view: Opener, api: FakeApi) -> None:
    run = api.add(fake_config(rounds=500), fixed=RunStatus.FAILED, done=3, reason="why")
    page = open_view("run", run=1)
    page.button(key="retry").click().run()
    assert not page.exception
    assert run.state()[0] is RunStatus.RUNNING
    assert "retry" not in keys(page)


def test_a_note_is_kept_and_shown_as_written(open_view: Opener, api: FakeApi) -> None:
    run = api.add(fixed=RunStatus.COMPLETED, done=2)
    page = open_view("run", run=1)
    note = "**look** at <b>device 3</b>"
    page.text_area(key="note-1").set_value(note)
    page.button(key="save-note").click().run()
    assert run.note == note
    assert [each.value for each in page.text] == [note]


def test_a_deleted_run_can_be_brought_back(open_view: Opener, api: FakeApi) -> None:
    run = api.add(fixed=RunStatus.COMPLETED, done=2)
    page = open_view("run", run=1)
    page.button(key="delete").click().run()
    assert run.deleted
    assert "can be brought back for a day" in said(page)
    assert keys(page) == {"restore"}
    page.button(key="restore").click().run()
    assert not run.deleted
    assert page.title[0].value == "quick"


def test_a_running_run_cannot_be_deleted(open_view: Opener, api: FakeApi) -> None:
    api.add(fixed=RunStatus.RUNNING, done=2)
    page = open_view("run", run=1)
    assert page.button(key="delete").disabled
    assert "cancel it first" in said(page)


def test_a_name_is_shown_as_it_was_written(open_view: Opener, api: FakeApi) -> None:
    api.add(fake_config(name="**a** [b](c) :d: $e$"), fixed=RunStatus.COMPLETED, done=1)
    shown = open_view("run", run=1).title[0].value
    assert shown == r"\*\*a\*\* \[b\]\(c\) \:d\: \$e\$"


def test_events_say_who_asked(open_view: Opener, api: FakeApi) -> None:
    api.add(fixed=RunStatus.COMPLETED, done=1)
    table = open_view("run", run=1, tab="data").dataframe[0].value
    assert list(table["by"]) == ["person", "worker-1", "person"]


def test_a_clone_names_its_origin(open_view: Opener, api: FakeApi) -> None:
    api.add(fixed=RunStatus.COMPLETED, done=1, cloned_from=12)
    assert "cloned from run 12" in said(open_view("run", run=1))


def test_rounds_without_evaluation_leave_the_last_value(open_view: Opener, api: FakeApi) -> None:
    config = fake_config(evaluation={"every_rounds": 5})
    api.add(config, fixed=RunStatus.RUNNING, done=7)
    page = open_view("run", run=1)
    assert page.metric[0].value != MISSING


def test_a_round_of_a_run_that_sends_nothing_is_drawn(open_view: Opener, api: FakeApi) -> None:
    api.add(fake_config(method={"kind": "local"}), fixed=RunStatus.COMPLETED, done=20)
    page = open_view("run", run=1)
    assert page.metric[2].value.replace("\u00a0", " ") == "0 bit"


def test_clone_and_compare_carry_the_run_along(open_view: Opener, api: FakeApi) -> None:
    api.add(fixed=RunStatus.COMPLETED, done=2)
    page = open_view("run", run=1)
    page.button(key="clone").click().run()
    assert page.query_params["clone"] == "1"
    page = open_view("run", run=1)
    page.button(key="compare").click().run()
    assert page.query_params["runs"] == "1"


def test_without_the_api_it_says_how_to_start_it(open_without_api: Opener) -> None:
    assert "make up" in open_without_api("run", run=1).error[0].value


def test_another_round_is_shown_with_its_own_numbers(open_view: Opener, api: FakeApi) -> None:
    api.add(fixed=RunStatus.COMPLETED, done=20)
    page = open_view("run", run=1)
    last = {each.label: each.value for each in page.metric}
    slider(page).set_value(5).run()
    assert not page.exception
    then = {each.label: each.value for each in page.metric}
    assert then["Bits sent"] != last["Bits sent"]
    assert "Messages of round 5" in said(page)
    page.button(key="to-Next").click().run()
    assert "Messages of round 6" in said(page)
    page.button(key="to-Latest").click().run()
    assert {each.label: each.value for each in page.metric} == last


def late(page: AppTest, *states: WidgetState) -> None:
    """The page runs with what a browser sent that had not drawn the last run of it."""
    shown = page._tree.get_widget_states().widgets
    kept = [each for each in shown if each.id != slider(page).proto.id]
    page._run(WidgetStates(widgets=[*kept, *states]))
    assert not page.exception


def test_a_browser_that_is_behind_does_not_stop_the_following(
    open_view: Opener, api: FakeApi
) -> None:
    run = api.add(fake_config(rounds=20), fixed=RunStatus.RUNNING, done=4)
    page = open_view("run", run=1)
    behind = slider(page)._widget_state
    run.done = 5
    page.run()
    late(page, behind)
    run.done = 6
    page.run()
    assert slider(page).value == 6


def test_a_browser_that_is_behind_does_not_stop_the_replay(
    open_view: Opener, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(replay, "now", lambda: clock[0])
    api.add(fixed=RunStatus.COMPLETED, done=9)
    page = open_view("run", run=1)
    page.button(key="play").click().run()
    for _ in range(2):
        behind = slider(page)._widget_state
        clock[0] += 1.0
        page.run()
        late(page, behind)
    assert page.button(key="play").label == "Stop"
    assert slider(page).value == 5


def test_latest_is_not_undone_by_the_choice_before_it(open_view: Opener, api: FakeApi) -> None:
    api.add(fixed=RunStatus.COMPLETED, done=9)
    page = open_view("run", run=1)
    slider(page).set_value(3).run()
    behind = slider(page)._widget_state
    page.button(key="to-Latest").click().run()
    late(page, behind)
    assert slider(page).value == 9


def test_a_slider_that_was_just_replaced_can_still_be_moved(
    open_view: Opener, api: FakeApi
) -> None:
    run = api.add(fake_config(rounds=20), fixed=RunStatus.RUNNING, done=4)
    page = open_view("run", run=1)
    chosen = slider(page).set_value(2)._widget_state
    run.done = 5
    page._run(WidgetStates())
    late(page, chosen)
    assert slider(page).value == 2
    run.done = 6
    page.run()
    assert slider(page).value == 2


def test_play_begins_again_at_the_first_round_and_ends_at_the_last(
    open_view: Opener, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(replay, "now", lambda: clock[0])
    api.add(fixed=RunStatus.COMPLETED, done=4)
    page = open_view("run", run=1)
    page.button(key="play").click().run()
    assert page.button(key="play").label == "Stop"
    seen = [slider(page).value]
    while page.button(key="play").label == "Stop":
        clock[0] += 0.5
        page.run()
        seen.append(slider(page).value)
    assert seen == [1, 2, 3, 4]
    assert page.button(key="play").label == "Play"


def test_numbers_are_against_a_baseline_at_the_same_round(open_view: Opener, api: FakeApi) -> None:
    api.add(fake_config(method={"kind": "lora_gossip"}), fixed=RunStatus.COMPLETED, done=20)
    api.add(fixed=RunStatus.COMPLETED, done=20)
    page = open_view("run", run=2)
    assert page.query_params["base"] in ("1", ["1"])
    assert "to the baseline" in {each.label: each.delta for each in page.metric}["Bits sent"]
    page.selectbox(key="base-2").set_value(None).run()
    assert "per round" in {each.label: each.delta for each in page.metric}["Bits sent"]


def test_a_run_without_the_newer_records_says_so(open_view: Opener, api: FakeApi) -> None:
    api.add(fixed=RunStatus.COMPLETED, done=3)
    assert "Which expert the gate preferred" in said(open_view("run", run=1, tab="inside"))
