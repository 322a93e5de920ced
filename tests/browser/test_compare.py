"""Comparing in a real browser: choose, switch, share, restore, take away, open offline."""

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from pyarrow import parquet

from meshtune.backend.settings import Settings, open_store
from meshtune.engine.records import RunStatus
from tests.browser.conftest import (
    OpenPage,
    process,
    settled,
    wait_for,
    wait_for_points,
)
from tests.support.comparison import arm_config, complete, fill
from tests.support.fake_api import FakeApi, fake_config
from tests.support.pages import HEALTH_PATH, arguments
from tests.support.ports import free_port

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

OWN = "Accuracy on the own task"
ALL = "Accuracy over all tasks"
METHODS = ("lora_gossip", "so_lora", "local")
ROUNDS = 30
SERIOUS = {"serious", "critical"}


@dataclass(frozen=True)
class Compared:
    """Address of a dashboard, and the runs behind it: three seeds of each method."""

    url: str
    runs: list[int]
    diverged: int

    def at(self, *places: int, **more: str) -> str:
        """Address that compares these of its runs."""
        chosen = ",".join(str(self.runs[place]) for place in places)
        rest = "".join(f"&{name}={value}" for name, value in more.items())
        return f"{self.url}/compare?runs={chosen}{rest}"


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compared]:
    """A real API and dashboard over a store of finished runs."""
    folder = tmp_path_factory.mktemp("compared")
    state = folder / "state"
    state.mkdir()
    store = open_store(Settings(state_dir=state, database_url=None))
    made = fill(store, methods=METHODS, seeds=3, rounds=ROUNDS)
    hot = arm_config("so_lora", 9, ROUNDS)
    diverged = complete(store, hot, rounds=8, status=RunStatus.DIVERGED)
    store.dispose()
    api_port, port = free_port(), free_port()
    api_url, url = f"http://127.0.0.1:{api_port}", f"http://127.0.0.1:{port}"
    api = ["uvicorn", "--factory", "meshtune.backend.app:create_app", f"--port={api_port}"]
    given = {"MESHTUNE_STATE_DIR": str(state)}
    with ExitStack() as running:
        start = running.enter_context
        start(process([sys.executable, "-m", *api], folder / "api.log", **given))
        wait_for(f"{api_url}/health", folder / "api.log")
        start(process(arguments(port, api_url), folder / "dashboard.log", **given))
        wait_for(url + HEALTH_PATH, folder / "dashboard.log")
        yield Compared(url, made, diverged)


def drawn(page: Page, count: int) -> None:
    """Wait until so many charts are drawn and the script has run."""
    page.locator(".mt-chart.drawn").nth(count - 1).wait_for()
    settled(page)


def names(page: Page, title: str = OWN) -> list[str]:
    """Names of the lines of a chart."""
    found: list[str] = page.evaluate(
        "title => [...document.querySelectorAll('.mt-chart.drawn')]"
        ".find(e => e.layout.title.text === title)"
        ".data.filter(d => d.hoverinfo !== 'skip').map(d => d.name)",
        title,
    )
    return found


def test_two_runs_on_every_axis_and_the_link_restores_them(
    compared: Compared, open_page: OpenPage
) -> None:
    page = open_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(compared.at(3, 0))
    wait_for_points(page, OWN, ROUNDS)
    drawn(page, 11)
    assert [name.partition(" #")[0] for name in names(page)] == ["lora gossip s0", "so lora s0"]
    for word, unit in (
        ("Bits sent", "bit)"),
        ("Airtime", "s)"),
        ("Transmit energy", "J)"),
        ("Machine time", "s)"),
    ):
        page.get_by_role("radio", name=word, exact=True).click()
        expect(page.locator(".mt-chart").first).to_contain_text(unit)
    page.get_by_role("radio", name="Airtime", exact=True).click()
    page.get_by_role("radio", name="Own task", exact=True).click()
    slider = page.get_by_role("slider", name="Accuracy to reach")
    slider.focus()
    slider.press("ArrowRight")
    expect(page.get_by_role("region", name="What 51 % takes")).to_be_visible()
    page.get_by_role("button", name="Ending", exact=True).click()
    expect(page.locator(".mt-chart")).to_have_count(10)
    settled(page)

    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Link copied")).to_be_visible()
    link = page.evaluate("navigator.clipboard.readText()")
    asked = parse_qs(urlsplit(link).query)
    assert asked["x"] == ["airtime"]
    assert asked["level"] == ["51"]

    other = open_page()
    other.goto(link)
    drawn(other, 10)
    expect(other.get_by_role("radio", name="Airtime", exact=True)).to_be_checked()
    expect(other.get_by_role("radio", name="Own task", exact=True)).to_be_checked()
    expect(other.get_by_role("region", name="What 51 % takes")).to_be_visible()
    assert names(other) == names(page)


def test_a_run_is_added_by_hand_and_a_reference_pinned(
    compared: Compared, open_page: OpenPage
) -> None:
    page = open_page()
    page.goto(compared.at(0))
    drawn(page, 10)
    box = page.get_by_role("combobox", name="Runs")
    box.click()
    box.fill("so lora s1")
    page.get_by_role("option", name="so lora s1").click()
    page.keyboard.press("Escape")
    drawn(page, 11)
    assert len(names(page)) == 2
    page.get_by_role("combobox", name="Reference").click()
    page.get_by_role("option", name="so lora s1").click()
    page.wait_for_function(
        "() => document.querySelector('.mt-chart.drawn')?.data.at(-1).name.startsWith('lora')"
    )
    assert names(page)[0].startswith("so lora s1")
    assert f"ref={compared.runs[4]}" in page.url


def test_seeds_are_one_line_with_an_interval(compared: Compared, open_page: OpenPage) -> None:
    page = open_page("dark")
    page.goto(compared.at(*range(9)))
    drawn(page, 11)
    assert names(page) == [
        "Plain LoRA gossip (n = 3)",
        "Sparse-and-orthogonal LoRA (n = 3)",
        "Local only (n = 3)",
    ]
    expect(page.get_by_role("region", name="Paired tests")).to_contain_text("at the 5 % level")
    page.get_by_text("Seeds as one line").click()
    page.wait_for_function(
        "() => document.querySelector('.mt-chart.drawn')?.data.length === 9", timeout=60_000
    )
    paper = page.get_by_test_id("stApp").evaluate("e => getComputedStyle(e).backgroundColor")
    assert paper == "rgb(15, 18, 24)"


def test_a_diverged_seed_is_named(compared: Compared, open_page: OpenPage) -> None:
    page = open_page()
    page.goto(f"{compared.url}/compare?runs={compared.runs[3]},{compared.diverged}")
    drawn(page, 2)
    expect(page.get_by_text("diverged after round 8")).to_be_visible()
    assert names(page) == ["Sparse-and-orthogonal LoRA (n = 1, 1 left out)"]


def test_groups_are_offered_where_nothing_is_chosen(
    compared: Compared, open_page: OpenPage
) -> None:
    page = open_page()
    page.goto(f"{compared.url}/compare")
    page.get_by_role("button", name="Compare the newest 3 groups of seeds").click()
    drawn(page, 11)
    assert len(names(page)) == 3
    assert "groups=" in page.url
    page.reload()
    drawn(page, 11)
    assert len(names(page)) == 3


def test_tables_are_taken_away(compared: Compared, open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page()
    page.goto(compared.at(0, 3))
    drawn(page, 11)
    for label in ("CSV", "Parquet"):
        with page.expect_download() as saved:
            page.get_by_role("button", name=label, exact=True).click()
        saved.value.save_as(tmp_path / label)
    rows = list(csv.DictReader((tmp_path / "CSV").read_text().splitlines()))
    assert [json.loads(row["about"])["seed"] for row in rows if row["about"]] == [0, 0]
    assert len(rows) == 2 * ROUNDS
    assert parquet.read_table(tmp_path / "Parquet").num_rows == 2 * ROUNDS


def test_the_report_opens_without_a_network(
    compared: Compared, open_page: OpenPage, chromium: Browser, tmp_path: Path
) -> None:
    page = open_page()
    page.goto(compared.at(*range(6), x="bits"))
    drawn(page, 11)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Report", exact=True).click()
    file = tmp_path / "report.html"
    saved.value.save_as(file)
    on_screen = page.evaluate(
        "() => document.querySelector('.mt-chart.drawn').layout.xaxis.title.text"
    )
    assert "bit" in on_screen
    for scheme in ("light", "dark"):
        read_offline(chromium, file, scheme, on_screen)


def read_offline(chromium: Browser, file: Path, scheme: Any, on_screen: str) -> None:
    """The report is whole where there is no network, over the axis that the screen had."""
    context = chromium.new_context(offline=True, color_scheme=scheme)
    report = context.new_page()
    wrong: list[str] = []
    report.on("request", lambda r: wrong.append(r.url) if not r.url.startswith("file:") else None)
    report.on("pageerror", lambda error: wrong.append(str(error)))
    report.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    report.goto(file.as_uri())
    report.locator(".chart.drawn").nth(10).wait_for()
    place = report.locator('[data-figure="accuracy_own"] .nsewdrag').bounding_box()
    assert place is not None
    report.mouse.move(place["x"] + place["width"] / 4, place["y"] + place["height"] / 2)
    hover = report.locator('[data-figure="accuracy_own"] .hoverlayer')
    expect(hover).to_contain_text("Sparse-and-orthogonal LoRA (n = 3)")
    expect(hover).to_contain_text("pt)")
    # Every chart is over what the screen shows, whoever asks for the file.
    axes = "id => document.querySelector(`[data-figure=${id}]`).layout.xaxis.title.text"
    assert report.evaluate(axes, "accuracy_own") == on_screen
    assert "bit" in report.evaluate(axes, "forgetting")
    expect(report.get_by_role("region", name="Paired tests")).to_be_visible()
    assert report.locator("summary", has_text="Config of").count() == 6
    paper = report.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(15, 18, 24)" if scheme == "dark" else "rgb(255, 255, 255)")
    assert wrong == []
    assert faults(report) == []
    context.close()


def faults(page: Page) -> list[str]:
    """Serious faults that axe-core finds, each with its place."""
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {each['nodes'][0]['target']}" for each in found if each["impact"] in SERIOUS
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(compared: Compared, open_page: OpenPage, scheme: str) -> None:
    page = open_page(scheme)
    page.goto(compared.at(*range(6)))
    drawn(page, 11)
    assert faults(page) == []


def test_at_768_pixels_the_rail_stands_above_the_charts(
    compared: Compared, open_page: OpenPage
) -> None:
    page = open_page(width=768)
    page.goto(compared.at(0, 3))
    drawn(page, 11)
    main = page.get_by_test_id("stMain")
    assert main.evaluate("e => e.scrollWidth - e.clientWidth") <= 0
    chart = page.locator(".mt-chart").first.bounding_box()
    rail = page.get_by_role("combobox", name="Reference").bounding_box()
    assert chart is not None
    assert rail is not None
    assert chart["y"] > rail["y"]
    assert chart["width"] > 300


def test_a_run_under_way_grows_and_keeps_the_zoom(
    fake_meshtune: str, fake_api: FakeApi, open_page: OpenPage
) -> None:
    done = fake_api.add(fake_config(rounds=60), fixed=RunStatus.COMPLETED, done=60)
    live = fake_api.add(fake_config(rounds=60, seed=5, method={"kind": "lora_gossip"}))
    page = open_page()
    page.goto(f"{fake_meshtune}/compare?runs={live.id},{done.id}")
    first = wait_for_points(page, OWN, 2)
    plot = page.locator(".mt-chart .nsewdrag").first.bounding_box()
    assert plot is not None
    middle = plot["y"] + plot["height"] / 2
    page.mouse.move(plot["x"] + 5, middle)
    page.mouse.down()
    page.mouse.move(plot["x"] + plot["width"] / 3, middle, steps=5)
    page.mouse.up()
    span = "document.querySelector('.mt-chart.drawn').layout.xaxis.range"
    zoomed = page.evaluate(span)
    assert zoomed[1] < 30
    wait_for_points(page, OWN, first + 4)
    assert page.evaluate(span) == zoomed
