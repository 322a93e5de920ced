"""A run on one screen: what is seen without scrolling, what stays, and where a finding leads."""

import re

import pytest
from playwright.sync_api import Error, Page, expect

from meshtune.engine.records import RunStatus
from tests.browser.conftest import STATUS, OpenPage, settled
from tests.support.fake_api import FakeApi, fake_config

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

TABS = ("watch", "tasks", "cost", "inside", "data")
BAR = ".st-key-run-bar"
BAR_PX = 96
TASKS = ("reading", "entailment", "addition", "number_words", "expression", "list_result")
# What the first screen has to show.
PICTURES = (".mt-map .stage", '[data-testid="stMetric"]:has-text("Own task")', *(
    f'.mt-chart:has-text("{title}")'
    for title in ("Accuracy of every device on every task", "Accuracy of each task's own devices")
), '[data-testid="stMetric"]:has-text("All tasks")')  # fmt: skip


def opened(page: Page, url: str) -> None:
    """Open a page and wait until all of it is drawn."""
    page.goto(url)
    page.locator(STATUS).wait_for()
    settled(page)
    page.wait_for_function("() => !document.querySelector('.mt-chart:not(.drawn)')")


def as_high_as(page: Page, most: int) -> bool:
    """Whether no more than `most` pixels can be scrolled through, once all has its place."""
    main = "document.querySelector('[data-testid=stMain]')"
    try:
        page.wait_for_function(f"() => {main}.scrollHeight <= {most}", timeout=10_000)
    except Error:
        return False
    return True


def whole_on_screen(page: Page, selector: str) -> bool:
    """Whether no part of it is outside of the screen."""
    place = page.locator(selector).first
    place.wait_for()
    found: bool = place.evaluate(
        "e => { const r = e.getBoundingClientRect(); return r.height > 0 && r.top >= 0"
        " && r.left >= 0 && r.bottom <= innerHeight && r.right <= innerWidth }"
    )
    return found


@pytest.fixture(scope="module")
def sixteen(fake_api: FakeApi) -> int:
    """A finished run of sixteen devices; one of its tasks stayed where it began."""
    config = fake_config(rounds=12, fleet={"devices": 16, "tasks": list(TASKS)})
    run = fake_api.add(config, fixed=RunStatus.COMPLETED, done=12)
    stuck = TASKS[4]
    run.records = {
        index: record.model_copy(
            update={
                "scores": tuple(
                    each.model_copy(update={"accuracy": 0.06}) if each.task == stuck else each
                    for each in record.scores
                )
            }
        )
        for index in range(12)
        for record in [run.record(index)]
    }
    return run.id


@pytest.mark.parametrize(("width", "high"), [(1280, 800), (1920, 1080)])
def test_a_run_fits_on_the_screen(
    fake_meshtune: str, sixteen: int, open_page: OpenPage, width: int, high: int
) -> None:
    page = open_page(width=width, height=high)
    told: list[str] = []
    for tab in TABS:
        opened(page, f"{fake_meshtune}/run?run={sixteen}&tab={tab}")
        most = high if width == 1920 else 900 if tab == "watch" else 1300
        if not as_high_as(page, most):
            told.append(f"{tab} is higher than {most} px")
        if tab == "watch":
            told += [f"{each} is cut" for each in PICTURES if not whole_on_screen(page, each)]
    assert not told, "\n".join(told)


def test_the_bar_stays_and_says_where_the_run_is(
    fake_meshtune: str, sixteen: int, open_page: OpenPage
) -> None:
    page = open_page(width=1280, height=500)
    opened(page, f"{fake_meshtune}/run?run={sixteen}")
    for tab in ("Watch", "Tasks", "Log & data"):
        page.get_by_role("radio", name=tab, exact=True).click()
        settled(page)
        page.get_by_test_id("stMain").evaluate("e => e.scrollTo(0, e.scrollHeight)")
        for part in (STATUS, ".st-key-play button", ".st-key-replay [data-testid=stSlider]"):
            assert whole_on_screen(page, part), (tab, part)
        box = page.locator(BAR).bounding_box()
        assert box is not None
        assert box["height"] <= BAR_PX
    expect(page.locator(STATUS)).to_contain_text("round 12/12")


def test_a_finding_leads_to_its_part_and_a_link_to_the_same(
    fake_meshtune: str, sixteen: int, open_page: OpenPage
) -> None:
    page = open_page(width=1280, height=800)
    opened(page, f"{fake_meshtune}/run?run={sixteen}")
    line = page.locator(".st-key-findings")
    expect(line).to_contain_text(re.compile(r"\d of 6\stasks learned"))
    line.get_by_role("button", name=re.compile(r"Expression stayed at 6\s%")).click()
    expect(page.get_by_role("radio", name="Tasks", exact=True)).to_be_checked()
    page.wait_for_url(re.compile("tab=tasks"))
    page.reload()
    expect(page.get_by_role("radio", name="Tasks", exact=True)).to_be_checked()
    opened(page, f"{fake_meshtune}/run?run={sixteen}&tab=cost")
    expect(page.get_by_role("radio", name="Cost", exact=True)).to_be_checked()


def test_what_never_changes_is_a_number(
    fake_meshtune: str, fake_api: FakeApi, open_page: OpenPage
) -> None:
    run = fake_api.add(fake_config(method={"kind": "local"}), fixed=RunStatus.COMPLETED, done=6)
    page = open_page()
    opened(page, f"{fake_meshtune}/run?run={run.id}&tab=cost")
    expect(page.get_by_test_id("stMetricValue").first).to_have_text(re.compile(r"0\sbit"))
    expect(page.locator(".mt-chart")).to_have_count(0)


def test_a_phone_shows_the_first_picture_at_once(
    fake_meshtune: str, sixteen: int, open_page: OpenPage
) -> None:
    page = open_page(width=390, height=844)
    opened(page, f"{fake_meshtune}/run?run={sixteen}")
    stage = page.locator(".mt-map .stage").bounding_box()
    bar = page.locator(BAR).bounding_box()
    assert stage is not None
    assert bar is not None
    assert stage["y"] <= 420
    assert bar["height"] <= BAR_PX
    tiles = [page.get_by_test_id("stMetric").nth(place).bounding_box() for place in range(2)]
    assert tiles[0] is not None
    assert tiles[1] is not None
    assert tiles[0]["y"] == tiles[1]["y"]
    rows = page.locator(".st-key-replay button, .st-key-replay [data-testid=stSlider]")
    middles = rows.evaluate_all(
        "all => all.map(e => e.getBoundingClientRect()).filter(r => r.width)"
        ".map(r => r.top + r.height / 2)"
    )
    assert max(middles) - min(middles) < 20
