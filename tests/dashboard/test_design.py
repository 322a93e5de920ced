"""Design: from a preset to a queued run, errors at their field."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from streamlit.proto.WidgetStates_pb2 import WidgetStates
from streamlit.testing.v1 import AppTest

from meshtune import dashboard
from meshtune.backend.schemas.runs import FieldProblem, PresetOut
from meshtune.dashboard.design.fields import spec_of
from meshtune.engine.config import RunConfig
from meshtune.engine.records import RunStatus
from tests.dashboard.conftest import Opener
from tests.support.fake_api import PRESETS, FakeApi, fake_config

DESIGN = Path(dashboard.__file__).with_name("design") / "view.py"


def widget(page: AppTest, path: str) -> str:
    """Key of the widget of a config field."""
    version = page.session_state["design"].version
    return f"design-{version}:{path}"


def test_it_starts_with_the_first_preset_and_draws_its_mesh(open_view: Opener) -> None:
    page = open_view("design")
    assert page.text_input(key=widget(page, "name")).value == PRESETS[0].config.name
    assert len(page.get("bidi_component")) == 2
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
    page.selectbox(key=widget(page, "method.kind")).set_value("lora_gossip").run()
    page.number_input(key=widget(page, "channel.bandwidth_hz")).set_value(5.5).run()
    page.button(key="design-run").click().run()
    config = api.runs[1].config
    assert (config.rounds, config.method.kind) == (7, "lora_gossip")
    assert config.channel.model_dump()["bandwidth_hz"] == 5_500_000.0


def test_an_error_stands_at_its_field_and_run_waits(open_view: Opener) -> None:
    page = open_view("design")
    page.number_input(key=widget(page, "channel.bandwidth_hz")).set_value(0.0).run()
    assert page.button(key="design-run").disabled
    assert [each.value for each in page.error] == ["Must be greater than 0 (got 0.0)"]
    assert any("last valid" in each.value for each in page.caption)
    page.number_input(key=widget(page, "channel.bandwidth_hz")).set_value(3.0).run()
    assert not page.error
    assert not page.button(key="design-run").disabled


def test_every_branch_is_in_one_group() -> None:
    module = ast.parse(DESIGN.read_text("utf-8"))
    value = next(
        node.value
        for node in module.body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "GROUPS"
    )
    assert value is not None
    grouped = [branch for group in ast.literal_eval(value).values() for branch in group]
    branches = [
        name
        for name, info in RunConfig.model_fields.items()
        if spec_of(info, name).kind in {"branch", "union"}
    ]
    assert sorted(grouped) == sorted(branches)


def test_the_plan_stands_beside_the_form_and_follows_it(open_view: Opener) -> None:
    page = open_view("design", preset="quick")
    shown = {each.label: each for each in page.metric}
    assert list(shown)[:4] == ["Bits sent", "Airtime", "Round time", "Machine time"]
    assert all(each.help for each in page.metric)
    before = shown["Bits sent"].value
    page.number_input(key=widget(page, "rounds")).set_value(40).run()
    after = {each.label: each.value for each in page.metric}
    assert after["Bits sent"] != before
    assert "40" in {each.label: each for each in page.metric}["Machine time"].delta


def test_an_ideal_medium_has_a_plan_without_a_chart(open_view: Opener) -> None:
    page = open_view("design", preset="quick")
    page.segmented_control(key=widget(page, "channel.kind")).set_value("ideal").run()
    assert len(page.get("bidi_component")) == 1
    assert any("ideal medium" in each.value for each in page.caption)


def test_a_problem_stands_at_its_field_beside_the_plan(open_view: Opener, api: FakeApi) -> None:
    api.problems = (
        FieldProblem(field="channel.tx_power_dbm", message="nothing arrives; raise the power"),
    )
    page = open_view("design", preset="quick")
    assert [each.value for each in page.error] == ["Nothing arrives; raise the power"]
    assert [each.value for each in page.warning] == [
        "To correct: `channel.tx_power_dbm` in Channel."
    ]
    assert page.button(key="design-run").disabled
    assert page.metric
    api.problems = ()
    page.run()
    assert not page.error
    assert not page.button(key="design-run").disabled


def test_a_config_without_a_plan_keeps_the_last_one_on_screen(
    open_view: Opener, api: FakeApi
) -> None:
    page = open_view("design", preset="quick")
    api.problems = (FieldProblem(field="config", message="the file is not there"),)
    api.plans_anyway = False
    page.number_input(key=widget(page, "rounds")).set_value(7).run()
    assert [each.value for each in page.error] == ["config: the file is not there"]
    assert any("last valid" in each.value for each in page.caption)
    assert page.metric


def test_a_run_that_is_refused_after_all_is_explained(open_view: Opener, api: FakeApi) -> None:
    page = open_view("design", preset="quick")
    api.problems = (FieldProblem(field="channel.deadline_s", message="nothing is in time"),)
    page.button(key="design-run").click().run()
    assert "Nothing is in time" in [each.value for each in page.error]
    assert not api.runs


def test_a_drawing_begins_at_the_mesh_on_screen_and_follows_the_form(open_view: Opener) -> None:
    page = open_view("design", preset="quick")
    count = len(page.session_state["design"].journal.drawing.devices)
    page.selectbox(key=widget(page, "topology.kind")).set_value("drawn").run()
    assert not page.error
    design = page.session_state["design"]
    assert design.drawn
    assert len(design.tree["topology"]["positions"]) == count
    for wanted in (count + 2, 3):
        page.number_input(key=widget(page, "fleet.devices")).set_value(wanted).run()
        assert not page.error
        tree = page.session_state["design"].tree
        assert len(tree["topology"]["positions"]) == tree["fleet"]["devices"] == wanted


def edits(*ops: dict[str, Any]) -> dict[str, Any]:
    numbered = [{**op, "seq": number} for number, op in enumerate(ops, 1)]
    return {"edits": {"client": "browser", "ops": numbered}}


def test_an_edit_on_the_map_makes_a_drawing_that_can_be_undone(open_view: Opener) -> None:
    page = open_view("design", preset="quick")
    before = page.session_state["design"].journal.drawing
    ops = [
        {"op": "move", "moves": [["0", 77.7, -3.0]]},
        {"op": "task", "ids": ["1"], "task": "ending"},
    ]
    page.session_state["design-editor"] = edits(*ops)
    page.run()
    design = page.session_state["design"]
    assert design.drawn
    assert design.tree["topology"]["positions"][0] == {"x_m": 77.7, "y_m": -3.0}
    assert design.tree["fleet"]["tasks"][1] == "ending"
    page.session_state["design-editor"] = edits(*ops, {"op": "undo"}, {"op": "undo"})
    page.run()
    assert page.session_state["design"].journal.drawing == before
    page.session_state["design-editor"] = edits({"op": "remove", "ids": ["nobody"]}, {"op": "fly"})
    page.run()
    assert not page.exception


def test_an_edit_is_kept_as_a_draft_and_found_again(open_view: Opener, api: FakeApi) -> None:
    page = open_view("design", preset="quick")
    assert not api.design.drafts  # looking is no edit
    page.number_input(key=widget(page, "rounds")).set_value(7).run()
    assert page.query_params["draft"] in ("1", ["1"])
    assert api.design.drafts[1]["tree"]["rounds"] == 7
    again = open_view("design", draft=1)
    assert again.number_input(key=widget(again, "rounds")).value == 7
    # somebody else is faster
    api.design.drafts[1]["version"] += 5
    again.number_input(key=widget(again, "rounds")).set_value(8).run()
    assert "changed elsewhere" in again.warning[0].value
    again.button(key="save-mine").click().run()
    assert api.design.drafts[2]["tree"]["rounds"] == 8


def test_an_answer_that_was_lost_is_no_change_from_elsewhere(
    open_view: Opener, api: FakeApi
) -> None:
    page = open_view("design", preset="quick")
    page.number_input(key=widget(page, "rounds")).set_value(7).run()
    api.design.answers_lost = 2
    for rounds in (8, 9):  # stored, and nobody heard of it
        page.number_input(key=widget(page, "rounds")).set_value(rounds).run()
        assert page.error
    page.number_input(key=widget(page, "rounds")).set_value(10).run()
    assert not page.error
    assert not page.warning
    assert list(api.design.drafts) == [1]
    assert api.design.drafts[1]["tree"]["rounds"] == 10
    # What another session stores is seen all the same.
    api.design.drafts[1] = {
        **api.design.drafts[1], "version": 99, "tree": {"rounds": 1},
    }  # fmt: skip
    page.number_input(key=widget(page, "rounds")).set_value(11).run()
    assert "changed elsewhere" in page.warning[0].value
    assert api.design.drafts[1]["tree"] == {"rounds": 1}


def test_text_goes_both_ways(open_view: Opener) -> None:
    page = open_view("design", preset="quick")
    box = next(each for each in page.text_area if str(each.key).startswith("toml-"))
    assert "rounds = " in box.value
    box.set_value(re.sub(r"(?m)^rounds = \d+", "rounds = 11", box.value)).run()
    page.button(key="toml-apply").click().run()
    assert page.number_input(key=widget(page, "rounds")).value == 11
    box = next(each for each in page.text_area if str(each.key).startswith("toml-"))
    box.set_value("rounds = = 3").run()
    page.button(key="toml-apply").click().run()
    assert "line 1, column 10" in page.error[0].value


def test_clusters_are_suggested_and_taken(open_view: Opener) -> None:
    page = open_view("design", preset="quick")
    page.button(key="suggest").click().run()
    assert not page.exception
    assert page.session_state["design"].steps is not None
    page.button(key="take-clusters").click().run()
    design = page.session_state["design"]
    assert design.drawn
    assert design.journal.done


def picker(page: AppTest) -> Any:
    return next(each for each in page.selectbox if each.key.startswith("design-preset"))


def test_a_browser_that_is_behind_chooses_no_preset(open_view: Opener, api: FakeApi) -> None:
    page = open_view("design", preset="quick")
    late = picker(page)._widget_state
    page.number_input(key=widget(page, "rounds")).set_value(7).run()
    assert page.session_state["design"].source == "draft 1"
    for _ in range(2):  # sent before the browser had drawn the draft
        states = page._tree.get_widget_states()
        kept = [each for each in states.widgets if each.id != late.id]
        page._run(WidgetStates(widgets=[*kept, late]))
    assert not page.exception
    assert page.session_state["design"].source == "draft 1"
    assert page.number_input(key=widget(page, "rounds")).value == 7
    assert len(api.design.drafts) == 1


def test_another_preset_starts_the_form_over(open_view: Opener) -> None:
    page = open_view("design", preset="quick")
    page.number_input(key=widget(page, "rounds")).set_value(7).run()
    picker(page).set_value("local").run()
    assert not page.exception
    assert page.text_input(key=widget(page, "name")).value == "Local only"
    assert page.number_input(key=widget(page, "rounds")).value == 20
    assert page.query_params["preset"] == "local"


def test_a_run_can_be_cloned(open_view: Opener, api: FakeApi) -> None:
    config = fake_config(name="mine", rounds=33, seed=5)
    api.add(config, fixed=RunStatus.COMPLETED, done=2)
    page = open_view("design", clone=1)
    page.button(key="design-run").click().run()
    assert api.runs[2].config == config.model_copy(update={"name": "mine (2)"})


def test_edits_survive_a_visit_to_another_view(open_view: Opener) -> None:
    page = open_view("design", preset="quick")
    page.number_input(key=widget(page, "rounds")).set_value(7).run()
    page.switch_page("gallery/view.py").run()
    page.switch_page("design/view.py").run()
    assert page.number_input(key=widget(page, "rounds")).value == 7


def test_a_run_that_is_not_there_is_named(open_view: Opener) -> None:
    page = open_view("design", clone=9)
    assert "no run 9" in page.error[0].value


def test_without_the_api_it_says_how_to_start_it(open_without_api: Opener) -> None:
    assert "make up" in open_without_api("design").error[0].value


def test_only_fields_with_a_meaning_are_shown_and_hidden_ones_keep_their_value(
    open_view: Opener,
) -> None:
    page = open_view("design", preset="quick")
    level = widget(page, "method.gate_level")
    keys = {each.key for each in page.segmented_control}
    assert level in keys
    page.segmented_control(key=level).set_value("token").run()
    page.selectbox(key=widget(page, "method.gate")).set_value("none").run()
    assert widget(page, "method.gate_level") not in {e.key for e in page.segmented_control}
    assert page.session_state["design"].tree["method"]["gate_level"] in ("token", "prompt")
    assert not page.error


def test_an_edit_faster_than_the_address_is_not_lost(open_view: Opener, api: FakeApi) -> None:
    page = open_view("design", preset="quick")
    page.number_input(key=widget(page, "rounds")).set_value(7).run()
    page.query_params.clear()
    page.query_params["preset"] = "quick"  # as a browser asks that has not seen the draft yet
    page.number_input(key=widget(page, "seed")).set_value(5).run()
    tree = api.design.drafts[1]["tree"]
    assert (tree["rounds"], tree["seed"]) == (7, 5)


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff<graphml><graph><node id='a'/><node id='b'/></graph></graphml>".encode(),
        '{"nodes": [{"id": 1}, {"id": 2}],\r\n "edges": []}'.encode("utf-16"),
        b"graph [ node [ id 0 ] node [ id 1 ] ]",
        b"*Vertices 2\r\n",
    ],
)
def test_a_mesh_of_any_format_is_loaded_and_says_what_is_made_up(
    open_view: Opener, content: bytes
) -> None:
    page = open_view("design", preset="quick")
    page.file_uploader(key="mesh-file").set_value(("mesh.txt", content, "text/plain")).run()
    assert not page.exception
    assert len(page.session_state["design"].journal.drawing.devices) == 2
    assert ["made up" in each.value for each in page.info] == [True]


@pytest.mark.parametrize(
    ("content", "said"), [(b"\xe9", "save it as UTF-8"), (b"a,b", "neither JSON nor GraphML")]
)
def test_a_file_without_a_mesh_leaves_the_drawing(
    open_view: Opener, content: bytes, said: str
) -> None:
    page = open_view("design", preset="quick")
    before = page.session_state["design"].journal.drawing
    page.file_uploader(key="mesh-file").set_value(("mesh.txt", content, "text/plain")).run()
    assert said in page.error[0].value
    assert page.session_state["design"].journal.drawing == before


def test_what_is_run_unchanged_is_called_like_its_card_and_told_apart(
    open_view: Opener, api: FakeApi
) -> None:
    for _ in range(2):
        open_view("design", preset="quick").button(key="design-run").click().run()
    first, again = (api.runs[number].config.name for number in (1, 2))
    assert again == f"{first} (2)"


def test_an_edited_clone_is_called_by_what_changed(open_view: Opener, api: FakeApi) -> None:
    api.add(fake_config(name="First light", rounds=20), fixed=RunStatus.COMPLETED, done=20)
    page = open_view("design", clone=1)
    page.number_input(key=widget(page, "rounds")).set_value(7).run()
    assert any(
        "First light, rounds 20 → 7" in re.sub(r"\\([,.])", r"\1", each.value)
        for each in page.caption
    )
    page.button(key="design-run").click().run()
    assert api.runs[2].config.name == "First light, rounds 20 → 7"
    assert api.runs[2].cloned_from == 1


def test_a_name_of_ones_own_is_kept(open_view: Opener, api: FakeApi) -> None:
    page = open_view("design", preset="quick")
    page.number_input(key=widget(page, "rounds")).set_value(7).run()
    page.text_input(key=widget(page, "name")).set_value("Mine").run()
    page.button(key="design-run").click().run()
    assert api.runs[1].config.name == "Mine"


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("seed", -1, "greater than or equal to 0 (got -1)"),
        ("rounds", 1_000_000, "less than or equal to 10000"),
        ("method.density", 5.0, "less than or equal to 1 (got 5.0)"),
    ],
)
def test_a_number_out_of_bounds_is_told_at_its_field(
    open_view: Opener, field: str, value: float, sentence: str
) -> None:
    page = open_view("design", preset="quick")
    page.number_input(key=widget(page, field)).set_value(value).run()
    assert any(sentence in each.value for each in page.error)
    assert page.button(key="design-run").disabled
    page.switch_page("gallery/view.py").run()
    page.switch_page("design/view.py").run()  # begins again with what was wrong
    assert not page.exception
    assert any(sentence in each.value for each in page.error)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("x" * 90, "Has 90 characters; at most 80 are taken, so shorten it"), ("", "Is empty")],
)
def test_a_name_that_cannot_be_is_told_at_its_field(
    open_view: Opener, name: str, sentence: str
) -> None:
    page = open_view("design", preset="quick")
    page.text_input(key=widget(page, "name")).set_value(name).run()
    assert any(sentence in each.value for each in page.error)
    assert page.text_input(key=widget(page, "name")).value == name


def bounded_widgets(path: Path) -> list[str]:
    """Calls of widgets that drop what does not fit, in silence."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", "")
        given = {each.arg for each in node.keywords}
        positional = name == "number_input" and len(node.args) > 1
        if (name == "number_input" and given & {"min_value", "max_value"}) or positional:
            found.append(f"{path.name}:{node.lineno} {name}")
        if "max_chars" in given:
            found.append(f"{path.name}:{node.lineno} {name}")
    return found


def test_no_field_drops_what_does_not_fit() -> None:
    for path in DESIGN.parents[1].rglob("*.py"):
        assert bounded_widgets(path) == []
