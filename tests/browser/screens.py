"""Pictures of the views for the documents, taken from a Meshtune that runs and has runs.

`python -m tests.browser.screens http://127.0.0.1:8700 docs/screens --run 3 --compare 2,3,4`
"""

import argparse
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.browser.conftest import CHROMIUM, FLAGS, settled

WIDTH = 1280
MOST_HEIGHT = 2400


def take(page: Page, url: str, file: Path, height: int, charts: int) -> None:
    """The first `height` pixels of a view once `charts` charts are drawn."""
    page.set_viewport_size({"width": WIDTH, "height": MOST_HEIGHT})
    page.goto(url)
    settled(page)
    if charts:
        page.locator(".mt-chart.drawn").nth(charts - 1).wait_for()
    page.wait_for_timeout(1500)  # fonts, and the first ease of the map
    page.mouse.move(2, 2)
    page.screenshot(path=file, clip={"x": 0, "y": 0, "width": WIDTH, "height": height})


def main() -> None:
    """Take the pictures of the README."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--run", required=True, help="number of a finished run")
    parser.add_argument("--compare", required=True, help="numbers of finished runs, with commas")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS, headless=True)
        page = browser.new_context(color_scheme="light").new_page()
        run = f"{chosen.url}/run?run={chosen.run}"
        take(page, run, chosen.folder / "run.png", height=1320, charts=5)
        compare = f"{chosen.url}/compare?runs={chosen.compare}&x=bits"
        take(page, compare, chosen.folder / "compare.png", height=1090, charts=5)
        browser.close()


if __name__ == "__main__":
    main()
