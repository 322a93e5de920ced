"""Every view, light and dark: whole at every width, nothing of the tool that draws it, no fault.

One visit answers all of it: what costs is to open a page, not to look at it.
"""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Error, Page, expect

from tests.browser.conftest import OpenPage, settled
from tests.browser.screens import VIEWS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

WIDTHS = (768, 1280, 1920)
NOISE = ("stAppDeployButton", "stMainMenu", "stStatusWidget", "stDecoration", "stException")
# Of Streamlit itself: places in its own markup where these rules fail and we cannot change it.
STREAMLIT = {
    # A long equation, which scrolls where the screen is narrow.
    "scrollable-region-focusable": "katex-display",
    # The label of a list without options, which Streamlit fades.
    "color-contrast": "Groups of seeds",
}


def addresses(run: int) -> list[str]:
    """All views with something to show."""
    found = [view.done if view.done is not None else view.empty for view in VIEWS]
    shown = [each.format(run=run, others=run) for each in found if each is not None]
    parts = [f"run?run={run}&tab={tab}" for tab in ("tasks", "cost", "inside", "data")]
    here = [each for each in shown if "sweep=" not in each]
    return [*here, *parts, "learn?page=clusters", "sweeps"]


def drawn(page: Page) -> None:
    """Wait until the script has run and every chart is there."""
    settled(page)
    page.wait_for_function("() => !document.querySelector('.mt-chart:not(.drawn)')")


def fits(page: Page) -> bool:
    """Whether the page cannot be pushed sideways, once its charts have their new width."""
    main = "document.querySelector('[data-testid=stMain]')"
    try:
        page.wait_for_function(f"() => {main}.scrollWidth <= {main}.clientWidth")
    except Error:
        return False
    return True


def faults(page: Page) -> list[str]:
    """What axe-core finds that is serious and ours."""
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']} ({each['impact']}): {node['html'][:160]}"
        for each in found
        if each["impact"] in {"serious", "critical"}
        for node in each["nodes"]
        if STREAMLIT.get(each["id"], "\0") not in node["html"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_is_whole_and_can_be_used_by_everybody(
    meshtune: str, finished_run: int, open_page: OpenPage, scheme: str
) -> None:
    page = open_page(scheme, width=WIDTHS[-1])
    told: list[str] = []
    for address in addresses(finished_run):
        page.goto(f"{meshtune}/{address}")
        drawn(page)
        for name in NOISE:
            expect(page.get_by_test_id(name)).to_have_count(0)
        assert page.title(), address
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            drawn(page)
            if not fits(page):
                told.append(f"{address} at {width}: can be pushed sideways")
        told += [f"{address}: {each}" for each in sorted(set(faults(page)))]
    assert not told, "\n".join(told)
