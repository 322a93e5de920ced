"""How far training gives way: what the pages take beside a training run, and what they cost it.

Part of `python -m tests.browser.measure`. Everything is measured on one Meshtune, first while
nothing trains and then beside a run that lasts until it is cancelled, so that both see the same
machine; what counts on a busy one is the ratio.
"""

import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page
from sqlalchemy import Engine

from meshtune.backend.settings import Settings, open_store
from meshtune.db import rounds as stored_rounds
from meshtune.db.session import reading
from meshtune.engine.config import RunConfig
from meshtune.engine.presets import load_preset
from tests.browser.conftest import points, process, settled, whole
from tests.browser.lines import OWN, WAIT_S, Line, edits, rounds
from tests.support.builders import stored_run
from tests.support.workers import await_end

VIEWS = 5
COMPARED = 2
SOME_ROUNDS = 5
TIMED_ROUNDS = 8  # of each piece in which training is timed
PIECES = 3
FIRST = "First number after Run"


def beside(browser: Browser, folder: Path) -> Iterator[Line]:
    """All lines: pages while nothing trains, then beside training, then what training lost."""
    with (
        whole(folder) as (url, api_url),
        httpx.Client(base_url=api_url, trust_env=False, timeout=60.0) as api,
    ):
        pressed = [_pressed(browser, url, api) for _ in range(COMPARED)]
        yield Line(f"{FIRST}: the first after the start", pressed[:1])
        yield Line(f"{FIRST}: with a spare ready", pressed[1:])
        ended = [run["id"] for run in api.get("/runs").json()["runs"]]
        yield from _pages(browser, url, ended, "nothing trains")
        yield Line("playground, first answer, nothing trains", [_answer(browser, url, ended[0])])
        yield Line("playground, the next, nothing trains", [_answer(browser, url, ended[0])])
        with _training(api) as run:
            yield from _pages(browser, url, ended, "beside training")
            page = browser.new_page(viewport={"width": 1280, "height": 1000})
            yield rounds(page, url, api, run)
            page.close()
            yield Line("playground, the next, beside training", [_answer(browser, url, ended[0])])
    cold = folder / "cold"
    cold.mkdir()
    with whole(cold) as (url, api_url), httpx.Client(base_url=api_url, trust_env=False) as api:
        with _training(api, rounds=4) as run:
            _await_rounds(api, run, 4)
        with _training(api):
            yield Line("playground, first answer, beside training", [_answer(browser, url, run)])


def _pages(browser: Browser, url: str, ended: Sequence[int], when: str) -> Iterator[Line]:
    """Views in new sessions of one profile, and edits."""
    compared = f"{url}/compare?runs={','.join(map(str, ended))}"
    views = {
        "Gallery to its first card": (url, ".st-key-card-quick img"),
        "Compare to its first chart": (compared, ".mt-chart.drawn"),
        "Run to its first chart": (f"{url}/run?run={ended[0]}", ".mt-chart.drawn"),
        "Design to its plan": (f"{url}/design?preset=quick", '[data-testid="stMetric"]'),
    }
    for what, (address, selector) in views.items():
        context = browser.new_context(viewport={"width": 1280, "height": 1000})
        took = [_shown(context.new_page(), address, selector) for _ in range(VIEWS + 1)]
        context.close()
        yield Line(f"{what}, {when}", took[1:])
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    yield edits(page, url, when)
    page.close()


def _shown(page: Page, address: str, selector: str) -> float:
    began = time.perf_counter()
    page.goto(address)
    page.locator(selector).first.wait_for(timeout=1000 * WAIT_S)
    took = 1000 * (time.perf_counter() - began)
    settled(page)
    page.close()
    return took


def _pressed(browser: Browser, url: str, api: httpx.Client) -> float:
    """From Run in the gallery to the first point of the curve; the run goes on for some rounds."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.goto(url)
    button = page.locator(".st-key-card-quick").get_by_role("button", name="Run", exact=True)
    button.wait_for()
    settled(page)
    began = time.perf_counter()
    button.click()
    page.wait_for_url(re.compile(r"/run\?run=\d+"), timeout=1000 * WAIT_S)
    run = int(page.url.partition("run=")[2].partition("&")[0])
    while points(page, OWN) < 1:
        page.wait_for_timeout(50)
    took = 1000 * (time.perf_counter() - began)
    page.close()
    _await_rounds(api, run, SOME_ROUNDS)
    _cancel(api, run)
    return took


def _answer(browser: Browser, url: str, run: int) -> float:
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    took = _shown(page, f"{url}/playground?run={run}", 'h3:has-text("Oracle")')
    context.close()
    return took


@contextmanager
def _training(api: httpx.Client, rounds: int = 10_000) -> Iterator[int]:
    """The number of a run that trains for the time of a block."""
    config = load_preset("quick").config.model_copy(update={"rounds": rounds})
    run = _queued(api, config)
    _await_rounds(api, run, 2)
    yield run
    _cancel(api, run)


def _cancel(api: httpx.Client, run: int) -> None:
    """Stop a run, if it has not ended by itself, and wait until it has."""
    api.post(f"/runs/{run}/cancel")
    _until(lambda: api.get(f"/runs/{run}").json()["finished_at"] is not None)


def _queued(api: httpx.Client, config: RunConfig) -> int:
    body = {"config": config.model_dump(mode="json")}
    return int(api.post("/runs", json=body).raise_for_status().json()["id"])


def _await_rounds(api: httpx.Client, run: int, rounds: int) -> None:
    _until(lambda: api.get(f"/runs/{run}").json()["rounds_done"] >= rounds)


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"nothing in {WAIT_S:.0f} s")
        time.sleep(0.1)


def cost_of_service(folder: Path) -> Line:
    """How much longer a round takes where API and dashboard run and nobody looks, in percent.

    The same run by turns: a worker alone at full priority, and a worker as it is shipped beside an
    API and a dashboard that nobody asks.
    """
    config = load_preset("quick").config.model_copy(update={"rounds": 2 + TIMED_ROUNDS})
    slower = []
    for piece in range(PIECES):
        alone, served = folder / f"alone-{piece}", folder / f"served-{piece}"
        state = alone / "state"
        state.mkdir(parents=True)
        served.mkdir()
        environment = {"MESHTUNE_STATE_DIR": str(state), "MESHTUNE_WORKER_NICE": "0"}
        with stored(state) as store:
            run = stored_run(store, config)
            worker = [sys.executable, "-m", "meshtune.backend.commands.main", "worker"]
            with process(worker, alone / "worker.log", **environment):
                await_end(store, run)
            alone_s = _round_s(store, run)
        with whole(served) as (_, api_url), stored(served / "state") as store:
            with httpx.Client(base_url=api_url, trust_env=False) as api:
                run = _queued(api, config)
            await_end(store, run)
            slower.append(100.0 * (_round_s(store, run) / alone_s - 1.0))
    return Line("round beside services that nobody asks, % longer than alone", slower)


@contextmanager
def stored(state: Path) -> Iterator[Engine]:
    """The store in a state folder."""
    store = open_store(Settings(state_dir=state, database_url=None))
    yield store
    store.dispose()


def _round_s(store: Engine, run: int) -> float:
    with reading(store) as session:
        took = [record.wall_s for record in stored_rounds.listed(session, run)]
    return statistics.median(took[2:])
