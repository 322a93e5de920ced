"""All pages of Learn, and the whole tour, in a real browser."""

import re

import pytest
from playwright.sync_api import expect

from dashboard.tour import STEPS
from tests.browser.conftest import OpenPage, settled

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

PAGES = {
    "interference": 1,
    "collision": 2,
    "subspaces": 1,
    "link": 2,
    "clusters": 1,
    "routing": 1,
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_shows_its_experiment(meshtune: str, open_page: OpenPage, scheme: str) -> None:
    page = open_page(scheme)
    for name, charts in PAGES.items():
        page.goto(f"{meshtune}/learn?page={name}")
        page.locator(".mt-chart.drawn").nth(charts - 1).wait_for(timeout=90_000)
        settled(page)
        expect(page.get_by_test_id("stException")).to_have_count(0)
        expect(page.get_by_text("Run it: open the experiment")).to_be_visible()
    page.goto(f"{meshtune}/learn?page=interference")
    tile = page.get_by_test_id("stMetric").filter(has_text="Added to your answer")
    expect(tile).to_contain_text("100")
    page.get_by_role("slider", name="Weight of the other").focus()
    page.keyboard.press("Home")
    expect(tile.get_by_test_id("stMetricValue")).to_have_text(re.compile(r"^0\s%$"))


def test_a_teacher_clicks_through_the_tour(
    meshtune: str, finished_run: int, open_page: OpenPage
) -> None:
    assert finished_run
    page = open_page("light")
    page.goto(f"{meshtune}/?tour=1")
    for number, step in enumerate(STEPS, 1):
        panel = page.locator(".st-key-tour")
        expect(panel).to_contain_text(f"step {number} of {len(STEPS)}", timeout=60_000)
        expect(panel).to_contain_text(step.title)
        expect(page.get_by_test_id("stException")).to_have_count(0)
        settled(page)
        if number < len(STEPS):
            panel.get_by_role("button", name="Next").click()
    assert "/compare" in page.url
    page.get_by_role("button", name="End the tour").click()
    expect(page.locator(".st-key-tour")).to_have_count(0)
