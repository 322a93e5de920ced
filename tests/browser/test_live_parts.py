"""Charts and map are updated in place: zoom, hidden lines and DOM survive every round."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from meshtune.engine.records import RunStatus
from tests.browser.conftest import STATUS, OpenPage, points, settled, wait_for_points
from tests.support.fake_api import FakeApi, fake_config

pytestmark = pytest.mark.browser

WIDTHS = (768, 1280, 1920)
OWN = "Accuracy of each task's own devices"


def chart(page: Page, title: str) -> str:
    """A selector of the chart with this title; marks it so that a rebuilt one is noticed."""
    page.evaluate(
        "title => { [...document.querySelectorAll('.mt-chart.drawn')]"
        ".find(e => e.layout.title.text === title).id = 'wanted' }",
        title,
    )
    return "#wanted"


def point_at(page: Page, selector: str) -> None:
    """Move the mouse over the middle of the first such part of the map, until the map says so.

    What is drawn above it may still grow and push the map from below the mouse.
    """
    network = page.get_by_test_id("network-map")
    part = network.locator(selector).first
    for _ in range(20):
        part.scroll_into_view_if_needed()
        box = part.bounding_box()
        assert box is not None
        page.mouse.move(0, 0)
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        if network.locator(".tip").is_visible():
            return
        page.wait_for_timeout(250)
    raise AssertionError(f"the map says nothing about {selector}")


def test_zoom_hidden_lines_and_dom_survive_new_rounds(
    fake_meshtune: str, fake_api: FakeApi, open_page: OpenPage
) -> None:
    run = fake_api.add(fake_config(rounds=300, fleet={"devices": 8}, topology={"kind": "ring"}))
    page = open_page()
    page.goto(f"{fake_meshtune}/run?run={run.id}")
    wait_for_points(page, OWN, 3)
    wanted = page.locator(chart(page, OWN))
    page.locator("[data-node='3']").evaluate("e => { e.marked = true }")

    wanted.scroll_into_view_if_needed()
    box = wanted.locator(".nsewdrag").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 10, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 120, box["y"] + 80, steps=6)
    page.mouse.up()
    page.wait_for_timeout(300)
    zoomed = wanted.evaluate("e => [...e.layout.xaxis.range]")
    assert zoomed[1] < 300
    wanted.locator(".legendtoggle").nth(1).click()
    expect(wanted.locator(".traces").nth(1)).to_have_css("opacity", "0.5")

    before = points(page, OWN)
    wait_for_points(page, OWN, before + 3)
    assert wanted.evaluate("e => [...e.layout.xaxis.range]") == zoomed
    assert wanted.evaluate("e => e._fullData[1].visible") == "legendonly"
    assert page.locator("[data-node='3']").evaluate("e => e.marked === true")
    fake_api.runs.pop(run.id)


def test_the_map_tells_about_devices_and_messages(
    fake_meshtune: str, fake_api: FakeApi, open_page: OpenPage
) -> None:
    run = fake_api.add(fixed=RunStatus.COMPLETED, done=3)
    page = open_page()
    page.goto(f"{fake_meshtune}/run?run={run.id}")
    network = page.get_by_test_id("network-map")
    point_at(page, "[data-node='0'] .body")
    expect(network.locator(".tip")).to_contain_text("Device 0 · Reading")
    expect(network.locator(".tip")).to_contain_text("own task")
    half = network.locator("[data-link='0|4'] .hit").first
    x, y = half.evaluate(
        "e => { const p = new DOMPoint(e.x1.baseVal.value, e.y1.baseVal.value)"
        ".matrixTransform(e.getScreenCTM()); return [p.x, p.y] }"
    )
    page.mouse.move(x, y)
    expect(network.locator(".tip")).to_contain_text(re.compile(r"Device \d to \d"))
    expect(network.locator(".tip")).to_contain_text("SNR")
    network.locator("[data-node='5']").focus()
    expect(network.locator(".tip")).to_contain_text("Device 5")
    scale = network.locator(".scale text")
    fitted = scale.text_content() or ""
    assert re.fullmatch(r"\d+ m", fitted)
    for _ in range(3):
        network.get_by_role("button", name="Zoom in").click()
    assert scale.text_content() != fitted


def test_a_chart_is_saved_as_a_table(
    fake_meshtune: str, fake_api: FakeApi, open_page: OpenPage, tmp_path: Path
) -> None:
    run = fake_api.add(fixed=RunStatus.COMPLETED, done=5)
    page = open_page()
    page.goto(f"{fake_meshtune}/run?run={run.id}")
    wait_for_points(page, OWN, 5)
    wanted = page.locator(chart(page, OWN))
    wanted.hover()
    with page.expect_download() as saved:
        wanted.get_by_title("Save the data as CSV").or_(
            wanted.locator('[data-title="Save the data as CSV"]')
        ).first.click()
    saved.value.save_as(tmp_path / "chart.csv")
    rows = (tmp_path / "chart.csv").read_text().splitlines()
    assert rows[0] == "series,Rounds finished,Accuracy (%)"
    assert len(rows) == 1 + 4 * 5


def test_cancelling_asks_first_and_keeps_what_is_there(
    fake_meshtune: str, fake_api: FakeApi, open_page: OpenPage
) -> None:
    run = fake_api.add(fake_config(rounds=300))
    page = open_page()
    page.goto(f"{fake_meshtune}/run?run={run.id}")
    wait_for_points(page, OWN, 2)
    page.locator(chart(page, OWN)).evaluate("e => { e.marked = true }")
    page.locator("[data-node='3']").evaluate("e => { e.marked = true }")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel the run").click()
    expect(page.locator(STATUS)).to_contain_text("Cancelled")
    expect(page.locator(STATUS)).not_to_contain_text("left")
    page.wait_for_timeout(1500)  # what would be mounted anew without its progress bar
    assert points(page, OWN) >= 2
    assert page.locator("#wanted").evaluate("e => e.marked")
    assert page.locator("[data-node='3']").evaluate("e => e.marked")
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)


def test_no_view_is_wider_than_the_screen(
    fake_meshtune: str, fake_api: FakeApi, open_page: OpenPage
) -> None:
    run = fake_api.add(fixed=RunStatus.COMPLETED, done=5)
    page = open_page(width=WIDTHS[0])
    for path in ("/", "/design", f"/run?run={run.id}", f"/compare?runs={run.id}"):
        page.goto(fake_meshtune + path)
        settled(page)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(500)
            main = page.get_by_test_id("stMain")
            assert main.evaluate("e => e.scrollWidth - e.clientWidth") <= 0, (path, width)
