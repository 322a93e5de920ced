"""Gallery: what a newcomer sees first."""

from dashboard.format import MISSING
from engine.records import RunStatus
from tests.dashboard.conftest import Opener
from tests.support.fake_api import PRESETS, FakeApi, fake_config


def test_every_preset_is_a_card_with_its_question(open_view: Opener) -> None:
    page = open_view("gallery")
    assert [each.value for each in page.subheader] == [preset.title for preset in PRESETS]
    text = " ".join(each.value for each in page.markdown)
    assert all(preset.question in text for preset in PRESETS)


def test_presets_stand_under_the_name_of_their_group(open_view: Opener) -> None:
    page = open_view("gallery")
    assert [each.value for each in page.header] == ["Start here", "Compare", "Recent runs"]


def test_without_runs_it_says_what_to_do(open_view: Opener) -> None:
    page = open_view("gallery")
    assert "Nothing has run yet" in page.info[0].value


def test_one_click_creates_the_run_and_opens_it(open_view: Opener, api: FakeApi) -> None:
    page = open_view("gallery")
    page.button(key="run-lora_gossip").click().run()
    assert not page.exception
    assert api.runs[1].config == next(p.config for p in PRESETS if p.name == "lora_gossip")
    assert page.query_params["run"] == "1"
    assert page.title[0].value == "lora_gossip"


def test_a_preset_opens_in_design(open_view: Opener) -> None:
    page = open_view("gallery")
    page.button(key="design-local").click().run()
    assert not page.exception
    assert page.query_params["preset"] == "local"
    assert page.title[0].value == "Design a run"


def test_recent_runs_show_status_and_results(open_view: Opener, api: FakeApi) -> None:
    api.add(fixed=RunStatus.COMPLETED, done=20)
    api.add(fake_config(name="late"), fixed=RunStatus.QUEUED)
    page = open_view("gallery")
    text = " ".join(each.value for each in [*page.markdown, *page.caption])
    assert "Completed" in text
    assert "Queued" in text
    assert f"own {MISSING}" in text.replace("\u00a0", " ")


def test_without_the_api_it_says_how_to_start_it(open_without_api: Opener) -> None:
    page = open_without_api("gallery")
    assert "start it with `make up`" in page.error[0].value
    assert page.button[0].label == "Try again"
