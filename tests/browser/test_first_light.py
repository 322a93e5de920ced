"""A stranger's first minutes: one click, a real fleet trains, a second run, the two compared."""

import re
import time

import pytest
from playwright.sync_api import Page, expect

from meshtune.engine.presets import load_preset
from tests.browser.conftest import STATUS, OpenPage, points, settled, wait_for_points

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1200)]

OWN = "Accuracy of each task's own devices"
BITS = "Bits sent, added up"
QUICK = load_preset("quick").config
ROUNDS, DEVICES = QUICK.rounds, QUICK.fleet.devices
RUN_S = 500.0  # the quick preset takes half a minute on two free cores; they may not be free


def updates(page: Page, times: int) -> list[int]:
    """Numbers of drawn points, each time they changed, until they have changed so often."""
    seen: list[int] = []
    until = time.monotonic() + RUN_S
    while len(seen) < times:
        assert time.monotonic() < until, f"the curve stands still; drawn so far: {seen}"
        count = points(page, OWN)
        if not seen or count > seen[-1]:
            seen.append(count)
        page.wait_for_timeout(100)
    return seen


def test_a_first_run_a_second_one_and_the_two_compared(meshtune: str, open_page: OpenPage) -> None:
    page = open_page("light")

    # the gallery, and one click
    page.goto(meshtune)
    card = page.locator(".st-key-card-quick")
    expect(card.get_by_alt_text(re.compile("^Stored result"))).to_be_visible()
    card.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url(re.compile(r"/run\?run=\d+"))
    first = re.search(r"run=(\d+)", page.url)[1]

    # its curves move while it trains, and stay when it has been stopped
    wait_for_points(page, OWN, 1, RUN_S)
    done = updates(page, 3)[-1]
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel the run").click()
    expect(page.locator(STATUS)).to_contain_text("Cancelled", timeout=RUN_S * 1000)
    assert wait_for_points(page, OWN, done) < ROUNDS
    expect(page.get_by_test_id("network-map").locator("[data-node]")).to_have_count(DEVICES)
    expect(page.get_by_test_id("stMetric")).to_have_count(6)
    own = page.get_by_test_id("stMetricValue").first.inner_text()
    assert re.fullmatch(r"\d+\.\d\s%", own)
    page.get_by_role("radio", name="Cost", exact=True).click()
    assert wait_for_points(page, BITS, done) < ROUNDS

    # a second, shorter run with another seed, designed in the form
    page.get_by_role("button", name="Clone and edit").click()
    page.wait_for_url(re.compile(r"/design\?clone="))
    settled(page)
    for label, value in (("Rounds", "3"), ("Seed", "2")):
        box = page.get_by_role("spinbutton", name=label, exact=True)
        box.fill(value)
        box.press("Enter")
        settled(page)
    expect(page.get_by_test_id("topology-editor").locator("[data-node]")).to_have_count(DEVICES)
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url(re.compile(r"/run\?run=\d+"))
    second = re.search(r"run=(\d+)", page.url)[1]
    assert second != first
    expect(page.locator(STATUS)).to_contain_text("Completed", timeout=RUN_S * 1000)
    assert wait_for_points(page, OWN, 3) == 3

    # the two over one another
    page.goto(f"{meshtune}/compare?runs={first},{second}")
    assert wait_for_points(page, "Accuracy on the own task", 3) < ROUNDS
    lines = page.evaluate("() => document.querySelector('.mt-chart.drawn').data.map(d => d.name)")
    assert [name.rpartition("#")[2] for name in lines] == [f"{first}, cancelled", second]
    page.get_by_role("radio", name="Bits sent", exact=True).click()
    expect(page.locator(".mt-chart").first).to_contain_text("Bits sent, added up (")
    page.reload()
    expect(page.get_by_role("radio", name="Bits sent", exact=True)).to_be_checked()

    # and all of it once more in the dark
    dark = open_page("dark")
    for path, words in (
        ("/", "Recent runs"),
        ("/design?preset=quick", "Design a run"),
        (f"/run?run={first}", "Round time"),
        (f"/compare?runs={first},{second}", "What differs in the configs"),
    ):
        dark.goto(meshtune + path)
        expect(dark.get_by_text(words).first).to_be_visible()
        settled(dark)
    wait_for_points(dark, "Accuracy on the own task", 3)
    paper = dark.get_by_test_id("stApp").evaluate("e => getComputedStyle(e).backgroundColor")
    assert paper == "rgb(15, 18, 24)"
