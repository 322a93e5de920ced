"""Every view is whole at every width, and nothing of the tool that draws it shows."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage, settled
from tests.browser.screens import VIEWS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

NOISE = ("stAppDeployButton", "stMainMenu", "stStatusWidget", "stDecoration", "stException")


def addresses(run: int) -> list[str]:
    """All views with something to show."""
    found = [view.done if view.done is not None else view.empty for view in VIEWS]
    return [each.format(run=run, others=run) for each in found if each and "sweep=" not in each]


def overflow(page: Page) -> float:
    """Pixels by which the page can be pushed sideways."""
    wide: float = page.get_by_test_id("stMain").evaluate("e => e.scrollWidth - e.clientWidth")
    return wide


@pytest.mark.parametrize("width", [768, 1280, 1920])
def test_no_view_is_wider_than_the_screen(
    meshtune: str, finished_run: int, open_page: OpenPage, width: int
) -> None:
    page = open_page("dark" if width == 1920 else "light", width=width)
    for address in ["", *addresses(finished_run)]:
        page.goto(f"{meshtune}/{address}")
        settled(page)
        page.wait_for_function("() => !document.querySelector('.mt-chart:not(.drawn)')")
        assert overflow(page) <= 0, address
        for name in NOISE:
            expect(page.get_by_test_id(name)).to_have_count(0)
        assert page.title(), address
