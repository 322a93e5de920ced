"""Gallery: what a newcomer sees first."""

import re

import pytest
from streamlit.testing.v1 import AppTest

from meshtune.dashboard.look.format import MISSING
from meshtune.engine.records import RunStatus
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
    assert page.title[0].value == "Plain LoRA gossip"


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
    assert f"own task {MISSING}" in text.replace("\u00a0", " ")


def test_without_the_api_it_says_how_to_start_it(open_without_api: Opener) -> None:
    page = open_without_api("gallery")
    assert "start it with `make up`" in page.error[0].value
    assert page.button[0].label == "Try again"


def test_a_card_shows_what_its_preset_gave(open_view: Opener) -> None:
    page = open_view("gallery")
    pictures = [str(each.proto.body) for each in page.get("html") if "<img" in each.proto.body]
    assert len(pictures) == len(PRESETS)
    assert all(re.search(r"The mesh: (8|16)\sdevices", each) for each in pictures)
    given = [each for each in pictures if "Stored result" in each]
    assert len(given) == sum(preset.result is not None for preset in PRESETS) > 0
    told = " ".join(each.value for each in page.caption)
    assert "No stored result yet" in told
    assert told.count("Stored result: ") == len(given)
    assert re.search(r"about 18\ss here \(\d+\ss when stored\)", told)
    assert "here (about 1 min on 2 cores)" in told


@pytest.mark.parametrize("name", ["**x** [a](b)", ":red[y] $z$"])
def test_a_link_to_a_run_shows_its_name_as_text(open_view: Opener, api: FakeApi, name: str) -> None:
    api.add(fake_config(name=name), fixed=RunStatus.COMPLETED, done=2)
    page = open_view("gallery")
    (label,) = [each.proto.label for each in page.get("page_link")]
    assert name not in label
    assert re.sub(r"\\(\W)", r"\1", label) == f"{name} #1"


def links(page: AppTest) -> list[str]:
    return [each.proto.label for each in page.get("page_link")]


def test_runs_are_found_by_words_and_by_status(open_view: Opener, api: FakeApi) -> None:
    api.add(fake_config(name="early"), fixed=RunStatus.COMPLETED, done=20)
    api.add(fake_config(name="late"), fixed=RunStatus.FAILED)
    page = open_view("gallery")
    page.text_input(key="find-text").set_value("EAR").run()
    assert links(page) == [r"early #1"]
    page.text_input(key="find-text").set_value("nobody").run()
    assert "No run fits" in page.info[0].value
    page.text_input(key="find-text").set_value("")
    page.pills(key="find-status").set_value([RunStatus.FAILED]).run()
    assert links(page) == [r"late #2"]


def test_a_long_list_is_shown_by_and_by(open_view: Opener, api: FakeApi) -> None:
    for _ in range(15):
        api.add(fixed=RunStatus.COMPLETED, done=1)
    page = open_view("gallery")
    assert len(links(page)) == 12
    page.button(key="runs-more").click().run()
    page.run()
    assert len(links(page)) == 15


def test_a_deleted_run_comes_back(open_view: Opener, api: FakeApi) -> None:
    run = api.add(fake_config(name="oh *no*"), fixed=RunStatus.COMPLETED, done=20)
    run.deleted = True
    page = open_view("gallery")
    assert links(page) == []
    assert page.expander[0].label == "Deleted lately (1)"
    page.button(key=f"undo-{run.id}").click().run()
    assert not page.exception
    assert links(page) == [r"oh \*no\* #1"]
