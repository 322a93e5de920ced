"""From files of a person to a finished run: three published shapes, and a model in a folder."""

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import FilePayload, expect

from tests.browser.conftest import STATUS, settled
from tests.support.builders import tiny_config
from tests.support.models import byte_model
from tests.support.rows import arc, boolq, gsm8k

pytestmark = pytest.mark.browser

FILES = {"boolq": boolq(), "arc": arc(), "gsm8k": gsm8k()}


def test_files_from_the_browser_are_trained_on(
    meshtune: str, services: tuple[str, str], open_page, tmp_path: Path
) -> None:
    config = tiny_config(rounds=1, fleet__devices=len(FILES), training__local_steps=1)
    model = byte_model(tmp_path / "model").model_dump(mode="json")
    tree = {**config.model_dump(mode="json"), "model": model}
    with httpx.Client(base_url=services[1], trust_env=False) as api:
        draft = api.post("/drafts", json={"tree": tree}).raise_for_status().json()["id"]

    page = open_page()
    page.goto(f"{meshtune}/design?draft={draft}")
    page.locator("summary").filter(has_text="Your data").click()
    own = page.locator(".st-key-design-data")
    for number, (name, content) in enumerate(FILES.items()):
        settled(page)
        file = FilePayload(name=f"{name}.jsonl", mimeType="text/plain", buffer=content)
        own.locator("input[type=file]").set_input_files(file)
        rows = page.get_by_role("region", name="The first rows")
        expect(rows.get_by_role("row")).to_have_count(11)  # ten and the names of the columns
        expect(rows.get_by_role("cell", name="testing").first).to_be_visible()
        page.get_by_role("button", name="Add as a task").click()
        expect(own.get_by_role("button", name="Remove", exact=True)).to_have_count(number + 1)
    start = page.get_by_role("button", name="Run", exact=True)
    expect(start).to_be_enabled()
    settled(page)
    start.click()
    page.wait_for_url("**/run?run=*")
    expect(page.locator(STATUS).get_by_text("Completed")).to_be_visible()
    for name in FILES:
        expect(page.get_by_text(name, exact=True).first).to_be_attached()
