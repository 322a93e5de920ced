"""Pages that open with charts begin their scripts at once; other pages are left alone."""

import re
from typing import Any

import pytest
from plotly.offline import get_plotlyjs
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from meshtune.dashboard.figures.components import (
    ASSETS_PATH,
    PLOTLY_PATH,
    STATIC,
    asset_url,
    plotly_url,
)
from meshtune.dashboard.serving.preload import ChartsAhead, Versioned, plotly_script, scripts
from tests.support.loops import in_own_loop

PAGE = b"<html><head><title>x</title></head><body></body></html>"


async def page(scope: Scope, _: Receive, send: Send) -> None:
    """A page in two parts, which would be packed for who asks for it."""
    packed = any(name == b"accept-encoding" for name, _ in scope["headers"])
    headers = [(b"content-length", str(len(PAGE)).encode()), (b"etag", b'"1"')]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    body = b"packed" if packed else PAGE
    await send({"type": "http.response.body", "body": body[:20], "more_body": True})
    await send({"type": "http.response.body", "body": body[20:]})


def answer(path: str, query: bytes = b"runs=1", base: str = "") -> tuple[dict[bytes, bytes], bytes]:
    sent: list[Any] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    scope = {
        "type": "http",
        "path": path,
        "headers": [(b"accept-encoding", b"gzip")],
        "query_string": query,
    }
    in_own_loop(ChartsAhead(page, base)(scope, receive, send))
    return dict(sent[0]["headers"]), b"".join(each.get("body", b"") for each in sent[1:])


@pytest.mark.parametrize("path", ["/compare", "/run"])
def test_a_page_with_charts_begins_with_their_scripts(path: str) -> None:
    headers, body = answer(path)
    assert plotly_url().encode() in body
    assert body.index(b"<script") < body.index(b"</head>")
    assert headers[b"content-length"] == str(len(body)).encode()
    assert b"etag" not in headers


@pytest.mark.parametrize("path", ["/", "/design", "/compare/_stcore/health"])
def test_other_pages_are_left_alone(path: str) -> None:
    headers, body = answer(path)
    assert body == b"packed"
    assert headers[b"etag"] == b'"1"'


def test_below_a_path_that_a_proxy_leaves_on_the_pages_are_known() -> None:
    assert plotly_url().encode() in answer("/lab/run", base="/lab")[1]
    assert answer("/run", base="/lab")[1] == b"packed"


def test_no_address_leaves_the_path_that_the_page_is_below() -> None:
    for each in (plotly_url(), asset_url("map.js")):
        assert not each.startswith(("/", "http", "."))


def test_a_page_without_a_choice_draws_nothing_and_loads_nothing() -> None:
    assert answer("/compare", query=b"")[1] == b"packed"


def test_what_is_begun_is_what_the_charts_ask_for() -> None:
    wanted = asset_url("chart.js", plotly=plotly_url().replace("?", "%3F"))
    assert wanted.replace("&", "&amp;") in scripts()


def test_the_parts_of_the_charts_are_begun_as_well() -> None:
    imported = re.findall(r'from "\./(\w+\.js)"', (STATIC / "chart.js").read_text("utf-8"))
    assert imported
    for name in imported:
        assert f'<link rel="modulepreload" href="{ASSETS_PATH}/{name}">' in scripts()


@pytest.mark.parametrize(("query", "kept"), [("?v=1", "immutable"), ("", "no-cache")])
def test_files_with_a_version_are_kept_for_good(query: str, kept: str) -> None:
    app = Starlette(routes=[Mount("/assets", Versioned(directory=STATIC))])
    found = TestClient(app).get(f"/assets/chart.js{query}")
    assert found.is_success
    assert kept in found.headers["cache-control"]


def test_plotly_is_served_whole_under_the_address_that_charts_ask_for() -> None:
    app = Starlette(routes=[Route(f"/{PLOTLY_PATH}", plotly_script)])
    found = TestClient(app).get(plotly_url())
    assert found.is_success
    assert found.headers["content-type"].startswith("text/javascript")
    first, _, rest = found.text.partition("\n")
    assert first == "//# allFunctionsCalledOnLoad"
    assert rest == get_plotlyjs()
