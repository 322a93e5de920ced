"""Compare: none, one and many runs, groups of seeds; the address restores the view."""

import re
from html import unescape

import pytest
from streamlit.testing.v1 import AppTest

from meshtune.backend.compare.replies import group_of
from meshtune.engine.records import RunStatus
from tests.dashboard.conftest import Opener
from tests.support.fake_api import FakeApi, fake_config


@pytest.fixture
def three(api: FakeApi) -> FakeApi:
    """One finished run of each method."""
    for kind in ("local", "lora_gossip", "so_lora"):
        api.add(fake_config(name=kind, method={"kind": kind}), fixed=RunStatus.COMPLETED, done=20)
    return api


@pytest.fixture
def seeds(api: FakeApi) -> FakeApi:
    """Two methods, three seeds each: runs 1 to 3 and 4 to 6."""
    for kind in ("lora_gossip", "so_lora"):
        for seed in (1, 2, 3):
            config = fake_config(name=f"{kind} {seed}", seed=seed, method={"kind": kind})
            api.add(config, fixed=RunStatus.COMPLETED, done=20)
    return api


def table(page: AppTest, caption: str) -> list[list[str]]:
    """Cells of the table with this caption, its head first."""
    bodies = [str(each.proto.body) for each in page.get("html")]
    (found,) = [body for body in bodies if f'aria-label="{caption}"' in body]
    rows = re.findall(r"<tr>(.*?)</tr>", found)
    return [
        [unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows
    ]


def column(page: AppTest, caption: str, name: str) -> list[str]:
    head, *rows = table(page, caption)
    place = head.index(name)
    return [row[place].replace("\u00a0", " ") for row in rows]


def charts(page: AppTest) -> int:
    """Live parts on the page, without the button that copies the link."""
    return len(page.get("bidi_component")) - 1


def test_without_any_run_it_points_to_the_gallery(open_view: Opener) -> None:
    assert "nothing to compare" in open_view("compare").info[0].value


@pytest.mark.usefixtures("three")
def test_without_a_choice_it_asks_for_one(open_view: Opener) -> None:
    page = open_view("compare")
    assert "Choose at least one run" in page.info[0].value


@pytest.mark.usefixtures("three")
def test_one_run_is_its_own_reference(open_view: Opener) -> None:
    page = open_view("compare", runs="3")
    assert column(page, "Results", "Own task ±") == ["reference"]
    assert any("equal configs" in each.value for each in page.caption)
    assert any("second group" in each.value for each in page.info)


@pytest.mark.usefixtures("three")
def test_plain_gossip_is_the_reference_and_comes_first(open_view: Opener) -> None:
    page = open_view("compare", runs="1,2,3")
    assert column(page, "Results", "Run") == ["lora_gossip #2", "local #1", "so_lora #3"]
    apart = column(page, "Results", "Own task ±")
    assert apart[0] == "reference"
    assert all(text.endswith("pt") for text in apart[1:])
    assert column(page, "Results", "Bits sent ±")[2] == "\u221273 %"
    # two accuracies, front and levels, four tasks, two losses, parallel coordinates
    assert charts(page) == 2 + 2 + 4 + 2 + 1


@pytest.mark.usefixtures("three")
def test_a_pinned_reference_is_kept_in_the_address(open_view: Opener) -> None:
    page = open_view("compare", runs="1,2,3", ref="3")
    assert column(page, "Results", "Run")[0] == "so_lora #3"
    (box,) = [each for each in page.selectbox if each.label == "Reference"]
    box.set_value("local #1").run()
    assert page.query_params["ref"] == "1"
    assert column(page, "Results", "Run")[0] == "local #1"


@pytest.mark.usefixtures("three")
def test_only_differing_fields_are_listed(open_view: Opener) -> None:
    rows = table(open_view("compare", runs="1,2"), "Config differences")
    assert [row[0] for row in rows] == ["Field", "method.kind"]
    assert rows[1][1:] == ["Plain LoRA gossip", "Local only"]


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("axis", ["round", "bits", "airtime", "energy", "time"])
def test_the_address_restores_the_axis(open_view: Opener, axis: str) -> None:
    page = open_view("compare", runs="1,2,3", x=axis)
    assert page.query_params["x"] == axis
    chosen = page.segmented_control(key="compare-axis").value
    assert chosen in {"round", f"total_{axis}", f"total_{axis}_s", f"total_{axis}_j"} or (
        (axis, chosen) == ("time", "total_wall_s")
    )


@pytest.mark.usefixtures("three")
def test_the_address_restores_everything_else(open_view: Opener) -> None:
    page = open_view(
        "compare", runs="1,2,3", metric="own", who="own", level=35, tasks="addition,reading"
    )
    assert page.segmented_control(key="compare-metric").value == "accuracy_own"
    assert page.segmented_control(key="compare-who").value == "own"
    assert page.slider(key="compare-level").value == 35
    assert charts(page) == 2 + 2 + 2 + 2 + 1
    assert page.query_params["tasks"] == "reading,addition"


@pytest.mark.usefixtures("three")
def test_nonsense_in_the_address_is_passed_over(open_view: Opener) -> None:
    page = open_view(
        "compare", runs="2,x,-3", x="moon", level="many", ref="77", tasks="cooking", groups="abc"
    )
    assert column(page, "Results", "Run") == ["lora_gossip #2"]
    assert any("not here" in each.value for each in page.warning)
    assert page.slider(key="compare-level").value == 50


@pytest.mark.usefixtures("three")
def test_a_choice_is_kept_in_the_address(open_view: Opener) -> None:
    page = open_view("compare", runs="1")
    page.multiselect(key="compare-runs").set_value([1, 3]).run()
    assert page.query_params["runs"] == "1,3"
    page.multiselect(key="compare-runs").set_value([]).run()
    assert "runs" not in page.query_params


@pytest.mark.usefixtures("seeds")
def test_seeds_become_one_line_with_an_interval_and_a_test(open_view: Opener) -> None:
    page = open_view("compare", runs="1,2,3,4,5,6")
    assert column(page, "Results", "Run") == [
        "Plain LoRA gossip (n = 3)",
        "Sparse-and-orthogonal LoRA (n = 3)",
    ]
    assert all("±" in text for text in column(page, "Results", "All tasks"))
    (found,) = table(page, "Paired tests")[1:]
    assert found[0] == "Sparse-and-orthogonal LoRA"
    assert found[1] == "3"
    assert float(found[4].lstrip("<\u00a0")) < 0.05
    page.toggle(key="compare-together").set_value(False).run()
    assert page.query_params["seeds"] == "apart"
    assert len(column(page, "Results", "Run")) == 6


def test_a_group_in_the_address_takes_all_its_seeds(open_view: Opener, seeds: FakeApi) -> None:
    group = group_of(seeds.runs[4].config.model_dump(mode="json"))
    page = open_view("compare", groups=group)
    assert column(page, "Results", "Run") == ["Sparse-and-orthogonal LoRA (n = 3)"]
    assert page.query_params["groups"] == group


@pytest.mark.usefixtures("seeds")
def test_filters_narrow_what_can_be_chosen_but_keep_what_is(open_view: Opener) -> None:
    page = open_view("compare", runs="1")
    page.multiselect(key="compare-methods").set_value(["so_lora"]).run()
    assert len(page.multiselect(key="compare-runs").options) == 1 + 3
    assert page.multiselect(key="compare-runs").value == [1]
    page.text_input(key="compare-text").set_value("so_lora 2").run()
    assert len(page.multiselect(key="compare-runs").options) == 1 + 1


def test_seeds_that_broke_off_are_named_and_left_out_of_the_mean(
    open_view: Opener, seeds: FakeApi
) -> None:
    config = fake_config(name="hot", seed=9, method={"kind": "so_lora"})
    seeds.add(config, fixed=RunStatus.DIVERGED, done=5, reason="not finite")
    page = open_view("compare", runs="4,5,6,7")
    assert column(page, "Results", "Run") == ["Sparse-and-orthogonal LoRA (n = 3, 1 left out)"]
    assert any("hot \\#7 diverged after round 5" in each.value for each in page.warning)


def test_runs_with_other_tasks_are_marked(open_view: Opener, three: FakeApi) -> None:
    fleet = {"devices": 8, "tasks": ["reading", "ending"]}
    three.add(fake_config(name="two", fleet=fleet), fixed=RunStatus.COMPLETED, done=20)
    page = open_view("compare", runs="3,4")
    assert any("not hold the same tasks" in each.value for each in page.warning)


def test_runs_that_wait_or_live_are_shown_beside_finished_ones(
    open_view: Opener, three: FakeApi
) -> None:
    three.add(fixed=RunStatus.QUEUED)
    three.add(fixed=RunStatus.RUNNING, done=6)
    page = open_view("compare", runs="3,4,5", seeds="apart")
    assert "No finished round yet: quick \\#4" in page.info[0].value
    assert column(page, "Results", "Run") == ["so_lora #3", "quick #5"]


def test_many_runs_of_one_method_are_told_apart(open_view: Opener, api: FakeApi) -> None:
    for seed in range(8):
        api.add(fake_config(seed=seed), fixed=RunStatus.COMPLETED, done=20)
    page = open_view("compare", runs=",".join(str(n) for n in range(1, 9)), seeds="apart")
    assert len(column(page, "Results", "Run")) == 8
    assert any("equal configs" in each.value for each in page.caption)


@pytest.mark.usefixtures("three")
def test_a_level_that_is_not_reached_says_so(open_view: Opener) -> None:
    page = open_view("compare", runs="1,2,3", level=70)
    assert column(page, "What 70 % takes", "Reached") == ["not reached", "not reached", "reached"]
    assert column(page, "What 70 % takes", "Bits sent")[0] == "not reached"
    assert column(page, "What 70 % takes", "Bits sent")[2].endswith("bit")


@pytest.mark.usefixtures("three")
def test_a_run_that_is_not_there_is_named(open_view: Opener) -> None:
    assert "no run 99" in open_view("compare", runs="1,99").error[0].value


@pytest.mark.usefixtures("three")
def test_tables_and_report_can_be_taken_away(open_view: Opener) -> None:
    page = open_view("compare", runs="1,2,3")
    assert [getattr(each, "label", "") for each in page.get("download_button")] == [
        "Report",
        "CSV",
        "Parquet",
    ]


def test_without_the_api_it_says_how_to_start_it(open_without_api: Opener) -> None:
    assert "make up" in open_without_api("compare").error[0].value
