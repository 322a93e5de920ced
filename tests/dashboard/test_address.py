"""Within one session the address wins over a control, unless the control was moved just now."""

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from meshtune.dashboard import address
from meshtune.dashboard.address import Trail
from meshtune.engine.records import RunStatus
from tests.dashboard.conftest import Opener
from tests.support.fake_api import FakeApi, fake_config


@pytest.fixture
def six(api: FakeApi) -> FakeApi:
    """Two methods, three seeds each: runs 1 to 3 and 4 to 6."""
    for kind in ("lora_gossip", "so_lora"):
        for seed in (1, 2, 3):
            config = fake_config(name=f"{kind} {seed}", seed=seed, method={"kind": kind})
            api.add(config, fixed=RunStatus.COMPLETED, done=20)
    return api


def value(page: AppTest, key: str) -> Any:
    """What the control with this key shows."""
    kinds = ("segmented_control", "slider", "multiselect", "toggle", "selectbox", "button_group")
    found = [each for kind in kinds for each in page.get(kind) if getattr(each, "key", "") == key]
    assert found, f"no control {key!r}"
    return found[0].value


def go(page: AppTest, /, **parameters: object) -> AppTest:
    """Follow a link to the view that is open."""
    page.query_params.clear()
    for name, given in parameters.items():
        page.query_params[name] = str(given)
    page.run()
    assert not page.exception
    return page


def test_every_lesson_can_be_linked_to_within_a_session(open_view: Opener) -> None:
    page = open_view("learn", page="interference")
    for name, title in (
        ("collision", "Collision rate"),
        ("link", "From distance to seconds per round"),
        ("routing", "Routing without a router"),
        ("interference", "Two adapters interfering"),
    ):
        go(page, page=name)
        assert page.subheader[0].value == title
        assert page.query_params["page"] in (name, [name])
        assert value(page, "learn-page") == name


@pytest.mark.usefixtures("six")
@pytest.mark.parametrize(
    ("key", "first", "second", "expected"),
    [
        ("compare-axis", {"x": "bits"}, {"x": "energy"}, "total_energy_j"),
        ("compare-axis", {"x": "bits"}, {}, "round"),
        ("compare-metric", {}, {"metric": "own"}, "accuracy_own"),
        ("compare-who", {"who": "own"}, {}, "all"),
        ("compare-level", {"level": 35}, {"level": 71}, 71),
        ("compare-tasks", {}, {"tasks": "reading"}, ["reading"]),
        ("compare-together", {}, {"seeds": "apart"}, False),
        ("compare-runs", {"runs": "1,2"}, {"runs": "4,2"}, [4, 2]),
    ],
)
def test_every_choice_of_compare_follows_a_link(
    open_view: Opener, key: str, first: dict[str, Any], second: dict[str, Any], expected: Any
) -> None:
    page = open_view("compare", **{"runs": "1,2,4", **first})
    go(page, **{"runs": "1,2,4", **second})
    assert value(page, key) == expected


@pytest.mark.usefixtures("six")
def test_the_reference_follows_a_link(open_view: Opener) -> None:
    page = open_view("compare", runs="1,4", ref="1")
    go(page, runs="1,4", ref="4")
    assert page.query_params["ref"] in ("4", ["4"])
    (box,) = [each for each in page.selectbox if each.label == "Reference"]
    assert box.value == "4"


@pytest.mark.usefixtures("six")
def test_groups_follow_a_link(open_view: Opener) -> None:
    page = open_view("compare", runs="1,2,3,4,5,6")
    chosen = page.session_state["compare-seen"].study.runs
    groups = list(dict.fromkeys(each.run.group for each in chosen))
    go(page, groups=groups[1])
    assert page.multiselect(key="compare-groups").value == [groups[1]]
    go(page, groups=groups[0])
    assert page.multiselect(key="compare-groups").value == [groups[0]]


@pytest.mark.usefixtures("six")
def test_the_baseline_of_a_run_follows_a_link(open_view: Opener) -> None:
    page = open_view("run", run=4, base=1)
    for base, expected in ((2, 2), ("none", None), (3, 3)):
        go(page, run=4, base=base)
        assert value(page, "base-4") == expected


def test_the_preset_picker_shows_what_a_link_opened(open_view: Opener) -> None:
    page = open_view("design", preset="quick")
    go(page, preset="local")
    assert page.selectbox(key="design-preset-preset local").value == "local"
    assert page.session_state["design"].source == "preset local"


@pytest.mark.usefixtures("six")
def test_what_a_hand_moves_is_not_undone_by_a_late_address(open_view: Opener) -> None:
    page = open_view("compare", runs="1,4", x="bits")
    page.segmented_control(key="compare-axis").set_value("total_energy_j").run()
    assert page.query_params["x"] in ("energy", ["energy"])
    # The next click is on its way before the browser has read the new address.
    page.query_params["x"] = "bits"
    page.segmented_control(key="compare-metric").set_value("accuracy_own").run()
    assert value(page, "compare-axis") == "total_energy_j"
    assert page.query_params["x"] in ("energy", ["energy"])
    assert value(page, "compare-metric") == "accuracy_own"


@pytest.mark.usefixtures("six")
def test_a_link_wins_over_what_was_chosen_before(open_view: Opener) -> None:
    page = open_view("compare", runs="1,4")
    page.segmented_control(key="compare-axis").set_value("total_bits").run()
    go(page, runs="1,4", x="time")
    assert value(page, "compare-axis") == "total_wall_s"


def test_late_words_are_no_link_until_the_browser_has_caught_up() -> None:
    trail = Trail("bits")
    trail.write("energy")
    trail.write("time")
    assert not trail.is_link("bits")
    assert not trail.is_link("energy")
    assert trail.is_link("airtime")
    assert not trail.is_link("time")  # it has
    assert trail.is_link("bits")
    trail.write("bits")
    assert not trail.is_link("time")


@pytest.mark.parametrize("text", ["", "-1", "1.0", "\u0663", "1 ", "1" * 10, "0x1", "²"])
def test_only_plain_digits_are_a_number(text: str) -> None:
    assert address.whole_number(text) is None


def test_a_link_from_another_view_opens_what_a_draft_began_with(open_view: Opener) -> None:
    page = open_view("design", preset="quick")
    version = page.session_state["design"].version
    page.number_input(key=f"design-{version}:rounds").set_value(7).run()
    page.switch_page("gallery/view.py").run()
    page.switch_page("design/view.py")
    go(page, preset="quick")
    assert page.session_state["design"].source == "preset quick"


def test_the_tour_is_not_set_back_by_a_late_address(open_view: Opener) -> None:
    page = open_view("gallery", tour=1)
    page.button(key="tour-next").click().run()
    page.query_params["tour"] = "1"
    page.button(key="tour-next").click().run()
    assert "step 3 of" in " ".join(each.value for each in page.markdown)
