"""Pages that open with charts begin their scripts at once; other pages are left alone."""

import asyncio
import re
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from dashboard.components import asset_url, plotly_url
from dashboard.preload import PARTS, SCRIPTS, ChartsAhead, scripts

PAGE = b"<html><head><title>x</title></head><body></body></html>"


async def page(scope: Scope, _: Receive, send: Send) -> None:
    """A page in two parts, which would be packed for who asks for it."""
    packed = any(name == b"accept-encoding" for name, _ in scope["headers"])
    headers = [(b"content-length", str(len(PAGE)).encode()), (b"etag", b'"1"')]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    body = b"packed" if packed else PAGE
    await send({"type": "http.response.body", "body": body[:20], "more_body": True})
    await send({"type": "http.response.body", "body": body[20:]})


def answer(path: str) -> tuple[dict[bytes, bytes], bytes]:
    sent: list[Any] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    scope = {"type": "http", "path": path, "headers": [(b"accept-encoding", b"gzip")]}
    asyncio.run(ChartsAhead(page)(scope, receive, send))
    return dict(sent[0]["headers"]), b"".join(each.get("body", b"") for each in sent[1:])


@pytest.mark.parametrize("path", ["/compare", "/run", "/run/"])
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


def test_what_is_begun_is_what_the_charts_ask_for() -> None:
    text = scripts()
    assert (
        asset_url("chart.js", plotly=plotly_url().replace("?", "%3F")).replace("&", "&amp;") in text
    )
    # Every part of Streamlit is there, with all that it imports, once.
    files = re.findall('/static/js/([^"]+)', text)
    assert all(any(file.startswith(f"{part}.") for file in files) for part in PARTS)
    assert len(files) == len(set(files)) > len(PARTS)
    assert all((SCRIPTS / file).is_file() for file in files)
