"""The whole path of one person: draw, plan, run, replay, compare, take away, ask."""

import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import STATUS, OpenPage, settled, wait_for_points
from tests.support.builders import tiny_config

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1500)]

EDITOR = '[data-testid="topology-editor"]'
OWN = "Accuracy of each task's own devices"
COMPARED = "Accuracy on the own task"
ROUNDS = 4
RUN_MS = 500_000.0
SMALL = tiny_config(
    fleet__devices=8,
    topology__kind="clusters",
    method={"kind": "so_lora", "library_every": 1},
    training__local_steps=4,
    evaluation__samples_per_task=16,
)


def nodes(page: Page) -> Locator:
    return page.locator(f"{EDITOR} [data-node]")


def links(page: Page) -> Locator:
    return page.locator(f"{EDITOR} [data-link]")


def saved(page: Page) -> None:
    """Wait until Python has every edit."""
    page.locator(f'{EDITOR}[data-pending="0"]').wait_for()
    settled(page)


def middle(node: Locator) -> tuple[float, float]:
    box = node.locator(".body").bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=8)
    page.mouse.up()
    saved(page)


def tile(page: Page, name: str) -> Locator:
    found = page.get_by_test_id("stMetric").filter(has_text=name).first
    return found.get_by_test_id("stMetricValue")


def number(page: Page, label: str, value: str) -> None:
    box = page.get_by_role("spinbutton", name=label, exact=True)
    box.fill(value)
    box.press("Enter")
    settled(page)


def start(page: Page) -> str:
    """Press Run in Design; the number of the run."""
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url(re.compile(r"/run\?run=\d+"))
    found = re.search(r"run=(\d+)", page.url)
    assert found is not None
    return found[1]


def drafted(api_url: str) -> str:
    """Number of a draft that trains fast."""
    body = {"tree": SMALL.model_dump(mode="json")}
    answer = httpx.post(f"{api_url}/drafts", json=body, trust_env=False).raise_for_status()
    return str(answer.json()["id"])


def draw_and_undo(page: Page, address: str) -> None:
    """A layout is loaded, a device dragged, a link drawn, erased and brought back by undo."""
    page.goto(address)
    nodes(page).first.wait_for()
    settled(page)
    payload = tile(page, "Bits sent").inner_text()

    # another preset layout: a ring, where every device has two links
    page.get_by_role("combobox", name=re.compile("^Topology")).first.click()
    page.get_by_role("option", name="Ring", exact=True).click()
    settled(page)
    expect(links(page)).to_have_count(nodes(page).count())
    expect(tile(page, "Links per device")).to_have_text("2.0", timeout=20_000)
    expect(tile(page, "Bits sent")).not_to_have_text(payload, timeout=20_000)

    first = nodes(page).nth(0)
    place = first.get_attribute("data-x")
    x, y = middle(first)
    drag(page, (x, y), (x + 50, y + 30))
    assert first.get_attribute("data-x") != place
    expect(page.get_by_text("drawn by hand")).to_be_visible()

    count = links(page).count()
    pairs = {str(link.get_attribute("data-link")) for link in links(page).all()}
    ids = [str(node.get_attribute("data-node")) for node in nodes(page).all()]
    far = next(other for other in ids[2:] if f"{ids[1]}|{other}" not in pairs)
    page.locator(f'{EDITOR} [data-tool-button="link"]').click()
    ends = [middle(page.locator(f'{EDITOR} [data-node="{each}"]')) for each in (ids[1], far)]
    drag(page, *ends)
    expect(links(page)).to_have_count(count + 1)
    expect(tile(page, "Links per device")).to_have_text("2.2", timeout=20_000)

    page.locator(f'{EDITOR} [data-tool-button="erase"]').click()
    page.locator(f'{EDITOR} [data-link="{ids[1]}|{far}"] .hit').click(force=True)
    expect(links(page)).to_have_count(count)
    saved(page)
    page.get_by_role("button", name=re.compile("^Undo")).click()
    expect(links(page)).to_have_count(count + 1)
    saved(page)


def replayed(page: Page) -> None:
    """The slider goes back to the first round, and the map goes with it."""
    slider = page.get_by_role("slider", name=re.compile("^Round"))
    own = tile(page, "Own task")
    slider.focus()
    slider.press("Home")
    expect(slider).to_have_value("1")
    expect(page.get_by_text("Messages of round 1", exact=True)).to_be_visible(timeout=20_000)
    settled(page)
    first = own.inner_text()
    slider.press("End")
    expect(slider).to_have_value(str(ROUNDS))
    expect(own).not_to_have_text(first, timeout=20_000)


def offline(chromium: Browser, file: Path) -> None:
    """The report draws its charts without a network."""
    context = chromium.new_context(offline=True)
    report = context.new_page()
    wrong: list[str] = []
    report.on("request", lambda r: wrong.append(r.url) if not r.url.startswith("file:") else None)
    report.on("pageerror", lambda error: wrong.append(str(error)))
    report.goto(file.as_uri())
    report.locator(".chart.drawn").nth(3).wait_for()
    assert wrong == []
    context.close()


def test_from_a_drawn_mesh_to_a_report_and_an_answer(
    services: tuple[str, str],
    finished_run: int,
    open_page: OpenPage,
    chromium: Browser,
    tmp_path: Path,
) -> None:
    meshtune, api_url = services
    page = open_page()
    draw_and_undo(page, f"{meshtune}/design?draft={drafted(api_url)}")

    # the drawn mesh trains, and rounds arrive one after another
    number(page, "Rounds", str(ROUNDS))
    run = start(page)
    seen = wait_for_points(page, OWN, 1, RUN_MS / 1000)
    wait_for_points(page, OWN, min(seen + 3, ROUNDS), RUN_MS / 1000)
    expect(page.locator(STATUS)).to_contain_text("Completed", timeout=RUN_MS)
    wait_for_points(page, OWN, ROUNDS)
    # The page follows the run to its end, which sets the slider: only then is it the hand's.
    expect(page.get_by_role("button", name="Pause")).to_have_count(0, timeout=20_000)
    settled(page)
    page.wait_for_timeout(1000)
    settled(page)
    replayed(page)

    # compared with the run of somebody else
    page.goto(f"{meshtune}/compare?runs={run},{finished_run}")
    wait_for_points(page, COMPARED, ROUNDS)

    # the report is taken away and opened without a network
    settled(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Report", exact=True).click()
    file = tmp_path / "report.html"
    download.value.save_as(file)
    offline(chromium, file)

    # a prompt of one's own
    page.goto(f"{meshtune}/playground?run={run}")
    expect(page.get_by_role("heading", name="Gated experts")).to_be_visible(timeout=90_000)
    page.get_by_role("radio", name="My own").click()
    settled(page)
    box = page.get_by_role("textbox", name=re.compile("^Ask"))
    box.fill("12+34=")
    box.press("Control+Enter")
    expect(page.get_by_text("an oracle is told")).to_be_visible(timeout=60_000)
