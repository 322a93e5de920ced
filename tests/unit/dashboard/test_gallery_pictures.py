"""The pictures of the gallery tell what the stored results hold."""

import re
from base64 import b64decode
from xml.etree import ElementTree

import pytest

from meshtune.dashboard.gallery.pictures import (
    BOTTOM,
    HEIGHT,
    TOP,
    result_line,
    result_svg,
    result_text,
    side_by_side,
)
from meshtune.dashboard.look.theme import ACCENT, MUTED, Mode
from meshtune.engine.presets import preset_names
from meshtune.engine.presets.stored import StoredResult, stored_result


def stored(name: str) -> StoredResult:
    found = stored_result(name)
    assert found is not None
    return found


def heights(svg: str, color: str) -> list[float]:
    path = re.search(rf'<path d="([^"]*)" fill="none" stroke="{color}"', svg)
    assert path is not None
    return [float(pair.split()[1]) for pair in path[1].removeprefix("M").split("L")]


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("name", preset_names())
def test_every_picture_is_whole_and_inside_its_frame(name: str, mode: Mode) -> None:
    svg = result_svg(stored(name), mode)
    texts = [element for element in ElementTree.fromstring(svg).iter() if element.text]
    assert all(0 < float(element.get("y", "1")) <= HEIGHT for element in texts)
    for color in (ACCENT.of(mode), MUTED.of(mode)):
        assert all(TOP <= height <= BOTTOM for height in heights(svg, color))


def test_the_last_point_is_the_accuracy_that_is_named() -> None:
    result = stored("so_lora")
    last = heights(result_svg(result, "light"), ACCENT.light)[-1]
    assert (BOTTOM - last) / (BOTTOM - TOP) == pytest.approx(result.accuracy_all[-1], abs=0.002)
    assert f"{100 * result.accuracy_all[-1]:.1f}" in result_svg(result, "light")


def test_forgetting_at_the_exchange_is_drawn_as_teeth() -> None:
    forgets = heights(result_svg(stored("lora_gossip"), "light"), MUTED.light)
    keeps = heights(result_svg(stored("so_lora"), "light"), MUTED.light)
    assert len(forgets) == 2 * len(keeps)


def test_names_of_equal_ends_do_not_cover_each_other() -> None:
    result = stored("centralised")
    found = re.findall(r'y="([0-9.]+)">(?:own task|all tasks)', result_svg(result, "light"))
    first, second = map(float, found)
    assert abs(first - second) >= 24


def test_without_messages_the_axis_counts_rounds() -> None:
    svg = result_svg(stored("local"), "light")
    assert "accuracy over 12 rounds; nothing sent" in svg


def test_an_image_says_in_words_what_it_shows() -> None:
    result = stored("quick")
    html = side_by_side((result_svg(result, "light"), result_text(result), 1.0))
    source, said = re.findall(r'base64,([^"]+)" alt="([^"]+)"', html)[0]
    ElementTree.fromstring(b64decode(source))
    assert "own task" in said
    assert "one seed (1)" in said


def test_the_line_below_the_picture_says_how_the_run_ended() -> None:
    result = stored("so_lora").model_copy(
        update={"accuracy_all": (0.2, 0.819), "bits": (10, 17_900_000), "seed": 7}
    )
    said = result_line(result).replace("\u00a0", " ")
    assert said == "Stored result: all tasks 81.9 %, bits sent 17.9 Mbit, seed 7"
