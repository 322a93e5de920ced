"""Two doors that are seldom opened: the API's own page, and a service that wants tokens."""

import sys
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage, process, wait_for
from tests.support.pages import HEALTH_PATH, arguments
from tests.support.ports import free_port

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


def test_with_tokens_the_dashboard_asks_for_one_and_the_api_explains_itself(
    tmp_path: Path, open_page: OpenPage
) -> None:
    api_port, port = free_port(), free_port()
    api_url, url = f"http://127.0.0.1:{api_port}", f"http://127.0.0.1:{port}"
    state = {"MESHTUNE_STATE_DIR": str(tmp_path / "state"), "MESHTUNE_REQUIRE_TOKEN": "true"}
    serve = [
        sys.executable,
        "-m",
        "meshtune.backend.serve",
        "--host=127.0.0.1",
        f"--port={api_port}",
    ]
    with ExitStack() as running:
        running.enter_context(process(serve, tmp_path / "api.log", **state))
        wait_for(f"{api_url}/health/ready", tmp_path / "api.log")
        assert httpx.get(f"{api_url}/runs", trust_env=False).status_code == 401
        running.enter_context(process(arguments(port, api_url), tmp_path / "page.log", **state))
        wait_for(url + HEALTH_PATH, tmp_path / "page.log")

        page = open_page("light")
        page.goto(url)
        expect(page.get_by_role("heading", name="Sign in to Meshtune")).to_be_visible()

        page.goto(f"{api_url}/docs")
        expect(page.get_by_text("Meshtune").first).to_be_visible()
        page.get_by_text("/runs/{run_id}/cancel", exact=False).first.click()
        expect(page.get_by_text("Stop a run for good").last).to_be_visible()
