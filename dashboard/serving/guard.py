"""What the dashboard's server refuses before anything reads it: Host headers that are no hosts."""

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from meshtune.backend.schemas.hosts import name_in


class HostsOnly:
    """ASGI middleware that answers 400 where the Host header is no name or address."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it; a web socket is closed before it opens."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        hosts = Headers(scope=scope).getlist("host")
        if len(hosts) == 1 and name_in(hosts[0]) is not None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
        else:
            told = "The Host header of this request is no name or address with a port.\n"
            await PlainTextResponse(told, 400)(scope, receive, send)
