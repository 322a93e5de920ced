"""What the dashboard takes in a browser: by itself and beside a run that trains.

`python -m tests.browser.measure` starts a Meshtune of its own, measures and prints a table. The
numbers depend on the machine and on what else it does; no test asserts them.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from meshtune.engine.config import RunConfig
from tests.browser.beside import beside, cost_of_service, stored
from tests.browser.conftest import CHROMIUM, FLAGS, settled, whole
from tests.browser.lines import WAIT_S, Line, edits
from tests.browser.opening import opened
from tests.support.comparison import fill
from tests.support.pages import HEALTH_PATH
from tests.support.ports import free_port

DEVICES = 100
DRAG_MS = 4000
OPENINGS = 5
COMPARED_CHARTS = 11

FRAMES = """(milliseconds) => new Promise((done) => {
  const times = [], start = performance.now();
  const step = (now) => {
    times.push(now);
    now - start < milliseconds ? requestAnimationFrame(step)
      : done(times.slice(1).map((t, i) => t - times[i]));
  };
  requestAnimationFrame(step);
})"""


def cold_start(browser: Browser) -> Line:
    """From `meshtune up` on an empty folder to the cards of the gallery."""
    took = []
    for _ in range(3):
        with TemporaryDirectory() as folder:
            port, api_port = free_port(), free_port()
            ports = (f"--port={port}", f"--api-port={api_port}")
            began = time.perf_counter()
            child = subprocess.Popen(
                [sys.executable, "-m", "meshtune.backend.commands.main", "up", *ports],
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
    with stored(state) as store:
        return fill(store)


def pages(browser: Browser, folder: Path) -> Iterator[Line]:
    """The dashboard by itself."""
    yield cold_start(browser)
    runs = filled(folder / "state")
    with (
        whole(folder) as (url, api_url),
        httpx.Client(base_url=api_url, trust_env=False, timeout=30.0) as api,
    ):
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        yield edits(page, url, "nothing trains")
        yield dragging(page, url, api)
        page.close()
        yield from comparison(browser, url, runs)


def main() -> None:
    """Measure all, or one part, and print the table of docs/performance.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=("all", "pages", "beside", "cost"), default="all")
    part = parser.parse_args().part
    out = sys.stdout
    out.write("| ms | median | p95 | max | n |\n|---|---|---|---|---|\n")
    with sync_playwright() as driver, TemporaryDirectory() as folder:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS, headless=True)
        parts: dict[str, Callable[[Path], Iterable[Line]]] = {
            "pages": lambda own: pages(browser, own),
            "beside": lambda own: beside(browser, own),
            "cost": lambda own: [cost_of_service(own)],
        }
        for name, lines in parts.items():
            if part in ("all", name):
                own = Path(folder) / name
                own.mkdir()
                for line in lines(own):
                    out.write(f"{line.text()}\n")
                    out.flush()
        browser.close()
    out.write(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")


if __name__ == "__main__":
    main()
