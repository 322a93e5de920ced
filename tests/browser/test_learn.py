"""All pages of Learn, and the whole tour, in a real browser."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from meshtune.dashboard.tour import STEPS
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


# What each step of the tour shows: path, what the address says, a heading.
SHOWN = (
    ("", {}, "What happens when phones teach each other?"),
    ("", {}, "What happens when phones teach each other?"),
    ("design", {"preset": "quick"}, "Design a run"),
    ("design", {"preset": "quick"}, "Design a run"),
    ("run", {"run": "{run}"}, None),
    ("run", {"run": "{run}"}, None),
    ("learn", {"page": "interference"}, "Two adapters interfering"),
    ("learn", {"page": "collision"}, "Collision rate"),
    ("learn", {"page": "link"}, "From distance to seconds per round"),
    ("learn", {"page": "routing"}, "Routing without a router"),
    ("playground", {"run": "{run}"}, "Playground"),
    ("compare", {"runs": "{run}", "x": "bits"}, "Compare runs"),
)


@pytest.mark.usefixtures("finished_run")
def test_a_teacher_clicks_through_the_tour(meshtune: str, open_page: OpenPage) -> None:
    page = open_page("light")
    page.goto(f"{meshtune}/?tour=1")
    assert len(SHOWN) == len(STEPS)
    for number, (step, (path, parameters, heading)) in enumerate(zip(STEPS, SHOWN, strict=True), 1):
        panel = page.locator(".st-key-tour")
        expect(panel).to_contain_text(f"step {number} of {len(STEPS)}", timeout=60_000)
        expect(panel).to_contain_text(step.title)
        expect(page.get_by_test_id("stException")).to_have_count(0)
        if heading is not None:
            expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible()
        settled(page)
        asked = urlsplit(page.url)
        assert asked.path == f"/{path}"
        said = {name: each[-1] for name, each in parse_qs(asked.query).items()}
        # The newest runs are meant, whatever other tests have trained here.
        expected = {name: text.format(run=r"\d+(,\d+)?") for name, text in parameters.items()}
        assert all(re.fullmatch(text, said.get(name, "")) for name, text in expected.items())
        if number < len(STEPS):
            panel.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="End the tour").click()
    expect(page.locator(".st-key-tour")).to_have_count(0)


def test_back_and_forward_go_through_the_lessons(meshtune: str, open_page: OpenPage) -> None:
    page = open_page("light")
    page.goto(f"{meshtune}/learn?page=collision")
    titles = {"link": "From distance to seconds per round", "collision": "Collision rate"}
    expect(page.get_by_role("heading", name=titles["collision"], exact=True)).to_be_visible()
    settled(page)
    page.get_by_role("radio", name=titles["link"], exact=True).click()
    page.wait_for_url("**/learn?page=link")
    expect(page.get_by_role("heading", name=titles["link"], exact=True)).to_be_visible()
    settled(page)
    page.go_back()
    expect(page.get_by_role("heading", name=titles["collision"], exact=True)).to_be_visible()
    page.wait_for_url("**/learn?page=collision")
    settled(page)
    page.go_forward()
    expect(page.get_by_role("heading", name=titles["link"], exact=True)).to_be_visible()
    page.wait_for_url("**/learn?page=link")
