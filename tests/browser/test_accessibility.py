"""axe-core over every view: no fault of weight in what is ours."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser.conftest import OpenPage, settled

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

VIEWS = (
    "",
    "design?preset=quick",
    "run?run={run}",
    "compare?runs={run}",
    "playground?run={run}",
    "learn?page=collision",
    "learn?page=clusters",
    "sweeps",
)
# Of Streamlit itself: places in its own markup where these rules fail and we cannot change it.
STREAMLIT = {
    # A long equation, which scrolls where the screen is narrow.
    "scrollable-region-focusable": "katex-display",
    # The label of a list without options, which Streamlit fades.
    "color-contrast": "Groups of seeds",
}


def faults(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']} ({each['impact']}): {node['html'][:160]}"
        for each in found
        if each["impact"] in {"serious", "critical"}
        for node in each["nodes"]
        if STREAMLIT.get(each["id"], "\0") not in node["html"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_view_has_a_serious_fault(
    meshtune: str, finished_run: int, open_page: OpenPage, scheme: str
) -> None:
    page = open_page(scheme)
    told: dict[str, list[str]] = {}
    for view in VIEWS:
        page.goto(f"{meshtune}/{view.format(run=finished_run)}")
        settled(page)
        page.wait_for_timeout(2500)
        told[view] = faults(page)
    lines = [f"{view}: {each}" for view, found in told.items() for each in sorted(set(found))]
    assert not lines, "\n".join(lines)
