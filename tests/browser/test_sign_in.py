"""The door of the dashboard, in front of a real API that requires tokens."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from meshtune.backend.settings import Settings, open_store
from meshtune.db import tokens
from meshtune.db.scopes import Scope
from meshtune.db.session import writing
from meshtune.engine.records import RunStatus
from tests.browser.conftest import OpenPage, process, settled, wait_for
from tests.support.builders import stored_run, tiny_config
from tests.support.pages import HEALTH_PATH, arguments
from tests.support.ports import free_port

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Runs of somebody, in a folder whose name is no obstacle."""
    settings = Settings(state_dir=tmp_path_factory.mktemp("lab") / "lab? 50%25", database_url=None)
    store = open_store(settings)
    stored_run(store, tiny_config(rounds=2), rounds=2, status=RunStatus.COMPLETED)
    store.dispose()
    return settings


def made(lab: Settings, scope: Scope) -> str:
    store = open_store(lab)
    with writing(store) as session:
        secret = tokens.create(session, f"a-{scope}", scope)
    store.dispose()
    return secret


def revoke(lab: Settings, scope: Scope) -> None:
    store = open_store(lab)
    with writing(store) as session:
        tokens.revoke(session, f"a-{scope}")
    store.dispose()


@pytest.fixture(scope="module")
def guarded(lab: Settings) -> Iterator[tuple[str, str]]:
    """Addresses of a dashboard and an API that requires tokens; their logs are beside the lab."""
    folder = lab.state_dir.parent
    api_port, port = free_port(), free_port()
    api_url, url = f"http://127.0.0.1:{api_port}", f"http://127.0.0.1:{port}"
    state = {"MESHTUNE_STATE_DIR": str(lab.state_dir), "MESHTUNE_REQUIRE_TOKEN": "true"}
    own = {"MESHTUNE_TOKEN": made(lab, Scope.ADMIN)}  # of the server, which no page may use
    serve = [
        sys.executable,
        "-m",
        "meshtune.backend.serve",
        "--host=127.0.0.1",
        f"--port={api_port}",
    ]
    with ExitStack() as running:
        running.enter_context(process(serve, folder / "api.log", **state))
        wait_for(f"{api_url}/health/ready", folder / "api.log")
        dashboard = process(arguments(port, api_url), folder / "page.log", **state, **own)
        running.enter_context(dashboard)
        wait_for(url + HEALTH_PATH, folder / "page.log")
        yield url, api_url


def sign_in(page: Page, token: str) -> None:
    page.get_by_label("Token", exact=True).fill(token)
    page.get_by_role("button", name="Sign in").click()


def test_the_door_opens_as_far_as_the_token_goes(
    guarded: tuple[str, str], lab: Settings, open_page: OpenPage
) -> None:
    url, _ = guarded
    reader, writer = made(lab, Scope.READ), made(lab, Scope.RUN)
    page = open_page("light")
    page.goto(url)
    door = page.get_by_role("heading", name="Sign in to Meshtune")
    expect(door).to_be_visible()
    sign_in(page, "mt_wrong")
    expect(page.get_by_text("This token is not valid")).to_be_visible()

    sign_in(page, reader)
    expect(page.get_by_text("Signed in as a-read, looks only")).to_be_visible()
    card = page.locator(".st-key-card-quick")
    expect(card.get_by_role("button", name="Run", exact=True)).to_be_disabled()
    settled(page)
    page.get_by_role("button", name="Sign out").click()
    expect(door).to_be_visible()
    expect(card).to_have_count(0)

    sign_in(page, writer)
    expect(page.get_by_text("Signed in as a-run, starts and steers runs")).to_be_visible()
    settled(page)
    page.get_by_role("link", name="Run", exact=True).first.click()
    page.get_by_role("radio", name="Log & data", exact=True).click()
    expect(page.get_by_role("button", name="Rounds as CSV")).to_be_visible()
    settled(page)
    with page.expect_download() as taken:  # made in a thread that knows no session
        page.get_by_role("button", name="Rounds as CSV").click()
    assert "round_index" in Path(taken.value.path()).read_text(encoding="utf-8")
    expect(page.get_by_role("button", name="Clone and edit")).to_be_enabled()

    page.get_by_role("link", name="Gallery", exact=True).click()
    settled(page)
    find = page.get_by_label("Find runs")
    find.fill("no run is called so")
    find.press("Enter")
    expect(page.get_by_text("No run fits")).to_be_visible()  # its answer came, not only its end
    settled(page)
    revoke(lab, Scope.RUN)
    find.fill("words that nobody may lose")
    find.press("Enter")
    expect(page.get_by_text("what you typed is kept")).to_be_visible()
    sign_in(page, reader)
    expect(find).to_have_value("words that nobody may lose")
    settled(page)

    page.get_by_role("link", name="Gallery", exact=True).click()
    page.reload()
    expect(door).to_be_visible()  # a token is of one tab, and of this load of it
    logs = list(lab.state_dir.parent.glob("*.log"))
    assert len(logs) == 2
    for log in logs:
        said = log.read_text(encoding="utf-8")
        assert not [each for each in (reader, writer, "Traceback") if each in said], said
    assert all(token not in page.url for token in (reader, writer))
    assert [each for each in page.context.cookies() if "mt_" in each["value"]] == []


def test_the_api_that_asks_for_tokens_explains_itself(
    guarded: tuple[str, str], open_page: OpenPage
) -> None:
    _, api_url = guarded
    assert httpx.get(f"{api_url}/runs", trust_env=False).status_code == 401
    page = open_page("light")
    page.goto(f"{api_url}/docs")
    expect(page.get_by_text("Meshtune").first).to_be_visible()
    page.get_by_text("/runs/{run_id}/cancel", exact=False).first.click()
    expect(page.get_by_text("Stop a run for good").last).to_be_visible()


def test_a_host_that_is_no_host_is_turned_away_by_the_dashboard(
    guarded: tuple[str, str],
) -> None:
    port = int(guarded[0].rpartition(":")[2])
    for host in ("user@127.0.0.1", "127.0.0.1\\@evil.example", "a:1:2", "[::1"):
        asked = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Host: {host}"]
        done = subprocess.run(
            [*asked, f"http://127.0.0.1:{port}/"], capture_output=True, text=True, check=True
        )
        assert done.stdout == "400", host
