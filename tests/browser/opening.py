"""How long a page with charts takes to open: to the charts on screen, and to the last chart.

`python -m tests.browser.opening "http://127.0.0.1:8700/compare?runs=1,2,3" --charts 11`
"""

import argparse
import os
import sys
import time

from playwright.sync_api import BrowserContext, sync_playwright

from tests.browser.conftest import CHROMIUM, FLAGS

# Whether there is a place for every chart, and the charts that can be seen are drawn.
ON_SCREEN = """(charts) => {
  const places = [...document.querySelectorAll(".mt-chart")];
  return places.length >= charts && places.every((e) =>
    e.classList.contains("drawn") || e.getBoundingClientRect().top >= innerHeight);
}"""


def opened(context: BrowserContext, url: str, charts: int) -> tuple[float, float]:
    """Seconds until the charts on screen, and until all are drawn, in a new tab.

    A new tab is a new session. Charts below the screen are drawn when there is time.
    """
    page = context.new_page()
    started = time.perf_counter()
    page.goto(url)
    page.wait_for_function(ON_SCREEN, arg=charts)
    seen = time.perf_counter() - started
    page.locator(".mt-chart.drawn").nth(charts - 1).wait_for()
    took = time.perf_counter() - started
    page.wait_for_timeout(1500)  # so that the browser keeps what it has compiled
    page.close()
    return seen, took


def main() -> None:
    """Open a page in fresh profiles, then again and again in one: on screen (all)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--charts", type=int, required=True)
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS, headless=True)
        fresh = [opened(browser.new_context(), asked.url, asked.charts) for _ in range(asked.times)]
        kept = browser.new_context()
        again = [opened(kept, asked.url, asked.charts) for _ in range(asked.times + 1)][1:]
        browser.close()
    for what, times in (("fresh profile", fresh), ("same profile", again)):
        shown = "  ".join(f"{seen:.2f} ({took:.2f})" for seen, took in sorted(times))
        sys.stdout.write(f"{what:14} {shown} s\n")
    sys.stdout.write(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")


if __name__ == "__main__":
    main()
