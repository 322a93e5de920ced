"""Learn and the tour where the API is away or the store is empty; the rest has a real browser."""

from streamlit.testing.v1 import AppTest

from meshtune.dashboard.tour import STEPS
from tests.dashboard.conftest import Opener


def said(page: AppTest) -> str:
    return " ".join(each.value for each in page.markdown)


def test_without_the_api_a_lesson_still_explains(open_without_api: Opener) -> None:
    page = open_without_api("learn", page="collision")
    assert "make up" in page.error[0].value
    assert "they collide" in said(page)


def test_an_unknown_page_opens_the_first(open_without_api: Opener) -> None:
    assert "Two adapters" in open_without_api("learn", page="nonsense").subheader[0].value


def test_the_tour_goes_on_back_and_ends(open_view: Opener) -> None:
    page = open_view("gallery", tour=1)
    assert f"step 1 of {len(STEPS)}" in said(page)
    page.button(key="tour-next").click().run()
    assert f"step 2 of {len(STEPS)}" in said(page)
    page.button(key="tour-back").click().run()
    assert f"step 1 of {len(STEPS)}" in said(page)
    page.button(key="tour-end").click().run()
    assert "tour, step" not in said(page)


def test_an_odd_step_is_brought_into_range(open_view: Opener) -> None:
    assert f"step {len(STEPS)} of" in said(open_view("gallery", tour=999))
    assert "tour, step" not in said(open_view("gallery", tour="\u0663"))
