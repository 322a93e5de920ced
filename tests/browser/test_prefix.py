"""Below a path, behind a real nginx that passes that path and nothing else."""

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from meshtune.engine.records import RunStatus
from tests.browser.conftest import OpenPage, process, settled, wait_for
from tests.support.fake_api import FakeApi, fake_config, served
from tests.support.pages import HEALTH_PATH, arguments
from tests.support.ports import free_port

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
DOCS = Path(__file__).parents[2] / "docs" / "deployment.md"
SERVER = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ return 404; }}
        location = /proxy-is-up {{ return 200; }}
{locations}
    }}
}}
"""


def documented() -> str:
    """The lines of docs/deployment.md."""
    below = DOCS.read_text("utf-8").partition("### Below a path")[2]
    found = re.search(r"```nginx\n(.*?)```", below, re.S)
    assert found is not None
    return found[1]


@contextmanager
def proxied(folder: Path, locations: str) -> Iterator[str]:
    """An nginx with these locations; gives its address."""
    if NGINX is None:
        pytest.fail("no nginx on the PATH; `make proxy` installs one")
    folder.mkdir()
    port, file = free_port(), folder / "nginx.conf"
    file.write_text(SERVER.format(folder=folder, port=port, locations=locations))
    command = [NGINX, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(file)]
    with process(command, folder / "nginx.log"):
        wait_for(f"http://127.0.0.1:{port}/proxy-is-up", folder / "nginx.log")
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def lab(services: tuple[str, str], tmp_path: Path) -> Iterator[str]:
    """A whole Meshtune below /lab/, by the lines of the documentation."""
    page, api = (urlsplit(each).netloc for each in services)
    lines = documented().replace("127.0.0.1:8700", page).replace("127.0.0.1:8701", api)
    with proxied(tmp_path / "nginx", lines) as url:
        assert httpx.get(url, trust_env=False).status_code == 404
        yield f"{url}/lab"


def kept_below(page: Page) -> list[str]:
    """Paths outside of /lab/ that the page asks for, from now on."""
    strays: list[str] = []

    def look(url: str) -> None:
        path = urlsplit(url).path
        # Streamlit looks for itself at every level, and takes the level that answers.
        if urlsplit(url).scheme.startswith(("http", "ws")) and not (
            path.startswith(("/lab/", "/_stcore/"))
        ):
            strays.append(path)

    page.on("request", lambda request: look(request.url))
    page.on("websocket", lambda socket: look(socket.url))
    return strays


def test_every_view_is_whole_below_a_path(
    lab: str, finished_run: int, open_page: OpenPage, tmp_path: Path
) -> None:
    page = open_page()
    page.goto(lab)  # without the slash at its end
    strays = kept_below(page)
    page.locator(".st-key-card-quick").wait_for()
    settled(page)
    page.get_by_role("link", name="Learn").click()
    page.wait_for_url("**/lab/learn?page=interference")
    page.locator(".mt-chart.drawn").first.wait_for()
    for path, charts, others in (
        ("learn?page=clusters", 1, ".mt-map"),
        ("design?preset=quick", 1, ".mt-editor[data-rev]"),
        (f"run?run={finished_run}", 2, ".mt-map"),
        (f"compare?runs={finished_run}&x=bits", 8, ".mt-share button"),
    ):
        page.goto(f"{lab}/{path}")
        page.locator(others).first.wait_for()
        page.locator(".mt-chart.drawn").nth(charts - 1).wait_for()
        settled(page)
    for label, name in (("Report", "comparison.html"), ("CSV", "comparison.csv")):
        with page.expect_download() as saved:
            page.get_by_role("button", name=label, exact=True).click()
        assert saved.value.suggested_filename == name
        saved.value.save_as(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 500
    page.goto(f"{lab}/run/?run={finished_run}")  # a slash too many
    page.wait_for_url(f"**/lab/run?run={finished_run}**")
    page.locator(".mt-chart.drawn").first.wait_for()
    assert strays == []


@pytest.mark.usefixtures("handbook")
def test_the_handbook_is_below_the_path_and_a_help_text_opens_it(
    lab: str, finished_run: int, open_page: OpenPage
) -> None:
    page = open_page()
    page.goto(f"{lab}/run?run={finished_run}")
    page.get_by_test_id("stMetric").first.get_by_test_id("stTooltipIcon").hover()
    with page.expect_popup() as opened:
        page.get_by_role("link", name="M12").click()
    equation = opened.value
    equation.wait_for_url("**/lab/handbook/model.html#m12")
    expect(equation.locator("#m12")).to_be_in_viewport()
    equation.close()
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Handbook").click()
    opened.value.wait_for_url("**/lab/handbook/")
    opened.value.close()
    page.goto(f"{lab}/handbook")  # without the slash
    strays = kept_below(page)
    page.wait_for_url("**/lab/handbook/")
    page.get_by_role("textbox", name="Search").press_sequentially("nginx proxy")
    page.locator(".md-search-result__link").first.click()
    page.wait_for_url("**/lab/handbook/deployment.html**")
    page.goto(f"{lab}/api/handbook/m10.html")
    page.wait_for_url("**/lab/api/handbook/model.html#m10")
    assert strays == []


def test_the_api_and_its_page_are_below_the_path(
    lab: str, finished_run: int, open_page: OpenPage
) -> None:
    answer = httpx.get(f"{lab}/api/runs/{finished_run}", trust_env=False)
    assert answer.json()["id"] == finished_run
    page = open_page()
    strays = kept_below(page)
    page.goto(f"{lab}/api/docs")
    expect(page.get_by_text("Meshtune").first).to_be_visible()
    page.locator("#operations-Health-live_health_live_get, [id*=health_live]").first.click()
    page.get_by_role("button", name="Try it out").first.click()
    with page.expect_response("**/lab/api/health/live") as answered:
        page.get_by_role("button", name="Execute").first.click()
    assert answered.value.ok
    assert strays == []


def test_a_dashboard_behind_the_api_of_a_path_works(
    lab: str, finished_run: int, open_page: OpenPage, tmp_path: Path
) -> None:
    port = free_port()
    with process(arguments(port, f"{lab}/api"), tmp_path / "page.log"):
        wait_for(f"http://127.0.0.1:{port}{HEALTH_PATH}", tmp_path / "page.log")
        page = open_page()
        page.goto(f"http://127.0.0.1:{port}/run?run={finished_run}")
        page.locator(".mt-chart.drawn").first.wait_for()
        page.goto("about:blank")  # before the server goes


@pytest.fixture
def kept_prefix(tmp_path: Path) -> Iterator[str]:
    """A dashboard whose proxy leaves the prefix on."""
    api = FakeApi(round_s=0.05)
    api.add(fake_config(), fixed=RunStatus.COMPLETED, done=20)
    port = free_port()
    lines = documented().replace("127.0.0.1:8700/;", f"127.0.0.1:{port};")
    lines = lines.replace("proxy_redirect / /lab/;", "")
    setting = {"STREAMLIT_SERVER_BASE_URL_PATH": "lab"}
    with ExitStack() as running:
        api_url = running.enter_context(served(api))
        running.enter_context(process(arguments(port, api_url), tmp_path / "page.log", **setting))
        wait_for(f"http://127.0.0.1:{port}/lab{HEALTH_PATH}", tmp_path / "page.log")
        yield f"{running.enter_context(proxied(tmp_path / 'nginx', lines))}/lab"


def test_a_prefix_that_the_proxy_leaves_on_works_too(kept_prefix: str, open_page: OpenPage) -> None:
    page = open_page()
    strays = kept_below(page)
    page.goto(f"{kept_prefix}/compare?runs=1")
    page.locator(".mt-chart.drawn").nth(7).wait_for()
    page.goto(f"{kept_prefix}/run?run=1")
    page.locator(".mt-map").first.wait_for()
    page.locator(".mt-chart.drawn").first.wait_for()
    assert strays == []


@pytest.mark.parametrize(
    ("blocked", "path", "says"),
    [
        ("**/meshtune-assets/chart.js*", "compare?runs={run}", "meshtune-assets/chart.js"),
        ("**/meshtune-plotly.js*", "compare?runs={run}", "meshtune-plotly.js"),
        ("**/meshtune-assets/map.js*", "run?run={run}", "meshtune-assets/map.js"),
        ("**/meshtune-assets/editor.js*", "design?preset=quick", "meshtune-assets/editor.js"),
    ],
)
def test_a_script_that_does_not_come_is_said(
    fake_meshtune: str, fake_api: FakeApi, chromium: Browser, blocked: str, path: str, says: str
) -> None:
    run = fake_api.add(fake_config(), fixed=RunStatus.COMPLETED, done=20)

    def refuse(route: Route) -> None:
        route.fulfill(status=404, content_type="text/html", body="no")

    with chromium.new_context() as context:
        page = context.new_page()
        page.route(blocked, refuse)
        page.goto(f"{fake_meshtune}/{path.format(run=run.id)}")
        said = page.get_by_role("alert").filter(has_text=says).first
        expect(said).to_be_visible(timeout=60_000)
        expect(said).to_contain_text("did not load. Reload the page")
