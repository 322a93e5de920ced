"""Design: from a preset to a queued run, errors at their field."""

import pytest
from streamlit.testing.v1 import AppTest

from backend.schemas import PresetOut
from engine.records import RunStatus
from tests.dashboard.conftest import Opener
from tests.support.fake_api import PRESETS, FakeApi, fake_config


def widget(page: AppTest, path: str) -> str:
    """Key of the widget of a config field."""
    version = page.session_state["design"]["version"]
    return f"design-{version}:{path}"


def test_it_starts_with_the_first_preset_and_draws_its_mesh(open_view: Opener) -> None:
    page = open_view("design")
    assert page.text_input(key=widget(page, "name")).value == PRESETS[0].config.name
    assert len(page.get("bidi_component")) == 1
    assert not page.button(key="design-run").disabled


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_an_untouched_preset_runs_as_it_is(
    open_view: Opener, api: FakeApi, preset: PresetOut
) -> None:
    page = open_view("design", preset=preset.name)
    page.button(key="design-run").click().run()
    assert not page.exception
    assert api.runs[1].config == preset.config
    assert page.query_params["run"] == "1"


def test_edits_are_in_the_run(open_view: Opener, api: FakeApi) -> None:
    page = open_view("design", preset="quick")
    page.number_input(key=widget(page, "rounds")).set_value(7).run()
    page.segmented_control(key=widget(page, "method.kind")).set_value("lora_gossip").run()
    page.number_input(key=widget(page, "channel.bandwidth_hz")).set_value(5.5).run()
    page.button(key="design-run").click().run()
    config = api.runs[1].config
    assert (config.rounds, config.method.kind) == (7, "lora_gossip")
    assert config.channel.model_dump()["bandwidth_hz"] == 5_500_000.0


def test_an_error_stands_at_its_field_and_run_waits(open_view: Opener) -> None:
    page = open_view("design")
    page.number_input(key=widget(page, "channel.bandwidth_hz")).set_value(0.0).run()
    assert page.button(key="design-run").disabled
    assert [each.value for each in page.error] == ["Input should be greater than 0 (got 0.0)"]
    assert any("last valid" in each.value for each in page.caption)
    page.number_input(key=widget(page, "channel.bandwidth_hz")).set_value(3.0).run()
    assert not page.error
    assert not page.button(key="design-run").disabled


def test_parts_that_do_not_fit_each_other_are_named(open_view: Opener) -> None:
    page = open_view("design", preset="quick")
    page.segmented_control(key=widget(page, "topology.kind")).set_value("drawn").run()
    assert not page.error  # drawing starts at the mesh on screen
    page.number_input(key=widget(page, "fleet.devices")).set_value(5).run()
    assert "fleet.devices is 5" in page.error[0].value


def test_another_preset_starts_the_form_over(open_view: Opener) -> None:
    page = open_view("design", preset="quick")
    page.number_input(key=widget(page, "rounds")).set_value(7).run()
    page.selectbox(key="design-preset").set_value("local").run()
    assert not page.exception
    assert page.text_input(key=widget(page, "name")).value == "local"
    assert page.number_input(key=widget(page, "rounds")).value == 20
    assert page.query_params["preset"] == "local"


def test_a_run_can_be_cloned(open_view: Opener, api: FakeApi) -> None:
    config = fake_config(name="mine", rounds=33, seed=5)
    api.add(config, fixed=RunStatus.COMPLETED, done=2)
    page = open_view("design", clone=1)
    page.button(key="design-run").click().run()
    assert api.runs[2].config == config


def test_edits_survive_a_visit_to_another_view(open_view: Opener) -> None:
    page = open_view("design", preset="quick")
    page.number_input(key=widget(page, "rounds")).set_value(7).run()
    page.switch_page("views/gallery.py").run()
    page.switch_page("views/design.py").run()
    assert page.number_input(key=widget(page, "rounds")).value == 7


def test_a_run_that_is_not_there_is_named(open_view: Opener) -> None:
    page = open_view("design", clone=9)
    assert "no run 9" in page.error[0].value


def test_without_the_api_it_says_how_to_start_it(open_without_api: Opener) -> None:
    assert "make up" in open_without_api("design").error[0].value
