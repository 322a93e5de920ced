"""The plan beside the form: it follows every edit, and says at the field what cannot work."""

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import settled

pytestmark = pytest.mark.browser


def test_the_plan_follows_an_edit_and_a_hopeless_deadline_is_named_at_its_field(
    meshtune, open_page
) -> None:
    page = open_page("light")
    page.goto(f"{meshtune}/design?preset=bad_channel")
    expect(page.get_by_text("The whole run, expected").first).to_be_visible()
    settled(page)

    def tile(name: str) -> Locator:
        found = page.get_by_test_id("stMetric").filter(has_text=name).first
        return found.get_by_test_id("stMetricValue")

    payload, delivered = tile("Bits sent").inner_text(), tile("Delivered").inner_text()
    assert re.fullmatch(r"\d+(\.\d+)?\s%", delivered)
    page.locator("summary").filter(has_text="Channel").click()
    box = page.get_by_role("spinbutton", name=re.compile("^Deadline"))
    box.fill("60")
    box.press("Enter")
    expect(tile("Delivered")).not_to_have_text(delivered, timeout=20_000)
    expect(tile("Bits sent")).to_have_text(payload)  # a lost message was sent as well

    box.fill("0.000001")
    box.press("Enter")
    sentence = page.get_by_text(re.compile("no link carries its message", re.IGNORECASE)).first
    expect(sentence).to_be_visible(timeout=20_000)
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_disabled()
