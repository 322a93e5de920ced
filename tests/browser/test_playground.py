"""The playground in a real browser: a question, a typed prompt, an expert switched off."""

import re

import pytest
from playwright.sync_api import Page, expect

from meshtune.dashboard.playground.parts import CARD_CSS, bars_html
from tests.browser.conftest import OpenPage, settled

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


def weights(page: Page) -> list[list[float]]:
    found: list[list[float]] = page.evaluate(
        "() => Array.from(document.querySelector('.mt-chart.drawn').data[0].z, r => Array.from(r))"
    )
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_question_a_prompt_and_an_expert_less(
    meshtune: str, finished_run: int, open_page: OpenPage, scheme: str
) -> None:
    page = open_page(scheme)
    page.goto(f"{meshtune}/playground?run={finished_run}&device=1")
    for title in ("Bare model", "Own adapter", "Merged", "Gated experts", "Oracle"):
        expect(page.get_by_role("heading", name=title)).to_be_visible(timeout=90_000)
    expect(page.get_by_text("Right answer")).to_be_visible()
    assert page.get_by_text(re.compile("right|wrong")).count() >= 5
    page.locator(".mt-chart.drawn").wait_for()
    before = weights(page)
    assert all(sum(column) == pytest.approx(1.0) for column in zip(*before, strict=True))

    # the best expert is switched off, and another takes over
    best = max(range(len(before)), key=lambda k: sum(before[k]))
    page.get_by_role("switch").nth(best).locator("xpath=ancestor::label").click()
    page.wait_for_function(
        "best => Array.from(document.querySelector('.mt-chart.drawn').data[0].z[best])"
        ".every(w => w === 0)",
        arg=best,
    )
    assert sum(map(sum, weights(page))) == pytest.approx(len(before[0]))

    # an own prompt: no right answer, and the oracle wants to be told the task
    page.get_by_role("radio", name="My own").click()
    settled(page)
    box = page.get_by_role("textbox", name=re.compile("^Ask"))
    box.fill("12+34=")
    box.press("Control+Enter")
    expect(page.get_by_text("an oracle is told")).to_be_visible()
    expect(page.get_by_text("Right answer")).to_have_count(0)
    box.fill("\u732b" * 3)
    box.press("Control+Enter")
    expect(page.get_by_text("does not know the character")).to_be_visible()

    # the address names run, device and round
    expect(page).to_have_url(re.compile(rf"run={finished_run}.*device=1.*round=4"))


def test_a_run_that_is_not_there_is_told(meshtune: str, open_page: OpenPage) -> None:
    page = open_page("light", width=768)
    page.goto(f"{meshtune}/playground?run=99999")
    expect(page.get_by_text(re.compile("no run 99999|run 99999"))).not_to_have_count(0)
    expect(page.get_by_role("heading", name="Playground")).to_be_visible()


@pytest.mark.parametrize("width", [120, 220, 600])
def test_bars_stay_within_their_card(open_page: OpenPage, width: int) -> None:
    page = open_page("light")
    shares = [("23 + 45 = sixty eight", 0.99999), ("7", 0.5), ("x" * 40, 0.00001)]
    page.set_content(
        f"{CARD_CSS}<div id='card' style='width:{width}px'>{bars_html(shares, '#4F46E5')}</div>"
    )
    right = page.locator("#card").evaluate("e => e.getBoundingClientRect().right")
    ends = page.locator("#card *").evaluate_all(
        "all => all.filter(e => e.tagName !== 'CODE').map(e => e.getBoundingClientRect().right)"
    )
    assert max(ends) <= right + 0.5
    numbers = page.locator("#card td:last-child")
    for place in range(3):
        assert numbers.nth(place).evaluate("e => e.scrollWidth <= e.clientWidth")
