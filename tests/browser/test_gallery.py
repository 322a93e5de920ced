"""The gallery in a real browser: pictures, names as text, undo, and a run from a bundle."""

import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage, at_rest, settled

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

NAME = "**loud** [a](b) $x$"


def test_pictures_are_drawn_and_say_what_they_show(meshtune: str, open_page: OpenPage) -> None:
    page = open_page("dark", width=768)
    page.goto(meshtune)
    picture = page.get_by_alt_text(re.compile("^Stored result")).first
    expect(picture).to_be_visible()
    assert picture.evaluate("e => e.complete && e.naturalWidth") > 0
    assert "one seed" in (picture.get_attribute("title") or "")


def test_a_run_is_found_deleted_brought_back_and_taken_along(
    services: tuple[str, str], finished_run: int, open_page: OpenPage, tmp_path: Path
) -> None:
    url, api_url = services
    bundle, broken = tmp_path / "run.zip", tmp_path / "broken.zip"
    with httpx.Client(base_url=api_url, trust_env=False, timeout=60.0) as api:
        answer = api.get(f"/runs/{finished_run}/bundle").raise_for_status()
        bundle.write_bytes(answer.content)
    broken.write_bytes(bundle.read_bytes()[:500])
    page = open_page("light")
    page.goto(url)
    page.get_by_text("Bring in a run from a bundle").click()
    place = page.get_by_test_id("stFileUploader").locator("input[type=file]")
    place.set_input_files(broken)
    expect(page.get_by_text("broken.zip")).to_be_visible()
    page.get_by_role("button", name="Bring in", exact=True).click()
    expect(page.get_by_test_id("stAlert").filter(has_text=re.compile("zip|bundle"))).to_be_visible()
    place.set_input_files(bundle)
    expect(page.get_by_text("run.zip")).to_be_visible()
    page.get_by_role("button", name="Bring in", exact=True).click()
    page.wait_for_url(re.compile(r"/run\?run=\d+"))
    found = re.search(r"run=(\d+)", page.url)
    assert found is not None
    copy = found[1]
    assert int(copy) != finished_run

    with httpx.Client(base_url=api_url, trust_env=False) as api:
        api.patch(f"/runs/{copy}", json={"name": NAME}).raise_for_status()
    page.goto(url)
    box = page.get_by_role("textbox", name="Find runs")
    box.fill("**loud**")
    box.press("Enter")
    link = page.get_by_role("link", name=f"{NAME} #{copy}")
    expect(link).to_be_visible()
    expect(link.locator("strong, a, .katex")).to_have_count(0)

    with httpx.Client(base_url=api_url, trust_env=False) as api:
        api.delete(f"/runs/{copy}").raise_for_status()
    page.reload()
    settled(page)
    page.get_by_text(re.compile("^Deleted lately")).click()
    row = page.locator(f".st-key-undo-{copy} button")
    at_rest(row).click()
    expect(row).to_have_count(0, timeout=30_000)
    expect(page.get_by_role("link", name=f"{NAME} #{copy}")).to_be_visible()
