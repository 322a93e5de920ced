"""A run may have any name; every view shows it as it was written, and never as markup."""

import re

import pytest
from streamlit.testing.v1 import AppTest

from meshtune.engine.records import RunStatus
from tests.dashboard.conftest import Opener
from tests.support.fake_api import FakeApi, fake_config

NAMES = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "**bold** _it_ `code`",
    "[here](http://evil.example)",
    ":red[alert] :material/home:",
    "$x^2$ # head",
    "First light, density 0.5 → 0.25 · “quiet”",
]
# Elements whose text is read as markdown, and so must come escaped.
MARKUP = ("markdown", "title", "header", "subheader", "caption", "info", "warning", "error")


def unescaped(text: str) -> str:
    """Markdown text as it is shown: a backslash takes the meaning from what follows."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)


def live_markup(page: AppTest, name: str) -> list[str]:
    """Texts that hold the name as markup would be read, not escaped."""
    texts = [str(element.value) for kind in MARKUP for element in getattr(page, kind)]
    texts += [str(html.proto.body) for html in page.get("html")]
    return [text for text in texts if name in text]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_shows_its_name_literally(open_view: Opener, api: FakeApi, name: str) -> None:
    run = api.add(fake_config(name=name), fixed=RunStatus.COMPLETED, done=2)
    page = open_view("run", run=run.id)
    texts = [str(element.value) for kind in MARKUP for element in getattr(page, kind)]
    assert any(name in unescaped(text) for text in texts)
    assert live_markup(page, name) == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("view", ["gallery", "compare"])
def test_lists_and_charts_never_read_a_name_as_markup(
    open_view: Opener, api: FakeApi, view: str, name: str
) -> None:
    for seed in (0, 1):
        config = fake_config(name=name, seed=seed)
        api.add(config, fixed=RunStatus.COMPLETED, done=2)
    assert live_markup(open_view(view), name) == []
