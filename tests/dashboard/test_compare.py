"""Compare: none, one and many runs; the address restores the view."""

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from engine.records import RunStatus
from tests.dashboard.conftest import Opener
from tests.support.fake_api import FakeApi, fake_config


@pytest.fixture
def three(api: FakeApi) -> FakeApi:
    """One finished run of each method."""
    for kind in ("local", "lora_gossip", "so_lora"):
        api.add(fake_config(name=kind, method={"kind": kind}), fixed=RunStatus.COMPLETED, done=20)
    return api


def table(page: AppTest, index: int) -> pd.DataFrame:
    frame: pd.DataFrame = page.dataframe[index].value
    return frame


def test_without_any_run_it_points_to_the_gallery(open_view: Opener) -> None:
    assert "nothing to compare" in open_view("compare").info[0].value


@pytest.mark.usefixtures("three")
def test_without_a_choice_it_asks_for_one(open_view: Opener) -> None:
    page = open_view("compare")
    assert "Choose at least one run" in page.info[0].value


@pytest.mark.usefixtures("three")
def test_one_run_is_its_own_reference(open_view: Opener) -> None:
    page = open_view("compare", runs="3")
    assert list(table(page, 0)["Own ±"]) == ["reference"]
    assert any("equal configs" in each.value for each in page.caption)


@pytest.mark.usefixtures("three")
def test_plain_gossip_is_the_reference_and_comes_first(open_view: Opener) -> None:
    page = open_view("compare", runs="1,2,3")
    summary = table(page, 0)
    assert list(summary["Run"]) == ["lora_gossip #2", "local #1", "so_lora #3"]
    assert summary["Own ±"].iloc[0] == "reference"
    assert all(str(text).endswith("pt") for text in summary["Own ±"].iloc[1:])
    assert summary["Bits ±"].iloc[2].replace("\u00a0", " ") == "\u221273 %"
    assert len(page.get("bidi_component")) == 2 + 2 + 4


@pytest.mark.usefixtures("three")
def test_only_differing_fields_are_listed(open_view: Opener) -> None:
    fields = table(open_view("compare", runs="1,2"), 1)
    assert list(fields.index) == ["method.kind"]


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("axis", ["round", "bits", "airtime", "energy"])
def test_the_address_restores_the_axis(open_view: Opener, axis: str) -> None:
    page = open_view("compare", runs="1,2,3", x=axis)
    assert page.query_params["x"] == axis
    chosen = page.segmented_control(key="compare-axis").value
    assert chosen in {"round", f"total_{axis}", f"total_{axis}_s", f"total_{axis}_j"}


@pytest.mark.usefixtures("three")
def test_a_choice_is_kept_in_the_address(open_view: Opener) -> None:
    page = open_view("compare", runs="1")
    page.multiselect(key="compare-runs").set_value([1, 3]).run()
    assert page.query_params["runs"] == "1,3"
    page.multiselect(key="compare-runs").set_value([]).run()
    assert "runs" not in page.query_params


def test_runs_that_wait_or_live_are_shown_beside_finished_ones(
    open_view: Opener, three: FakeApi
) -> None:
    three.add(fixed=RunStatus.QUEUED)
    three.add(fixed=RunStatus.RUNNING, done=6)
    page = open_view("compare", runs="3,4,5")
    assert "No finished round yet: quick #4" in page.info[0].value
    assert list(table(page, 0)["Run"]) == ["so_lora #3", "quick #5"]


def test_many_runs_of_one_method_are_told_apart(open_view: Opener, api: FakeApi) -> None:
    for seed in range(8):
        api.add(fake_config(seed=seed), fixed=RunStatus.COMPLETED, done=20)
    page = open_view("compare", runs=",".join(str(n) for n in range(1, 9)))
    assert len(table(page, 0)) == 8
    assert list(table(page, 1).index) == ["seed"]


@pytest.mark.usefixtures("three")
def test_a_run_that_is_not_there_is_named(open_view: Opener) -> None:
    assert "no run 99" in open_view("compare", runs="1,99").error[0].value


@pytest.mark.usefixtures("three")
def test_the_csv_holds_every_round_of_every_run(open_view: Opener) -> None:
    page = open_view("compare", runs="1,2,3")
    assert [getattr(each, "label", "") for each in page.get("download_button")] == [
        "All rounds as CSV"
    ]


def test_without_the_api_it_says_how_to_start_it(open_without_api: Opener) -> None:
    assert "make up" in open_without_api("compare").error[0].value
