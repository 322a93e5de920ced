"""Starts the scripts of the charts together with Streamlit's own, not a second later.

Plotly is 4.7 MB, which a browser reads for half a second. Left to the first chart, that comes after
everything else; here it is fetched with the page and read while the server works (static/ahead.js).
"""

import re
from html import escape
from pathlib import Path

import streamlit
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.components import asset_url, plotly_url

CHARTED = ("/compare", "/run")  # pages that open with charts
HEAD_END = b"</head>"
SCRIPTS = Path(streamlit.__file__).parent / "static" / "static" / "js"
IMPORTED = re.compile(r"""(?:from|import)\s*["']\./([\w.-]+\.js)["']""")
# Parts of Streamlit that such a page needs and that it would ask for one after the other.
PARTS = (
    "BidiComponent",
    "Html",
    "ButtonGroup",
    "Multiselect",
    "Selectbox",
    "Slider",
    "DownloadButton",
    "Checkbox",
    "TextInput",
)


class ChartsAhead:
    """ASGI middleware that adds the scripts of the charts to the pages that open with charts."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.scripts = scripts().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; add to its answer if it is such a page."""
        if scope["type"] != "http" or scope["path"].rstrip("/") not in CHARTED:
            await self.app(scope, receive, send)
            return
        start: Message = {}
        body = b""

        async def added(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            whole = body.replace(HEAD_END, self.scripts + HEAD_END, 1)
            if whole != body:
                headers = MutableHeaders(scope=start)
                headers["content-length"] = str(len(whole))
                del headers["etag"]  # it is that of the page without them
                del headers["last-modified"]
            await send(start)
            await send({"type": "http.response.body", "body": whole})

        # As plain text: what is packed cannot be added to.
        plain = [each for each in scope["headers"] if each[0] != b"accept-encoding"]
        await self.app({**scope, "headers": plain}, receive, added)


def scripts() -> str:
    """What is added to the head of a page."""
    query = plotly_url().replace("?", "%3F")
    ahead = [plotly_url(), asset_url("chart.js", plotly=query), *map(_address, parts())]
    links = "".join(f'<link rel="modulepreload" href="{escape(url)}">' for url in ahead)
    first = escape(asset_url("ahead.js", plotly=query))
    return f'<script type="module" src="{first}"></script>{links}'


def parts() -> list[str]:
    """Names of the files of PARTS and of all that these import, each once."""
    waiting = [file.name for part in PARTS for file in sorted(SCRIPTS.glob(f"{part}.*.js"))]
    found: dict[str, None] = {}
    while waiting:
        name = waiting.pop(0)
        if name not in found and (SCRIPTS / name).is_file():
            found[name] = None
            waiting += IMPORTED.findall((SCRIPTS / name).read_text("utf-8"))
    return list(found)


def _address(name: str) -> str:
    return f"/static/js/{name}"
