"""What is measured in a page, as lines of a table."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx
from playwright.sync_api import Page

from tests.browser.conftest import points, settled

OWN = "Accuracy of each task's own devices"
EDITS = 20
ROUNDS_WATCHED = 12
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


def edits(page: Page, url: str, when: str) -> Line:
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
            ['[data-testid="stMetric"]', "Bits sent"],
        )
        box.press("Enter")
        took.append(float(page.evaluate("() => window.changed")))
        settled(page)
        page.wait_for_timeout(700)
    return Line(f"edit in Design to new plan, {when}", took[1:])


def rounds(page: Page, url: str, api: httpx.Client, run: int) -> Line:
    """From a round of a run that trains being in the store to the curve having its point."""
    page.goto(f"{url}/run?run={run}")
    began = _done(api, run)
    stored: dict[int, float] = {}
    drawn: dict[int, float] = {}
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end and len(drawn) < ROUNDS_WATCHED:
        stored.setdefault(_done(api, run), time.perf_counter())
        shown = points(page, OWN)
        for each in [e for e in stored if began < e <= shown and e not in drawn]:
            drawn[each] = time.perf_counter()
    first = min(drawn)  # may have been there before the page was
    took = [1000 * (drawn[each] - stored[each]) for each in drawn if each != first]
    return Line("stored round to drawn round, beside training", took)


def _done(api: httpx.Client, run: int) -> int:
    return int(api.get(f"/runs/{run}").raise_for_status().json()["rounds_done"])
