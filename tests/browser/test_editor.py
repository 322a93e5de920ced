"""The map editor under a real hand: mouse, keyboard, undo; and what it does to plan and form."""

import re
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenPage, at_rest, settled
from tests.support.fake_api import PRESETS, FakeApi

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

EDITOR = '[data-testid="topology-editor"]'
RING = next(preset for preset in PRESETS if preset.name == "lora_gossip")

BANNER = "changed elsewhere"
# Counts how often words come onto the page.
WATCH = """words => {
  window.mtSaid = 0;
  new MutationObserver(all => {
    for (const each of all) {
      const changed = each.type === "characterData" ? [each.target] : [...each.addedNodes];
      window.mtSaid += changed.filter(node => node.textContent.includes(words)).length;
    }
  }).observe(document.body, {subtree: true, childList: true, characterData: true});
}"""


@pytest.fixture
def design(meshtune: str, open_page: OpenPage) -> Callable[..., Page]:
    def opened(scheme: str = "light", width: int = 1280) -> Page:
        page = open_page(scheme, width=width)
        page.goto(f"{meshtune}/design?preset=quick")
        page.locator(f"{EDITOR} [data-node]").first.wait_for()
        settled(page)
        return page

    return opened


def saved(page: Page) -> None:
    """Wait until Python has every edit."""
    page.locator(f'{EDITOR}[data-pending="0"]').wait_for()
    settled(page)


def nodes(page: Page) -> Locator:
    return page.locator(f"{EDITOR} [data-node]")


def links(page: Page) -> Locator:
    return page.locator(f"{EDITOR} [data-link]")


def middle(place: Locator) -> tuple[float, float]:
    box = place.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def tool(page: Page, name: str) -> None:
    page.locator(f'{EDITOR} [data-tool-button="{name}"]').click()


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=8)
    page.mouse.up()


def links_each(page: Page) -> Locator:
    tile = page.get_by_test_id("stMetric").filter(has_text="Links per device").first
    return tile.get_by_test_id("stMetricValue")


def point_on(page: Page, link: str) -> tuple[float, float]:
    """A point of a link that nothing else covers."""
    x, y = page.evaluate(
        """key => {
          const line = document.querySelector(`[data-link="${key}"] .hit`);
          const box = line.ownerSVGElement.getBoundingClientRect();
          const [x1, y1, x2, y2] = ["x1", "y1", "x2", "y2"].map(n => +line.getAttribute(n));
          for (let t = 0.2; t < 0.8; t += 0.02) {
            const p = [box.left + x1 + (x2 - x1) * t, box.top + y1 + (y2 - y1) * t];
            const over = document.elementFromPoint(...p)?.closest("[data-link]");
            if (over?.dataset.link === key) return p;
          }
        }""",
        link,
    )
    return x, y


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_drag_link_erase_undo_and_the_plan_follows(
    design: Callable[..., Page], scheme: str
) -> None:
    page = design(scheme)
    count, linked = nodes(page).count(), links(page).count()
    page.evaluate("s => { document.querySelector(s).mtMark = 1 }", EDITOR)

    # a device is dragged, and stays where it was put
    first = nodes(page).nth(0)
    was = first.get_attribute("data-x"), first.get_attribute("data-y")
    x, y = middle(first.locator(".body"))
    drag(page, (x, y), (x + 60, y + 40))
    saved(page)
    moved = first.get_attribute("data-x"), first.get_attribute("data-y")
    assert moved != was
    expect(page.get_by_text("drawn by hand")).to_be_visible()

    # a link is drawn between two that had none, and costs something
    pairs = {link.get_attribute("data-link") for link in links(page).all()}
    ids = [str(node.get_attribute("data-node")) for node in nodes(page).all()]
    a, b = next(
        (a, b) for a in ids for b in ids if a < b and f"{a}|{b}" not in pairs and a != ids[0]
    )
    tool(page, "link")
    ends = [middle(page.locator(f'{EDITOR} [data-node="{k}"] .body')) for k in (a, b)]
    drag(page, *ends)
    expect(links(page)).to_have_count(linked + 1)
    saved(page)
    expect(links_each(page)).to_have_text(f"{2 * (linked + 1) / count:.2g}", timeout=20_000)

    # and erased again
    tool(page, "erase")
    page.mouse.click(*point_on(page, f"{a}|{b}"))
    expect(links(page)).to_have_count(linked)
    saved(page)

    # undo brings the link back, redo takes it; undo all, and the mesh is as it was
    page.get_by_role("button", name=re.compile("^Undo")).click()
    expect(links(page)).to_have_count(linked + 1)
    page.get_by_role("button", name=re.compile("^Redo")).click()
    expect(links(page)).to_have_count(linked)
    for _ in range(3):
        page.get_by_role("button", name=re.compile("^Undo")).click()
        saved(page)
    assert (first.get_attribute("data-x"), first.get_attribute("data-y")) == was
    expect(nodes(page)).to_have_count(count)
    assert page.evaluate("s => document.querySelector(s).mtMark", EDITOR) == 1  # never rebuilt


def test_everything_works_from_the_keyboard(design: Callable[..., Page]) -> None:
    page = design()
    count, linked = nodes(page).count(), links(page).count()
    first = nodes(page).nth(0)
    first.focus()
    page.keyboard.press("Enter")
    x = float(first.get_attribute("data-x") or "nan")
    for _ in range(10):  # faster than Python answers
        page.keyboard.press("ArrowRight")
    saved(page)
    assert float(first.get_attribute("data-x") or "nan") > x + 0.5
    page.keyboard.press("t")
    saved(page)
    page.keyboard.press("n")
    page.keyboard.press("Enter")
    expect(nodes(page)).to_have_count(count + 1)
    saved(page)
    page.keyboard.press("l")
    nodes(page).nth(count).focus()
    page.keyboard.press("Enter")
    first.focus()
    page.keyboard.press("Enter")
    expect(links(page)).to_have_count(linked + 1)
    saved(page)
    expect(page.get_by_role("spinbutton", name="Devices")).to_have_value(str(count + 1))
    for node in (nodes(page).nth(count), first):  # once more takes the link away
        node.focus()
        page.keyboard.press("Enter")
    expect(links(page)).to_have_count(linked)
    page.keyboard.press("Escape")
    nodes(page).nth(count).focus()
    page.keyboard.press("Delete")
    expect(nodes(page)).to_have_count(count)
    page.keyboard.press("Control+z")
    expect(nodes(page)).to_have_count(count + 1)
    saved(page)


def test_a_box_selects_and_a_brush_paints(design: Callable[..., Page]) -> None:
    page = design()
    stage = page.locator(f"{EDITOR} .stage").bounding_box()
    assert stage is not None
    left, top = stage["x"] + 3, stage["y"] + 3
    drag(page, (left, top), (left + stage["width"] - 8, top + stage["height"] - 8))
    count = nodes(page).count()
    expect(page.locator(f"{EDITOR} .node.selected")).to_have_count(count)
    page.locator(f'{EDITOR} [data-task="ending"]').click()
    saved(page)
    assert {node.get_attribute("data-task") for node in nodes(page).all()} == {"ending"}
    tool(page, "paint")
    page.keyboard.press("Escape")  # nothing is selected, so that the task is for the brush alone
    tool(page, "paint")
    page.locator(f'{EDITOR} .bar [data-task="addition"]').click()

    def tasks() -> list[str | None]:
        return [node.get_attribute("data-task") for node in nodes(page).all()]

    places = sorted(middle(node.locator(".body")) for node in nodes(page).all())
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=1)
    page.mouse.move(*places[2], steps=1)
    page.mouse.up()
    assert tasks().count("addition") >= 3
    saved(page)
    page.keyboard.press("Control+z")  # one stroke, one step back
    saved(page)
    assert set(tasks()) == {"ending"}


def test_a_trembling_hand_moves_nothing_and_escape_lets_go(design: Callable[..., Page]) -> None:
    page = design()
    first = nodes(page).nth(0)

    def place() -> tuple[str | None, str | None]:
        return first.get_attribute("data-x"), first.get_attribute("data-y")

    was, revision = place(), page.locator(EDITOR).get_attribute("data-rev")
    x, y = middle(first.locator(".body"))
    drag(page, (x, y), (x + 2, y + 1))
    page.wait_for_timeout(100)
    assert place() == was
    expect(first).to_have_attribute("aria-pressed", "true")

    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 70, y + 30, steps=5)
    page.wait_for_timeout(100)
    assert place() != was
    page.keyboard.press("Escape")
    page.wait_for_timeout(100)
    assert place() == was
    page.mouse.up()
    page.wait_for_timeout(300)
    assert place() == was
    assert page.locator(EDITOR).get_attribute("data-rev") == revision


def test_a_drawing_outlives_the_page(design: Callable[..., Page]) -> None:
    page = design()
    first = nodes(page).nth(0)
    x, y = middle(first.locator(".body"))
    drag(page, (x, y), (x + 50, y + 30))
    saved(page)
    page.wait_for_url(re.compile(r"draft=\d+"))
    place = first.get_attribute("data-x"), first.get_attribute("data-y")
    page.reload()
    nodes(page).first.wait_for()
    settled(page)
    assert (first.get_attribute("data-x"), first.get_attribute("data-y")) == place
    expect(page.get_by_text("drawn by hand")).to_be_visible()


def test_the_editor_can_be_used_by_everybody(design: Callable[..., Page]) -> None:
    page = design(width=768)
    found = Axe().run(page, context=EDITOR).response["violations"]
    serious = [each["id"] for each in found if each["impact"] in {"serious", "critical"}]
    assert serious == [], found


def test_two_hundred_edits_before_a_slow_api_are_one_draft(
    fake_meshtune: str, fake_api: FakeApi, open_page: OpenPage
) -> None:
    fake_api.design.drafts.clear()
    page = open_page()
    page.goto(f"{fake_meshtune}/design?preset={RING.name}")
    page.locator(".mt-editor[data-rev]").wait_for()
    settled(page)
    banner = page.get_by_text(BANNER)
    fake_api.design.delay_s = 0.4
    try:
        first = at_rest(page.locator(".mt-editor [data-node]").first)
        place = page.locator(".mt-editor").bounding_box()
        first.focus()
        page.keyboard.press("Enter")
        page.evaluate(WATCH, BANNER)
        for number in range(200):
            page.keyboard.press("ArrowRight" if number % 2 else "ArrowUp")
        page.locator('.mt-editor[data-pending="0"]').wait_for()
        settled(page)
        assert page.evaluate("() => window.mtSaid") == 0  # not even for a moment
        expect(banner).to_have_count(0)
        assert page.locator(".mt-editor").bounding_box() == place
    finally:
        fake_api.design.delay_s = 0.0
    drafts = fake_api.design.drafts
    # A page of an earlier test may have saved its own only now.
    (mine,) = [
        number for number, draft in drafts.items() if draft["tree"]["name"] == RING.config.name
    ]
    page.reload()
    page.locator(".mt-editor[data-rev]").wait_for()
    settled(page)
    # Somebody else has changed it now; the banner takes no room from the map.
    at_rest(page.locator(".mt-editor"))
    place = page.locator(".mt-editor").bounding_box()
    drafts[mine] = {**drafts[mine], "version": 999, "tree": {}}
    moved = page.locator(".mt-editor [data-node]").first
    stood = moved.get_attribute("data-y")
    while moved.get_attribute("data-y") == stood:  # a hand presses again, too
        moved.focus()
        page.keyboard.press("Enter")
        page.keyboard.press("ArrowUp")
    banner.wait_for()
    assert page.locator(".mt-editor").bounding_box() == place
