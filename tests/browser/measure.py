"""What the dashboard takes in a browser: first view, edits, rounds, dragging, a large comparison.

`python -m tests.browser.measure` starts a Meshtune of its own, measures and prints a table. The
numbers depend on the machine and on what else it does; no test asserts them.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from backend.settings import Settings, open_store
from dashboard.launch import HEALTH_PATH
from engine.config import RunConfig
from engine.presets import load_preset
from tests.browser.conftest import CHROMIUM, FLAGS, free_port, points, settled, whole
from tests.browser.opening import opened
from tests.support.comparison import fill

OWN = "Accuracy of each task's own devices"
EDITS = 20
ROUNDS_WATCHED = 12
DEVICES = 100
DRAG_MS = 4000
OPENINGS = 5
COMPARED_CHARTS = 11
WAIT_S = 300.0

# Ends at the frame in which the element says something else than it did at the key press.
UNTIL_NEW_TEXT = """([selector, label]) => new Promise((done) => {
  const tile = [...document.querySelectorAll(selector)].find(e => e.innerText.includes(label));
  const value = () => tile.querySelector('[data-testid="stMetricValue"]').innerText;
  const before = value();
  window.addEventListener('keydown', () => {
    const start = performance.now();
    const look = () => value() !== before ? done(performance.now() - start)
      : requestAnimationFrame(look);
    requestAnimationFrame(look);
  }, { capture: true, once: true });
})"""
FRAMES = """(milliseconds) => new Promise((done) => {
  const times = [], start = performance.now();
  const step = (now) => {
    times.push(now);
    now - start < milliseconds ? requestAnimationFrame(step)
      : done(times.slice(1).map((t, i) => t - times[i]));
  };
  requestAnimationFrame(step);
})"""


@dataclass(frozen=True)
class Line:
    """One measured thing, in milliseconds."""

    what: str
    values: Sequence[float]

    def text(self) -> str:
        """Its row of the table."""
        ordered = sorted(self.values)
        p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
        cells = (statistics.median(ordered), p95, ordered[-1])
        return f"| {self.what} | {' | '.join(f'{each:.0f}' for each in cells)} | {len(ordered)} |"


def cold_start(browser: Browser) -> Line:
    """From `meshtune up` on an empty folder to the cards of the gallery."""
    took = []
    for _ in range(3):
        with TemporaryDirectory() as folder:
            port, api_port = free_port(), free_port()
            ports = (f"--port={port}", f"--api-port={api_port}")
            began = time.perf_counter()
            child = subprocess.Popen(
                [sys.executable, "-m", "backend.cli", "up", *ports],
                env={**os.environ, "MESHTUNE_STATE_DIR": folder},
                stdout=subprocess.DEVNULL,
            )
            try:
                took.append(1000 * (_first_view(browser, f"http://127.0.0.1:{port}") - began))
            finally:
                child.terminate()
                child.wait(30)
    return Line("cold start, `meshtune up` to the first card of the gallery", took)


def _first_view(browser: Browser, url: str) -> float:
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        try:
            if httpx.get(url + HEALTH_PATH, trust_env=False, timeout=1.0).is_success:
                break
        except httpx.HTTPError:
            time.sleep(0.02)
    context = browser.new_context()
    page = context.new_page()
    page.goto(url)
    page.locator(".st-key-card-quick img").first.wait_for()
    shown = time.perf_counter()
    context.close()
    return shown


def edits(page: Page, url: str) -> Line:
    """From Enter in a field of the form to another payload in the plan."""
    page.goto(f"{url}/design?preset=quick")
    page.locator('[data-testid="topology-editor"] [data-node]').first.wait_for()
    settled(page)
    took = []
    for step in range(EDITS + 1):
        box = page.get_by_role("spinbutton", name="Rounds", exact=True)
        box.fill(str(40 + 5 * step))
        page.evaluate(  # braces, so that it does not wait for the answer
            f"given => {{ window.changed = ({UNTIL_NEW_TEXT})(given) }}",
            ['[data-testid="stMetric"]', "Payload"],
        )
        box.press("Enter")
        took.append(float(page.evaluate("() => window.changed")))
        settled(page)
        page.wait_for_timeout(700)
    return Line("edit in Design to new plan", took[1:])


def rounds(page: Page, url: str, api: httpx.Client) -> Line:
    """From the round being in the store to the curve having its point."""
    config = load_preset("quick").config.model_copy(update={"rounds": 2 * ROUNDS_WATCHED})
    body = {"config": config.model_dump(mode="json")}
    run = int(api.post("/runs", json=body).raise_for_status().json()["id"])
    page.goto(f"{url}/run?run={run}")
    stored: dict[int, float] = {}
    drawn: dict[int, float] = {}
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end and len(drawn) < ROUNDS_WATCHED:
        done = int(api.get(f"/runs/{run}").json()["rounds_done"])
        stored.setdefault(done, time.perf_counter())
        shown = points(page, OWN)
        for each in [e for e in stored if 0 < e <= shown and e not in drawn]:
            drawn[each] = time.perf_counter()
    api.post(f"/runs/{run}/cancel")
    first = min(drawn)  # may have been there before the page was
    took = [1000 * (drawn[each] - stored[each]) for each in drawn if each != first]
    return Line("stored round to drawn round, while training", took)


def dragging(page: Page, url: str, api: httpx.Client) -> Line:
    """Frame times while one of many devices is dragged about."""
    tree: dict[str, Any] = RunConfig().model_dump(mode="json")
    tree["fleet"]["devices"] = DEVICES
    tree["topology"] = {"kind": "geometric", "range_m": 40.0}
    draft = api.post("/drafts", json={"tree": tree, "version": None}).raise_for_status().json()
    page.goto(f"{url}/design?draft={draft['id']}")
    nodes = page.locator('[data-testid="topology-editor"] [data-node]')
    nodes.nth(DEVICES - 1).wait_for()
    settled(page)
    links = page.locator('[data-testid="topology-editor"] [data-link]').count()
    nodes.nth(DEVICES // 2).scroll_into_view_if_needed()
    box = nodes.nth(DEVICES // 2).locator(".body").bounding_box()
    if box is None:
        raise RuntimeError("the device is not on screen")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.evaluate(f"() => {{ window.frames_taken = ({FRAMES})({DRAG_MS}) }}")
    end, step = time.monotonic() + DRAG_MS / 1000, 0
    while time.monotonic() < end:
        step += 1
        page.mouse.move(x + 60 * ((step % 40) / 40), y + 40 * ((step % 30) / 30))
    page.mouse.up()
    took: list[float] = page.evaluate("() => window.frames_taken")
    return Line(f"frame while dragging, {DEVICES} devices, {links} links", took)


def comparison(browser: Browser, url: str, runs: Sequence[int]) -> list[Line]:
    """From the address of a comparison to its charts, in a profile that has seen one."""
    address = f"{url}/compare?runs={','.join(map(str, runs))}"
    context = browser.new_context()
    took = [opened(context, address, COMPARED_CHARTS) for _ in range(OPENINGS + 1)][1:]
    context.close()
    what = "Compare with 20 runs x 500 rounds, opened again"
    return [
        Line(f"{what}: charts on screen", [1000 * seen for seen, _ in took]),
        Line(f"{what}: all {COMPARED_CHARTS} charts", [1000 * last for _, last in took]),
    ]


def filled(state: Path) -> list[int]:
    """A store of 20 runs x 500 rounds."""
    state.mkdir()
    store = open_store(Settings(state_dir=state, database_url=None))
    made = fill(store)
    store.dispose()
    return made


def main() -> None:
    """Measure all and print the table of docs/performance.md."""
    with sync_playwright() as driver, TemporaryDirectory() as folder:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS, headless=True)
        out = sys.stdout
        out.write("| ms | median | p95 | max | n |\n|---|---|---|---|---|\n")
        out.write(f"{cold_start(browser).text()}\n")
        out.flush()
        runs = filled(Path(folder) / "state")
        with (
            whole(Path(folder)) as (url, api_url),
            httpx.Client(base_url=api_url, trust_env=False, timeout=30.0) as api,
        ):
            page = browser.new_page(viewport={"width": 1280, "height": 1000})
            for line in (
                edits(page, url),
                dragging(page, url, api),
                *comparison(browser, url, runs),
                rounds(page, url, api),
            ):
                out.write(f"{line.text()}\n")
                out.flush()
        browser.close()
        out.write(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")


if __name__ == "__main__":
    main()
