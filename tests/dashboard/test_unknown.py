"""An address that names nothing: an error, what is near, and nothing that could be run."""

import ast
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from meshtune import dashboard
from meshtune.dashboard import address, unknown
from meshtune.engine.records import RunStatus
from tests.dashboard.conftest import Opener
from tests.support.fake_api import PRESETS, FakeApi, fake_config

TITLES = {preset.name: preset.title for preset in PRESETS}


def ways(page: AppTest) -> list[str]:
    """Where the links of a page lead."""
    return [f"{each.proto.page}?{each.proto.query_string}" for each in page.get("page_link")]


def runnable(page: AppTest) -> list[str]:
    """Buttons that could start something."""
    return [each.key for each in page.button if each.key and not each.key.startswith("tour")]


@pytest.fixture
def two(api: FakeApi) -> FakeApi:
    """Two finished runs."""
    for seed in (1, 2):
        api.add(fake_config(name="mine", seed=seed), fixed=RunStatus.COMPLETED, done=3)
    return api


@pytest.mark.parametrize("name", ["lokal", "frist-light", "so-lora-2", "gates-no", "\u0430", "§"])
def test_an_unknown_preset_is_an_error_and_nothing_runs(
    open_view: Opener, api: FakeApi, name: str
) -> None:
    page = open_view("design", preset=name)
    assert name in page.error[0].value
    assert "no preset" in page.error[0].value
    assert runnable(page) == []
    assert any("preset=" in way for way in ways(page))
    assert not page.selectbox
    assert not api.runs
    assert not api.design.drafts


def test_near_names_come_first() -> None:
    assert unknown.near("lokal", TITLES)[0] == "local"
    assert unknown.near("frist-light", TITLES)[0] == "quick"
    assert unknown.near("PLAIN LORA GOSSIP", TITLES)[0] == "lora_gossip"
    assert len(unknown.near("§", TITLES)) == 3


@pytest.mark.parametrize("name", ["first-light", "First light", "FIRST-LIGHT", "quick"])
def test_the_slug_of_a_title_is_the_preset(open_view: Opener, name: str) -> None:
    page = open_view("design", preset=name)
    assert not page.error
    assert page.session_state["design"].source == "preset quick"
    assert page.selectbox(key="design-preset-preset quick").value == "quick"


def test_an_edit_of_a_preset_by_its_slug_is_kept(open_view: Opener, api: FakeApi) -> None:
    page = open_view("design", preset="local-only")
    version = page.session_state["design"].version
    page.number_input(key=f"design-{version}:rounds").set_value(7).run()
    page.query_params.clear()
    page.query_params["preset"] = "local-only"  # the browser has not seen the draft yet
    page.number_input(key=f"design-{version}:seed").set_value(5).run()
    tree = api.design.drafts[1]["tree"]
    assert (tree["rounds"], tree["seed"]) == (7, 5)


@pytest.mark.usefixtures("two")
def test_a_comparison_with_a_run_that_is_not_there_shows_the_way_to_others(
    open_view: Opener,
) -> None:
    page = open_view("compare", runs="1,77")
    assert "77" in page.error[0].value
    assert any("runs=" in way for way in ways(page))
    assert not page.multiselect


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("view", "parameter"),
    [
        ("design", "draft"),
        ("design", "clone"),
        ("run", "run"),
        ("playground", "run"),
    ],
)
@pytest.mark.parametrize("given", ["abc", "99", "-3", "1e3", "\u0663"])
def test_an_unknown_number_is_an_error_and_nothing_runs(
    open_view: Opener, view: str, parameter: str, given: str
) -> None:
    page = open_view(view, **{parameter: given})
    assert given in page.error[0].value or (view, given) == ("playground", "99")  # the API's words
    assert runnable(page) == []
    assert ways(page)


def test_after_an_unknown_preset_the_right_one_opens(open_view: Opener) -> None:
    page = open_view("design", preset="quick")
    page.query_params["preset"] = "lokal"
    page.run()
    assert page.error
    page.query_params["preset"] = "local"
    page.run()
    assert not page.error
    assert page.session_state["design"].source == "preset local"


def test_an_unknown_page_of_learn_is_said(open_view: Opener) -> None:
    page = open_view("learn", page="nonsense")
    assert "nonsense" in page.warning[0].value


@pytest.mark.usefixtures("two")
def test_parts_of_a_link_that_are_no_runs_are_named(open_view: Opener) -> None:
    page = open_view("compare", runs="2,x,-3")
    assert any("x, -3" in each.value for each in page.warning)


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(("view", "known"), address.PARAMETERS.items())
def test_an_unknown_parameter_is_named_beside_those_that_a_page_knows(
    open_view: Opener, view: str, known: tuple[str, ...]
) -> None:
    page = open_view(view or "gallery", rnu=1, embed="true", embed_options="show_toolbar")
    (said,) = [each.value for each in page.warning if "does not know" in each.value]
    assert "“rnu”" in said
    assert said.endswith(f"it knows {', '.join(known)}.")
    assert "embed" not in said


@pytest.mark.usefixtures("two")
def test_known_parameters_and_those_of_streamlit_pass(open_view: Opener) -> None:
    page = open_view("run", run=1, base=2, embed="true", theme="dark")
    assert not page.warning


def test_odd_names_are_few_short_and_no_markup(open_view: Opener) -> None:
    page = open_view("gallery", **{"[a](b)": 1, "x" * 99: 1, "c": 1, "d": 1, "e": 1})
    (said,) = [each.value for each in page.warning]
    assert r"“\[a\](b)”, “x" in said
    assert "…”, “c” and 2 more in its address" in said


def read_in(folder: Path) -> set[str]:
    """Names of parameters in the calls that read the address."""
    calls = [
        node
        for file in folder.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("address.")
    ]
    place = {"address.asked": 0, "address.follow": 1}
    names = [each.args[place[ast.unparse(each.func)]] for each in calls
             if ast.unparse(each.func) in place]  # fmt: skip
    return {each.value for each in names if isinstance(each, ast.Constant)}


@pytest.mark.parametrize("view", sorted({*address.PARAMETERS} - {"", "design"}))
def test_a_page_knows_what_its_code_reads(view: str) -> None:
    folder = Path(dashboard.__file__).with_name(view)
    assert {*address.PARAMETERS[view]} - {address.EVERYWHERE} == read_in(folder)
