"""A real Chromium in front of real processes: API, worker and dashboard, each a `python -m`."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Error,
    Locator,
    Page,
    Request,
    expect,
    sync_playwright,
)

from meshtune.backend.schemas.runs import RunCreate
from tests.support.builders import tiny_config
from tests.support.fake_api import FakeApi, served
from tests.support.pages import HEALTH_PATH, arguments
from tests.support.ports import free_port

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = (
    "--no-sandbox",
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LOCAL = re.compile(r"(https?|wss?)://127\.0\.0\.1[:/]|data:|blob:|about:")
# On a deep link Streamlit first looks for itself below the page's own path.
HARMLESS = re.compile(
    r"/(run|design|compare|sweeps|playground|learn)/_stcore/(health|host-config)$"
)
START_S = 90.0
STATUS = ".st-key-run-status"  # where the run view says how the run stands
PATIENCE_S = 60.0  # of one browser action, on a machine that also trains
expect.set_options(timeout=PATIENCE_S * 1000)


@contextmanager
def process(command: list[str], log: Path, **environment: str) -> Iterator[None]:
    """A child that is gone afterwards; its output is in `log`."""
    with log.open("wb") as file:
        child = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **environment}
        )
    try:
        yield
        assert child.poll() is None, f"{command} ended by itself:\n{log.read_text()}"
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def wait_for(url: str, log: Path) -> None:
    """Return as soon as `url` answers."""
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        try:
            if httpx.get(url, trust_env=False, timeout=2.0).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise TimeoutError(f"{url} gave no answer in {START_S:.0f} s:\n{log.read_text()}")


@pytest.fixture(scope="session")
def meshtune(services: tuple[str, str]) -> str:
    """Address of the dashboard of a whole Meshtune."""
    return services[0]


@pytest.fixture(scope="session")
def finished_run(services: tuple[str, str]) -> int:
    """Number of a run with a library of experts that the worker has completed."""
    small = {
        "rounds": 4,
        "fleet__devices": 4,
        "fleet__tasks": ["reading", "addition"],
        "training__local_steps": 4,
        "method": {"kind": "so_lora", "library_every": 1},
    }
    body = RunCreate(config=tiny_config(**small)).model_dump(mode="json")
    with httpx.Client(base_url=services[1], trust_env=False) as api:
        number = int(api.post("/runs", json=body).raise_for_status().json()["id"])
        until = time.monotonic() + 300.0
        while (status := api.get(f"/runs/{number}").json()["status"]) != "completed":
            assert time.monotonic() < until, f"the run is {status}"
            time.sleep(0.2)
    return number


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Addresses of dashboard and API of a whole Meshtune with a database of its own."""
    # Tests wait for what trains: beside a busy machine it must not give way.
    with whole(tmp_path_factory.mktemp("meshtune"), MESHTUNE_WORKER_NICE="0") as addresses:
        yield addresses


@contextmanager
def whole(folder: Path, **environment: str) -> Iterator[tuple[str, str]]:
    """API, worker and dashboard on free ports, with their state and logs in `folder`.

    Gives the addresses of dashboard and API.
    """
    state = {"MESHTUNE_STATE_DIR": str(folder / "state"), **environment}
    api_port, port = free_port(), free_port()
    api_url, url = f"http://127.0.0.1:{api_port}", f"http://127.0.0.1:{port}"
    api = ["uvicorn", "--factory", "meshtune.backend.app:create_app", f"--port={api_port}"]
    with ExitStack() as running:
        start = running.enter_context
        start(process([sys.executable, "-m", *api], folder / "api.log", **state))
        wait_for(f"{api_url}/health", folder / "api.log")
        worker = [sys.executable, "-m", "meshtune.backend.commands.main", "worker"]
        start(process(worker, folder / "worker.log", **state))
        start(process(arguments(port, api_url), folder / "dashboard.log"))
        wait_for(url + HEALTH_PATH, folder / "dashboard.log")
        yield url, api_url


@pytest.fixture(scope="session")
def fake_api() -> FakeApi:
    """The runs behind `fake_meshtune`."""
    return FakeApi(round_s=0.4)


@pytest.fixture(scope="session")
def fake_meshtune(fake_api: FakeApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The dashboard in front of a stand-in API, for what needs a run in a certain state."""
    log = tmp_path_factory.mktemp("fake") / "dashboard.log"
    port = free_port()
    with served(fake_api) as api_url, process(arguments(port, api_url), log):
        wait_for(f"http://127.0.0.1:{port}{HEALTH_PATH}", log)
        yield f"http://127.0.0.1:{port}"


@dataclass
class Watched:
    """A page, and everything it must not do."""

    page: Page
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("pageerror", self._failed)
        self.page.on("console", self._heard)
        self.page.on("request", self._asked)

    def rest(self) -> None:
        """The test has ended: the page is the next one's."""
        self.page.remove_listener("pageerror", self._failed)
        self.page.remove_listener("console", self._heard)
        self.page.remove_listener("request", self._asked)

    def _failed(self, error: Error) -> None:
        self.problems.append(f"error: {error}")

    def _heard(self, message: ConsoleMessage) -> None:
        url = message.location["url"]
        if message.type == "error" and not HARMLESS.search(url):
            self.problems.append(f"console: {message.text} ({url})")

    def _asked(self, request: Request) -> None:
        if not LOCAL.match(request.url):
            self.problems.append(f"foreign request: {request.url}")


OpenPage = Callable[..., Page]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for all tests; every page gets a profile of its own."""
    if CHROMIUM is None:
        pytest.fail("no Chromium on the PATH; install one, e.g. `apt-get install chromium`")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS, headless=True)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def resting() -> list[Page]:
    """Pages of tests that have ended, each with a profile of its own."""
    return []


@pytest.fixture
def open_page(chromium: Browser, resting: list[Page]) -> Iterator[OpenPage]:
    """`open_page("dark")` gives a page; what it did wrong fails the test at its end.

    A tab that has read the scripts once needs half the time for the next page: tests share tabs,
    and hand them on as they got them.
    """
    watched: list[Watched] = []

    def opened(scheme: str = "light", width: int = 1280, height: int = 900) -> Page:
        page = resting.pop() if resting else chromium.new_context().new_page()
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        page.set_default_timeout(PATIENCE_S * 1000)
        watched.append(Watched(page))
        return page

    yield opened
    for each in watched:
        each.rest()
        if emptied(each.page):
            resting.append(each.page)
        else:
            each.page.context.close()
    assert [problem for each in watched for problem in each.problems] == []


def emptied(page: Page) -> bool:
    """Take from a tab all that a test has left in it; False if it is not to be used again."""
    try:
        page.evaluate("() => { localStorage.clear(); sessionStorage.clear(); }")
        page.context.clear_cookies()
        page.context.clear_permissions()
        page.unroute_all(behavior="ignoreErrors")
        page.goto("about:blank")
    except Error:
        return False
    return page.context.pages == [page]


def settled(page: Page) -> None:
    """Wait until the script behind the page has run."""
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for()


def at_rest(place: Locator, rest_ms: int = 300) -> Locator:
    """The same element once it has not moved for a while.

    What opens above it moves it for a moment: a press would begin on it and end beside it.
    """
    place.wait_for()
    place.evaluate(
        """(element, rest) => new Promise((done) => {
          let last = null, since = performance.now();
          const look = (now) => {
            const {x, y} = element.getBoundingClientRect();
            if (`${x} ${y}` !== last) { last = `${x} ${y}`; since = now; }
            now - since > rest ? done() : requestAnimationFrame(look);
          };
          requestAnimationFrame(look);
        })""",
        rest_ms,
    )
    return place


def points(page: Page, chart: str) -> int:
    """How many points the first line of a chart has; 0 before it is drawn."""
    found: int = page.evaluate(
        "title => [...document.querySelectorAll('.mt-chart.drawn')]"
        ".find(e => e.layout.title.text === title)?.data[0].x.length ?? 0",
        chart,
    )
    return found


def wait_for_points(page: Page, chart: str, least: int, timeout_s: float = 120.0) -> int:
    """Wait until the first line of a chart has at least `least` points."""
    until = time.monotonic() + timeout_s
    while (count := points(page, chart)) < least:
        assert time.monotonic() < until, f"{chart!r} has {count} points, not {least}"
        page.wait_for_timeout(100)
    return count
