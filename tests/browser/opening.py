"""How long a page with charts takes to open, from the address to the last chart drawn.

`python -m tests.browser.opening "http://127.0.0.1:8700/compare?runs=1,2,3" --charts 11`
"""

import argparse
import os
import sys
import time

from playwright.sync_api import BrowserContext, sync_playwright

from tests.browser.conftest import CHROMIUM, FLAGS


def opened(context: BrowserContext, url: str, charts: int) -> float:
    """Seconds until so many charts are drawn in a new tab, which is a new session."""
    page = context.new_page()
    started = time.perf_counter()
    page.goto(url)
    page.locator(".mt-chart.drawn").nth(charts - 1).wait_for()
    took = time.perf_counter() - started
    page.wait_for_timeout(1500)  # so that the browser keeps what it has compiled
    page.close()
    return took


def main() -> None:
    """Open a page in fresh profiles, then again and again in one."""
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
        shown = "  ".join(f"{each:.2f}" for each in sorted(times))
        sys.stdout.write(f"{what:14} {shown} s\n")
    sys.stdout.write(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")


if __name__ == "__main__":
    main()
