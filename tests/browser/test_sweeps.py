"""Sweeps in a real browser: one is started, watched, stopped and found again."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage, settled

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]


def test_a_sweep_is_started_watched_stopped_and_found_again(
    meshtune: str, open_page: OpenPage
) -> None:
    page = open_page("light")
    page.goto(f"{meshtune}/sweeps")
    settled(page)
    name = page.get_by_role("textbox", name="Name")
    name.fill("two *rates* <b>")
    name.press("Enter")
    seeds = page.get_by_role("spinbutton", name="Seeds")
    seeds.fill("1")
    seeds.press("Enter")
    values = page.get_by_role("textbox", name=re.compile("^Values"))
    values.fill("-1")
    values.press("Enter")
    expect(page.get_by_text(re.compile("does not work"))).to_be_visible()
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_disabled()
    values.fill("0.001 .. 0.1 in 3")
    values.press("Enter")
    page.get_by_role("button", name=re.compile(r"Start\s3\sruns")).click()
    page.wait_for_url(re.compile(r"sweep=\d+"))
    expect(page.get_by_text(re.compile("two \\*rates\\* <b>"))).to_be_visible()
    expect(page.get_by_text("running", exact=False).first).to_be_visible(timeout=120_000)

    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text(re.compile("stopped"))).to_be_visible(timeout=120_000)
    expect(page.get_by_role("button", name="Stop")).to_have_count(0, timeout=120_000)

    dark = open_page("dark", width=768)
    dark.goto(page.url)
    expect(dark.get_by_text(re.compile("two \\*rates\\* <b>"))).to_be_visible()
    dark.get_by_role("button", name="All sweeps").click()
    expect(dark.get_by_text(re.compile("3\\scells"))).to_be_visible()
