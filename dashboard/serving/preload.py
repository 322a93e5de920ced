"""Starts the scripts of the charts together with Streamlit's own, not a second later.

Plotly is 4.7 MB, which a browser reads for half a second. Left to the first chart, that comes after
everything else; here it is fetched with the page and read while the server works (static/ahead.js).
"""

from functools import cache
from html import escape

from plotly.offline import get_plotlyjs
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from meshtune.dashboard.figures.components import ASSETS_PATH, asset_url, plotly_url

CHARTED = ("/compare", "/run")  # pages that open with charts
CHART_PARTS = tuple(f"{ASSETS_PATH}/{name}" for name in ("chart_look.js", "chart_table.js"))
HEAD_END = b"</head>"
FOREVER = "public, max-age=31536000, immutable"  # for addresses with a version
# Tells Chromium to compile all of a script where it is read, beside the page's own work, instead of
# function by function while the page waits (docs/performance.md).
# Other browsers see a comment.
COMPILE_AHEAD = b"//# allFunctionsCalledOnLoad\n"


class ChartsAhead:
    """ASGI middleware that adds the scripts of the charts to the pages that open with charts."""

    def __init__(self, app: ASGIApp, base: str = "") -> None:
        self.app = app
        self.charted = {base + view for view in CHARTED}
        self.scripts = scripts().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; add to its answer if it is such a page."""
        if not self._opens_with_charts(scope):
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

    def _opens_with_charts(self, scope: Scope) -> bool:
        """Whether a page is asked for that shows runs; without a choice it draws nothing."""
        return (
            scope["type"] == "http"
            and scope["path"] in self.charted
            and bool(scope.get("query_string"))
        )


def scripts() -> str:
    """What is added to the head of a page."""
    query = plotly_url().replace("?", "%3F")
    ahead = (plotly_url(), asset_url("chart.js", plotly=query), *CHART_PARTS)
    links = "".join(f'<link rel="modulepreload" href="{escape(url)}">' for url in ahead)
    first = escape(asset_url("ahead.js", plotly=query))
    return f'<script type="module" src="{first}"></script>{links}'


class Versioned(StaticFiles):
    """Files whose address changes with their content, so a browser need not ask for them again.

    Parts that these files import have plain addresses; a browser asks whether they have changed.
    """

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, kept for good if its version is in the address."""
        answer = await super().get_response(path, scope)
        if answer.status_code == 200:
            versioned = b"v=" in scope.get("query_string", b"")
            answer.headers["cache-control"] = FOREVER if versioned else "no-cache"
        return answer


@cache
def _plotly() -> bytes:
    return str(get_plotlyjs()).encode()


def plotly_script(request: Request) -> Response:  # noqa: ARG001
    """plotly.js out of the installed package."""
    return Response(
        COMPILE_AHEAD + _plotly(), media_type="text/javascript", headers={"cache-control": FOREVER}
    )
